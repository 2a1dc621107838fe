"""What is told arrives, signed so that OpenAI's own client takes it, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from openai.types.webhooks import FineTuningJobSucceededWebhookEvent

from adapterworks.gateway.config.webhooks import WebhookTable
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.webhooks.sending import GatesOf, Sender, read_addresses
from adapterworks.gateway.webhooks.signing import new_secret, parse_secret
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.jobs import schema
from adapterworks.registry.registry import Registry
from tests.gateway.webhooks.test_outbox import Post
from tests.registry.releases import draft, folder

SECRET = new_secret()


@dataclass
class Receiver:
    """A server that takes deliveries as `answers` say, the last one for ever."""

    answers: list[int] = field(default_factory=lambda: [200])
    had: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    busy: asyncio.Event | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        self.had.append((dict(request.headers), await request.read()))
        self.came.set()
        if self.busy is not None:
            await self.busy.wait()
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, headers={"location": "/elsewhere"})

    def events(self, secret: str = SECRET) -> list[Any]:
        """As the receiver's own code has them: OpenAI's client looks at the signature."""
        client = openai.OpenAI(api_key="none")
        return [client.webhooks.unwrap(body, headers, secret=secret) for headers, body in self.had]


@contextlib.asynccontextmanager
async def receiving(**options: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(**options)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
        yield receiver
    finally:
        await runner.cleanup()


@dataclass
class Told:
    """A sender, and what it counted."""

    sender: Sender
    counted: list[tuple[str, str]]

    async def look(self) -> None:
        await self.sender.look()
        await self.sender.settle()


@contextlib.asynccontextmanager
async def telling(post: Post, seconds: float = 20.0, **urls: str) -> AsyncIterator[Told]:
    tables = [WebhookTable(name=name, url=url, secret_env="S") for name, url in urls.items()]
    counted: list[tuple[str, str]] = []
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        addresses = read_addresses(tables, {"S": SECRET})
        sender = Sender(session, post.outbox, addresses, lambda *of: counted.append(of))
        told = Told(sender, counted)
        await told.look()  # addresses are told from here on
        yield told
        await sender.close()


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}",
        blobs=str(tmp_path / "blobs"),
        home=tmp_path / "home",
    ) as registry:
        migrate(registry.database)
        schema.migrate(registry.database)
        yield Post(registry)


def states(post: Post) -> list[tuple[str, str, int, str]]:
    return sorted((d.address, d.state, d.tried, d.said) for d in post.outbox.list())


async def test_openais_client_takes_what_is_sent(post: Post) -> None:
    async with receiving() as receiver, telling(post, ci=receiver.url) as told:
        job = post.ended()
        await told.look()
        (event,) = receiver.events()
        assert isinstance(event, FineTuningJobSucceededWebhookEvent)
        assert (event.data.id, event.type) == (job, "fine_tuning.job.succeeded")
        assert event.id == receiver.had[0][0]["webhook-id"]
        with pytest.raises(openai.InvalidWebhookSignatureError):
            receiver.events(new_secret())
        headers, body = receiver.had[0]
        receiver.had[0] = (headers, body.replace(job.encode(), b"ftjob-another"))
        with pytest.raises(openai.InvalidWebhookSignatureError):
            receiver.events()
        await told.look()
        assert len(receiver.had) == 1
    assert states(post) == [("ci", "sent", 1, "status 200")]
    assert told.counted == [("ci", "sent")]


async def test_what_is_not_taken_is_sent_again_with_its_id(post: Post) -> None:
    async with (
        receiving(answers=[500, 302, 200]) as receiver,
        telling(post, ci=receiver.url) as told,
    ):
        post.ended()
        for _ in range(3):
            await told.look()
            post.now += 3600
        assert len(receiver.had) == 3  # a redirect is not followed
        assert len({headers["webhook-id"] for headers, _ in receiver.had}) == 1
        assert len({body for _, body in receiver.had}) == 1
    assert states(post) == [("ci", "sent", 3, "status 200")]
    assert told.counted == [("ci", "failed"), ("ci", "failed"), ("ci", "sent")]


async def test_an_address_that_is_gone_is_given_up(post: Post) -> None:
    async with receiving(answers=[410]) as receiver, telling(post, ci=receiver.url) as told:
        post.ended()
        await told.look()
    assert states(post) == [("ci", "dropped", 1, "status 410")]
    assert told.counted == [("ci", "dropped")]


async def test_one_that_hangs_or_is_away_holds_up_no_other(post: Post) -> None:
    async with receiving() as receiver, receiving(busy=asyncio.Event()) as slow:
        urls = {"ci": receiver.url, "slow": slow.url, "away": "http://127.0.0.1:9/"}
        async with telling(post, seconds=1.0, **urls) as told:
            post.ended()
            await told.sender.look()
            post.ended()
            await told.sender.look()
            await told.sender.settle()
            assert len(receiver.had) == 2
    assert {state for address, state, *_ in states(post) if address == "ci"} == {"sent"}
    said = {address: said for address, _, _, said in states(post)}
    assert said["slow"] == "no answer in time"
    assert said["away"].startswith("not reached: ")


async def test_a_gateway_that_stops_loses_nothing(post: Post) -> None:
    async with receiving(busy=asyncio.Event()) as receiver:
        async with telling(post, ci=receiver.url) as told:
            post.ended()
            await told.sender.look()
            await receiver.came.wait()
        receiver.busy = None
        post.now += 3600
        async with telling(post, ci=receiver.url) as told:
            await told.look()
        first, again = receiver.events()
        assert first.id == again.id
    assert states(post) == [("ci", "sent", 1, "status 200")]


@pytest.mark.parametrize(
    ("report", "gates"),
    [
        ({"gates": [{"why": "too low", "passed": False}]}, {"too low": False}),
        ({"gates": [{"why": "fine", "passed": True}, 7, {}]}, {"fine": True, "": False}),
        ({"gates": "none"}, {}),
        ([1], {}),
    ],
)
def test_what_gates_said_is_in_the_report(
    post: Post, tmp_path: Path, report: Any, gates: dict[str, bool]
) -> None:
    made = folder(tmp_path / "release")
    (made / "report.json").write_text(json.dumps(report))
    post.registry.publish(made, draft(), who="tester", why="")
    assert GatesOf(post.registry)("medical", 1) == gates
    assert GatesOf(post.registry)("medical", 2) == {}


def test_secrets() -> None:
    assert len(parse_secret(new_secret(), "S")) == 32
    for wrong in ("", "hush", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!", new_secret()[6:]):
        with pytest.raises(InvalidInput, match="`S` holds no secret") as caught:
            parse_secret(wrong, "S")
        assert wrong in ("", "whsec_") or wrong not in caught.value.message


def test_a_secret_that_is_not_there_is_said_with_its_name() -> None:
    table = WebhookTable(name="ci", url="https://ci.example/x", secret_env="CI_SECRET")
    with pytest.raises(InvalidInput, match=r"`\$CI_SECRET` is not set, and `ci`") as caught:
        read_addresses([table], {})
    assert caught.value.hint == "CI_SECRET=$(adapters webhook secret)"
    with pytest.raises(InvalidInput, match=r"two `.*` are called `ci`"):
        read_addresses([table, table], {"CI_SECRET": SECRET})
