"""A gateway with `[[webhooks]]` looks each second what has happened, and tells it.

Invariant: an address that is slow or away holds up no other address, and no request: deliveries
wait in the index, and each is sent by one gateway at a time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from adapterworks.gateway.config.webhooks import WebhookTable
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.supervision.supervisor import Worker
from adapterworks.gateway.webhooks.outbox import Delivery, Outbox
from adapterworks.gateway.webhooks.signing import parse_secret, sign
from adapterworks.manifests.errors import AdapterworksError, InvalidInput
from adapterworks.registry.jobs import schema as jobs
from adapterworks.registry.registry import Registry

Counted = Callable[[str, str], None]
LOOK_S = 1.0
_AT_ONCE = 16
_TASK = "webhooks"
TIMEOUT = aiohttp.ClientTimeout(total=20.0, connect=10.0)
_MOST_REPORT = 4 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """One `[[webhooks]]` with its key."""

    table: WebhookTable
    key: bytes = field(repr=False)


def read_addresses(
    tables: Sequence[WebhookTable], environment: Mapping[str, str] = os.environ
) -> tuple[Address, ...]:
    """The addresses of a configuration, with their keys.

    Raises:
        InvalidInput: a secret is not there or is none, or two have one name.
    """
    names = [table.name for table in tables]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"two `[[webhooks]]` are called `{twice[0]}`", hint="rename one")
    found = []
    for table in tables:
        secret = environment.get(table.secret_env, "")
        if not secret:
            raise InvalidInput(
                f"`${table.secret_env}` is not set, and `{table.name}` of `[[webhooks]]` signs "
                "with it",
                hint=f"{table.secret_env}=$(adapters webhook secret)",
            )
        found.append(Address(table, parse_secret(secret, table.secret_env)))
    return tuple(found)


def start_webhooks(gateway: Gateway) -> None:
    """Begin to tell what happens; ends when the gateway stops.

    Raises:
        InvalidInput: a secret is not there or is none.
    """
    _begin(gateway, read_addresses(gateway.config.webhooks))


async def restart_webhooks(gateway: Gateway) -> None:
    """Tell the addresses of a configuration that has changed, and no others."""
    await gateway.supervisor.drop(_TASK)
    start_webhooks(gateway)


def _begin(gateway: Gateway, addresses: tuple[Address, ...]) -> None:
    if not addresses:
        return
    registry = gateway.registry
    jobs.migrate(registry.database)
    outbox = Outbox(registry.database, GatesOf(registry), time.time)
    counted = gateway.metrics.webhooks

    async def tell(worker: Worker) -> None:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            sender = Sender(session, outbox, addresses, lambda *of: counted.labels(*of).inc())
            try:
                await sender.run(worker)
            finally:
                await sender.close()

    gateway.supervisor.task(_TASK, tell)


class GatesOf:
    """Reads what a build's gates said; a report that says nothing of the kind has none."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, name: str, version: int) -> dict[str, bool]:
        """By what each said in words, whether it passed."""
        try:
            digest = self._registry.resolve(f"{name}@{version}").digest
            entry = self._registry.release(digest).files.get("report.json")
            if entry is None or entry.size > _MOST_REPORT:
                return {}
            data = self._registry.read_if_here(digest, "report.json")
            report = json.loads(data or b"{}")
        except (AdapterworksError, ValueError, RecursionError):
            return {}
        gates = report.get("gates") if isinstance(report, dict) else None
        return {
            str(gate.get("why", "")): gate.get("passed") is True
            for gate in (gates if isinstance(gates, list) else [])
            if isinstance(gate, dict)
        }


class Sender:
    """Sends what is due to the addresses of one gateway.

    Args:
        count: told the name of the address and what came of an attempt: `sent`, `failed` (it is
            tried again) or `dropped`.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        outbox: Outbox,
        addresses: Sequence[Address],
        count: Counted,
    ) -> None:
        self._session, self._outbox, self._count = session, outbox, count
        self._addresses = {address.table.name: address for address in addresses}
        self._wanting = [(address.table.name, address.table.wants) for address in addresses]
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self, worker: Worker) -> None:
        """Look for ever."""
        while True:
            await self.look()
            worker.beat()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Make deliveries of what has happened, and begin to send those that are due."""
        await asyncio.to_thread(self._outbox.collect, self._wanting)
        for name in self._addresses:
            busy = sum(task.get_name() == name for task in self._sending)
            if busy >= _AT_ONCE:
                continue
            for delivery in await asyncio.to_thread(self._outbox.take, [name], _AT_ONCE - busy):
                task = asyncio.create_task(self._send(delivery), name=name)
                self._sending.add(task)
                task.add_done_callback(self._ended)

    async def settle(self) -> None:
        """Wait for what is on its way."""
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def close(self) -> None:
        """What is on its way is dropped, and sent again when it is due."""
        for task in self._sending:
            task.cancel()
        await self.settle()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The index is away: it is due again when it is not this gateway's any more.
            _log.error("a webhook to `%s` failed", task.get_name(), exc_info=error)

    async def _send(self, delivery: Delivery) -> None:
        address = self._addresses[delivery.address]
        said, code = await post(self._session, address, delivery.event, delivery.body)
        if code is not None and 200 <= code < 300:
            await asyncio.to_thread(self._outbox.sent, delivery, said)
            self._count(delivery.address, "sent")
            return
        again = await asyncio.to_thread(self._outbox.failed, delivery, said, for_good=code == 410)
        self._count(delivery.address, "failed" if again else "dropped")
        after = "it is tried again" if again else "it is given up: `adapters webhook list`"
        _log.warning(
            "webhook `%s`: %s was not taken (%s); %s",
            delivery.address, delivery.type, said, after,
        )  # fmt: skip


async def post(
    session: aiohttp.ClientSession, address: Address, event: str, body: str
) -> tuple[str, int | None]:
    """Send an event once; what came of it in words, and the status if there was one."""
    data = body.encode()
    headers = {
        "content-type": "application/json",
        "user-agent": "adapterworks",
        **sign(address.key, event, int(time.time()), data),
    }
    try:
        # A redirect would carry what is told to whom nobody named.
        async with session.post(
            address.table.url, data=data, headers=headers, allow_redirects=False
        ) as answer:
            return f"status {answer.status}", answer.status
    except TimeoutError:
        return "no answer in time", None
    except (aiohttp.ClientError, OSError) as error:
        return f"not reached: {type(error).__name__}", None
