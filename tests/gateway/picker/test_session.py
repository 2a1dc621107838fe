"""One request of Envoy's without Envoy: what is read of it, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.config.tables import GatewayConfig, HttpTable, TrustTable
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.metering.usage import usage
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import BASE, publish

there = importlib.util.find_spec("grpc")
pytestmark = pytest.mark.skipif(there is None, reason="needs the extra `envoy`")
_BODY = b'{"model": "a1", "messages": [{"role": "user", "content": "hello"}]}'


@pytest.fixture
def standins() -> list[StandIn]:
    """The engines; one, unless a test says otherwise."""
    return [StandIn("tiny")]


@pytest.fixture
def running(tmp_path: Path, standins: list[StandIn]) -> Iterator[tuple[Running, str]]:
    """A gateway with a tenant, and its key."""
    loop = Loop()
    launcher = Launcher(loop)
    registry = Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}", blobs=str(tmp_path / "b"), home=tmp_path
    )
    publish(registry, tmp_path, 1, name="a1", alias="prod")
    _, key = TenantAdmin(registry.database, who="me").add("ann", allow=("*",), limits=Limits())
    tiny = ServedBase("tiny", "tiny", BASE.digest)
    engines = [launcher.standin(tiny, one, id=f"e{n}") for n, one in enumerate(standins)]
    http = HttpTable(request_seconds=1.0, body_seconds=1.0)
    config = GatewayConfig(trust=TrustTable(proof="off"), http=http)
    running = launcher.gateway(registry, engines, tmp_path / "spool", config)
    running.wait_for_engines()
    yield running, key.text
    launcher.close()
    registry.close()
    loop.close()


def _headers(given: dict[str, str]) -> Any:
    from adapterworks.gateway.picker import ext_proc_pb2 as wire

    headers = [wire.HeaderValue(key=k, raw_value=v.encode()) for k, v in given.items()]
    return wire.HttpHeaders(headers=wire.HeaderMap(headers=headers))


def _head(key: str, **more: str) -> Any:
    from adapterworks.gateway.picker import ext_proc_pb2 as wire

    given = {":path": "/v1/chat/completions", ":method": "POST", "authorization": f"Bearer {key}"}
    return wire.ProcessingRequest(request_headers=_headers({**given, **more}))


def _answer_head(**given: str) -> Any:
    from adapterworks.gateway.picker import ext_proc_pb2 as wire

    headers = {":status": "200", "content-type": "application/json"}
    renamed = {name.replace("_", "-"): value for name, value in given.items()}
    return wire.ProcessingRequest(response_headers=_headers({**headers, **renamed}))


def _answer_body(value: dict[str, Any]) -> Any:
    from adapterworks.gateway.picker import ext_proc_pb2 as wire

    body = wire.HttpBody(body=json.dumps(value).encode(), end_of_stream=True)
    return wire.ProcessingRequest(response_body=body)


def _free(running: Running) -> None:
    """Wait until no turn and no seat is held."""
    gateway = running.gateway
    deadline = time.monotonic() + 20
    while any(
        gateway.queue(engine).running or gateway.residency(engine).seats.busy
        for engine in gateway.pool.engines
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _body(data: bytes, *, end: bool) -> Any:
    from adapterworks.gateway.picker import ext_proc_pb2 as wire

    return wire.ProcessingRequest(request_body=wire.HttpBody(body=data, end_of_stream=end))


async def _said(session: Any) -> list[Any]:
    said = [one async for one in session.answers()]
    await session.close()
    return said


def test_an_engine_without_an_address_costs_nothing(running: tuple[Running, str]) -> None:
    from adapterworks.gateway.picker import service
    from adapterworks.gateway.picker.session import Session

    gateway = running[0].gateway
    base = ServedBase("tiny", "tiny", BASE.digest)
    moved = Launcher(running[0].loop).remote(base, "http://engine.invalid:1")

    async def gone(engine: Engine) -> Any:
        return await service._place(moved)

    async def ask() -> list[Any]:
        session = Session(gateway, gone)
        session.take(_head(running[1]))
        session.take(_body(_BODY, end=True))
        return await _said(session)

    (said,) = running[0].loop.run(ask())
    assert said.immediate_response.status.code == 503
    assert "no address" in said.immediate_response.body.decode()
    deadline = time.monotonic() + 20
    while not (rows := usage(gateway.registry.database, by=("release",))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (row,) = rows
    assert (row.requests, row.prompt_tokens, row.completion_tokens) == (1, 0, 0)


def test_who_is_not_let_in_sends_no_body(
    running: tuple[Running, str], caplog: pytest.LogCaptureFixture
) -> None:
    from adapterworks.gateway.picker.session import Session

    gateway = running[0].gateway

    async def nowhere(engine: Engine) -> Any:
        raise AssertionError(f"nobody goes to {engine.id}")

    async def ask() -> tuple[list[Any], int]:
        session = Session(gateway, nowhere)
        session.take(_head("junk"))
        for _ in range(3):  # answered already, and Envoy is still bringing it
            session.take(_body(b"x" * 1000, end=False))
        return await _said(session), len(session._body)

    with caplog.at_level(logging.WARNING, "adapterworks.gateway.access"):
        (said,), kept = running[0].loop.run(ask())
    assert (said.immediate_response.status.code, kept) == (401, 0)
    assert "not let in" in caplog.text
    assert gateway.metrics.refusals.labels("", "auth_unknown")._value.get() == 1.0


async def _somewhere(engine: Engine) -> Any:
    from adapterworks.gateway.picker.session import Place

    return Place("10.0.0.1:8000", "/engines/one", "Basic bmFtZTpwdw==")


def test_nothing_of_a_clients_steers_the_engine_and_nothing_tells_of_it(
    running: tuple[Running, str],
) -> None:
    from adapterworks.gateway.picker.session import Session

    steering = {
        "x-vllm-priority": "-1", "x-data-parallel-rank": "3", "x-session-id": "other",
        "endpoint-load-metrics-format": "JSON", "cookie": "a=b", "x-api-key": "none",
        "x-gateway-destination-endpoint": "10.9.9.9:1",
    }  # fmt: skip
    passing = {
        "accept": "text/event-stream", "traceparent": "00-1-2-01", "tracestate": "a=b",
        "x-forwarded-for": "10.1.1.1", "host": "models",
    }  # fmt: skip

    async def ask() -> list[Any]:
        session = Session(running[0].gateway, _somewhere)
        session.take(_head(running[1], **steering, **passing))
        session.take(_body(_BODY, end=True))
        said = [await anext(answers := session.answers())]
        session.take(
            _answer_head(server="uvicorn", endpoint_load_metrics="{}", x_engine="10.0.0.1")
        )
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        session.take(_answer_body({"choices": [], "usage": usage}))
        said += [one async for one in answers]
        await session.close()
        return said

    first, *_, head, _ = running[0].loop.run(ask())
    change = first.request_headers.response.header_mutation
    told = {one.header.key: one.header.raw_value.decode() for one in change.set_headers}
    assert told[":path"] == "/engines/one/v1/chat/completions"
    assert told["authorization"] == "Basic bmFtZTpwdw=="
    assert told["x-gateway-destination-endpoint"] == "10.0.0.1:8000"
    removed = set(change.remove_headers)
    assert removed >= steering.keys() - {"x-gateway-destination-endpoint"}
    assert removed.isdisjoint({*passing, *told})
    change = head.response_headers.response.header_mutation
    assert set(change.remove_headers) == {
        "content-length", "server", "endpoint-load-metrics", "x-engine",
    }  # fmt: skip
    assert "x-request-id" in {one.header.key for one in change.set_headers}


def test_trailers_pass_behind_the_body_and_end_it(running: tuple[Running, str]) -> None:
    """Envoy takes what is said in this order only: anything else is a request that fails, and that
    no engine was asked for."""
    from adapterworks.gateway.picker import ext_proc_pb2 as wire
    from adapterworks.gateway.picker.session import Session

    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    answer = json.dumps({"choices": [], "usage": usage}).encode()

    async def ask() -> list[Any]:
        session = Session(running[0].gateway, _somewhere)
        session.take(_head(running[1]))
        session.take(_body(_BODY, end=False))
        session.take(wire.ProcessingRequest(request_trailers=wire.HttpTrailers()))
        said = [await anext(answers := session.answers())]
        session.take(_answer_head())
        body = wire.HttpBody(body=answer, end_of_stream=False)
        session.take(wire.ProcessingRequest(response_body=body))
        session.take(wire.ProcessingRequest(response_trailers=wire.HttpTrailers()))
        said += [one async for one in answers]
        await session.close()
        return said

    said = running[0].loop.run(ask())
    assert [one.WhichOneof("response") for one in said] == [
        "request_headers", "request_body", "request_trailers",
        "response_headers", "response_body", "response_trailers",
    ]  # fmt: skip
    for one in (said[1].request_body, said[4].response_body):
        assert not one.response.body_mutation.streamed_response.end_of_stream


@pytest.mark.parametrize("standins", [[StandIn("tiny"), StandIn("tiny")]], ids=["two engines"])
def test_what_envoy_cannot_ask_again_is_loaded_nowhere_else(
    running: tuple[Running, str], standins: list[StandIn]
) -> None:
    """The engine lost the adapter: it is loaded there for the next request, and only there."""
    from adapterworks.gateway.picker.session import Session

    async def ask() -> list[Any]:
        session = Session(running[0].gateway, _somewhere)
        session.take(_head(running[1]))
        session.take(_body(_BODY, end=True))
        said = [await anext(answers := session.answers())]
        lost = _answer_head()
        lost.response_headers.headers.headers[0].raw_value = b"404"
        session.take(lost)
        session.take(_answer_body({"error": {"message": "The model does not exist."}}))
        said += [one async for one in answers]
        await session.close()
        return said

    *_, last = running[0].loop.run(ask())
    assert last.immediate_response.status.code == 503
    assert b"Envoy asks once" in last.immediate_response.body
    _free(running[0])
    assert sorted(len(one.loads) for one in standins) == [0, 1]


def test_an_engine_is_asked_where_its_url_says_and_as_it_says(running: tuple[Running, str]) -> None:
    from adapterworks.gateway.picker import service
    from adapterworks.gateway.picker.session import Place

    base = ServedBase("tiny", "tiny", BASE.digest)
    remote = Launcher(running[0].loop).remote(base, "http://na%20me:p%3Aw@127.0.0.1:8000/one/")
    keyed = Launcher(running[0].loop).remote(base, "https://[::1]")
    keyed.key = "sk-engine"  # type: ignore[attr-defined]
    assert running[0].loop.run(service._place(remote)) == Place(
        "127.0.0.1:8000", "/one", "Basic bmEgbWU6cDp3"
    )
    assert running[0].loop.run(service._place(keyed)) == Place("[::1]:443", "", "Bearer sk-engine")


def test_an_engine_that_never_answers_holds_its_place_no_longer_than_a_request_may(
    running: tuple[Running, str],
) -> None:
    from adapterworks.gateway.picker.session import Session

    async def ask(*, head: bool) -> list[Any]:
        session = Session(running[0].gateway, _somewhere)
        session.take(_head(running[1]))
        session.take(_body(_BODY, end=True))
        answers = session.answers()
        said = [await anext(answers)]
        if head:
            session.take(_answer_head(content_type="text/event-stream"))
        async with asyncio.timeout(20):
            said += [one async for one in answers]
        return said

    said = running[0].loop.run(ask(head=False))
    _free(running[0])
    assert said[-1].immediate_response.status.code == 503
    # The client has the head of a stream by then: it is told in an event, and the stream ends.
    said = running[0].loop.run(ask(head=True))
    _free(running[0])
    last = said[-1].response_body.response.body_mutation.streamed_response
    assert b"broke off" in last.body
    assert last.end_of_stream


def test_a_body_that_does_not_come_is_not_waited_for(running: tuple[Running, str]) -> None:
    from adapterworks.gateway.picker.session import Session

    async def ask() -> list[Any]:
        session = Session(running[0].gateway, _somewhere)
        session.take(_head(running[1]))
        session.take(_body(_BODY[:20], end=False))
        async with asyncio.timeout(20):
            return await _said(session)

    (said,) = running[0].loop.run(ask())
    assert said.immediate_response.status.code == 408
    assert b"within 1 s" in said.immediate_response.body


@pytest.mark.parametrize("asked", [True, False], ids=["of the engine", "not yet"])
@pytest.mark.parametrize("how", ["hangs up", "talks nonsense"])
def test_a_proxy_that_says_no_more_gives_its_place_back(
    running: tuple[Running, str], how: str, asked: bool
) -> None:
    """Its stream may stay open for as long as it likes, and the engine say nothing either."""
    import grpc

    from adapterworks.gateway.picker import ext_proc_pb2 as wire
    from adapterworks.gateway.picker import service

    gateway = running[0].gateway
    gateway.config = gateway.config.model_copy(update={"http": HttpTable()})
    failures = gateway.metrics.background_failures.labels("picker")._value

    async def ask() -> Any:
        picker = service.Picker(gateway, "127.0.0.1:0")
        await picker.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{picker.port}") as channel:
                call = channel.stream_stream(
                    f"/{service._SERVICE}/Process",
                    request_serializer=wire.ProcessingRequest.SerializeToString,
                    response_deserializer=wire.ProcessingResponse.FromString,
                )()
                await call.write(_head(running[1]))
                if asked:
                    await call.write(_body(_BODY, end=True))
                    assert (await call.read()).WhichOneof("response") == "request_headers"
                if how == "hangs up":
                    await call.done_writing()
                else:
                    await call.write(wire.ProcessingRequest())
                async with asyncio.timeout(20):
                    with contextlib.suppress(grpc.aio.AioRpcError):
                        while await call.read() is not grpc.aio.EOF:
                            pass
                    return await call.code()
        finally:
            await picker.stop(5.0)

    before = failures.get()
    code = running[0].loop.run(ask())
    _free(running[0])
    if how == "hangs up":
        assert failures.get() == before
    else:
        assert code == grpc.StatusCode.INTERNAL
        assert failures.get() == before + 1


@pytest.mark.parametrize("grace", [60.0, 0.2])
def test_a_request_that_is_under_way_has_the_time_that_it_is_given(
    running: tuple[Running, str], grace: float
) -> None:
    import grpc

    from adapterworks.gateway.picker import ext_proc_pb2 as wire
    from adapterworks.gateway.picker.service import Picker

    one, key = running

    async def ask() -> list[Any]:
        picker = Picker(one.gateway, "127.0.0.1:0")
        await picker.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{picker.port}") as channel:
            call = channel.stream_stream(
                "/envoy.service.ext_proc.v3.ExternalProcessor/Process",
                request_serializer=wire.ProcessingRequest.SerializeToString,
                response_deserializer=wire.ProcessingResponse.FromString,
            )()
            await call.write(_head(key))
            await call.write(_body(_BODY, end=True))
            said = [await call.read(), await call.read()]  # the engine, and what it is asked
            stopping = asyncio.create_task(picker.stop(grace))
            await asyncio.sleep(0.5)
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
                await call.write(_answer_head())
                await call.write(_answer_body({"id": "x", "choices": [], "usage": usage}))
                while (read := await call.read()) is not grpc.aio.EOF:
                    said.append(read)
            await stopping
        return said

    said = one.loop.run(ask())
    told = [said_one.WhichOneof("response") for said_one in said]
    assert ("response_headers" in told) is (grace > 1)
    _free(one)
