"""One line of a batch through the whole path of a request: limits, fairness, proof, metering.

Invariant: a line is metered under a name of its own, and metering counts a name once: a line that
was answered just before the gateway was killed, and is asked again, is paid once. What gave no
answer and is asked again is not metered, or its event would stand for the answer's: no tokens, of
an engine that refused them, or the most there can be, of one that was cut off. That is not done for
ever: a line whose answer engines broke off `MOST_BROKEN` times costs that, and gets none.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.types import Message

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.batches import Line
from adapterworks.gateway.request.body import parse_body
from adapterworks.gateway.request.collected import collected
from adapterworks.gateway.request.endpoints import ENDPOINTS, parse
from adapterworks.gateway.request.errors import error_body, shape_of
from adapterworks.gateway.request.exchange import Exchange
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.usage import Counts, Unusable, read_counts
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, Unavailable

# Answers to one line that engines begin and do not end: one that ends its engine, or takes longer
# than a request may, would do so for a day.
MOST_BROKEN = 5
# Batches have half of their tenant's share of a busy engine.
_SHARE = 0.5
_AGAIN_S = 2.0
_DEFECT = AdapterworksError("something went wrong in the gateway")
_log = logging.getLogger(__name__)
# Tokens of a line until they are known.
_EXPECTED = 500
_BY_PATH = {endpoint.path: endpoint for endpoint in ENDPOINTS}


class NotAsked(enum.Enum):
    """Of a line whose batch was to give way: what it waited for until then."""

    A_TURN = enum.auto()
    LIMITS = enum.auto()  # its tenant's, or an engine


class NoTenant(AdapterworksError):
    """The tenant of a batch is not there any more."""


async def ask(
    gateway: Gateway,
    turns: FairQueue,
    tenant: str,
    job: str,
    number: int,
    row: dict[str, Any],
    endpoint: str,
    give_way: asyncio.Event,
    over: asyncio.Event,
    broken: int,
    broke: Callable[[int], None],
) -> Line | NotAsked:
    """Ask for a line until there is an answer or a refusal that waiting would not change.

    What is said instead of an answer: why it was not asked, when its batch was to give way.

    Args:
        turns: of all batches' lines. A line has one while it is asked, not while it waits for its
            tenant's limits: then others ask.
        tenant: by its id.
        give_way: set when another batch is to have this one's seat.
        over: set when its batch was cancelled, or its time is up: what is cut off then is not asked
            again.
        broken: how often its answer was broken off so far, whoever ran its batch.
        broke: keeps how often that is now, before the line is asked again; called in a thread.

    Raises:
        NoTenant: it was removed, or may not ask any more.
        Lost: the batch is somebody else's to run.
    """
    name = f"{job}-{number}"
    while True:
        # What it may and what it lets be kept is what it is now, not when the batch began.
        known = gateway.tenant(tenant)
        if known is None:
            raise NoTenant("the tenant of this batch is not there any more")
        asks = replace(known, weight=known.weight * _SHARE)

        before = broken

        def again(error: BaseException, spent: bool) -> bool:
            nonlocal broken
            if isinstance(error, asyncio.CancelledError):
                return not over.is_set()
            if spent:
                broken += 1
            return waits(error) and broken < MOST_BROKEN

        receipt = Receipt(request_id=name)
        try:
            async with turns.turn(tenant, _EXPECTED, weight=asks.weight) as turn:
                if give_way.is_set():
                    turn.settle(0)
                    return NotAsked.A_TURN
                status, body = await _asked(gateway, asks, receipt, row, endpoint, again)
                line = _line(row, receipt, status, body)
                turn.settle(line.prompt_tokens + line.completion_tokens)
                return line
        except (RateLimited, Unavailable) as error:
            if not waits(error) or broken >= MOST_BROKEN:
                return _line(row, receipt, shape_of(error).status, from_json(error_body(error)))
            if broken > before:
                await asyncio.to_thread(broke, broken)
            if await _is_set(give_way, error.retry_after or _AGAIN_S):
                return NotAsked.LIMITS
            continue
        except AdapterworksError as error:
            return _line(row, receipt, shape_of(error).status, from_json(error_body(error)))
        except Exception as error:  # a defect that one line meets costs that line, not the batch
            _log.error("line %d of `%s` failed", number, job, exc_info=error)
            return _line(row, receipt, 500, from_json(error_body(_DEFECT)))


def waits(error: BaseException) -> bool:
    """Whether a line that was refused so is asked again, when it is time."""
    if isinstance(error, RateLimited):
        return error.code != "insufficient_quota"
    return isinstance(error, Unavailable)


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Whether an event is set by then."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


async def _asked(
    gateway: Gateway,
    tenant: Tenant,
    receipt: Receipt,
    row: dict[str, Any],
    endpoint: str,
    again: Callable[[BaseException, bool], bool],
) -> tuple[int, Any]:
    if row["url"] != endpoint:
        raise InvalidInput(f"`url` is not the batch's endpoint `{endpoint}`")
    if row["body"].get("stream"):
        raise InvalidInput("`stream` has no meaning in a batch")
    data = json.dumps(row["body"]).encode()
    call = await gateway.reading.of(
        tenant.id, len(data), lambda: parse(_BY_PATH[endpoint], parse_body(data))
    )
    never = asyncio.Event()

    async def receive() -> Message:
        await never.wait()
        return {"type": "http.disconnect"}

    exchange = Exchange(gateway, call, tenant, receipt, Headers(), asked_again=again)
    status, body = await collected(exchange, receive)
    return status, from_json(body)


def _line(row: dict[str, Any], receipt: Receipt, status: int, body: Any) -> Line:
    output = {
        "id": f"batch_req_{receipt.request_id}",
        "custom_id": row["custom_id"],
        "response": {"status_code": status, "request_id": receipt.request_id, "body": body},
        "error": None,
    }
    counts = Counts(0, 0)
    if status == 200:
        with contextlib.suppress(Unusable):  # charged at its most
            counts = read_counts(body.get("usage"))
    return Line(
        status != 200,
        json.dumps(output, ensure_ascii=False),
        counts.prompt,
        counts.cached,
        counts.completion,
        counts.reasoning,
    )
