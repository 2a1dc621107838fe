"""An answer that is not streamed goes out in one piece: two wake the client twice."""

from __future__ import annotations

import gc
import http.client
import json
import socket
from collections import Counter
from urllib.parse import urlsplit

import pytest

from adapterworks.gateway.metering import meter
from adapterworks.registry.bases.base import Base
from tests.gateway import raw
from tests.gateway.running import Running


def _first_piece(url: str, data: bytes) -> bytes:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30.0) as connection:
        connection.sendall(data)
        return connection.recv(1 << 16)


def test_head_and_body_come_together(on_standin: Running, base: Base) -> None:
    message = {"role": "user", "content": "hello"}
    body = {"model": base.name, "messages": [message], "max_tokens": 4}
    request = raw.request("POST", "/v1/chat/completions", body=body, close=False)
    for _ in range(5):
        head, _, content = _first_piece(on_standin.url, request).partition(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        assert int(lines[b"content-length"]) == len(content) > 0


def test_what_was_answered_is_counted_when_the_next_request_is_read(
    on_standin: Running, base: Base
) -> None:
    def counted() -> float:
        with on_standin.http() as http:
            text = http.get("/metrics").text
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith("adapters_requests_total{") and f'adapter="{base.name}"' in line
        )

    before = counted()
    with on_standin.client() as client:
        for number in range(1, 6):
            client.completions.create(model=base.name, prompt="hello", max_tokens=1)
            assert counted() == before + number


@pytest.fixture
def nothing_is_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy leaves a hundred objects each time that usage is taken into the index."""
    monkeypatch.setattr(meter, "DRAIN_SECONDS", 3600.0)


def test_requests_leave_no_garbage(
    nothing_is_drained: None, on_standin: Running, base: Base
) -> None:
    """So the collector may run rarely: a full run stops every stream for 40 ms."""
    address = urlsplit(on_standin.url)
    connection = http.client.HTTPConnection(address.hostname, address.port)

    def ask() -> None:
        for stream in (False, True):
            body = {"model": base.name, "prompt": "hello", "max_tokens": 2, "stream": stream}
            connection.request("POST", "/v1/completions", json.dumps(body))
            response = connection.getresponse()
            assert response.status == 200
            response.read()

    ask()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(100):
            ask()
        gc.collect()
        found = Counter(type(thing).__module__.partition(".")[0] for thing in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        connection.close()
    # Each request has a cycle of uvicorn's and several values of ours: of 200 there would be 200.
    # Other gateways of this process leave some meanwhile, of SQLAlchemy's above all.
    assert found["uvicorn"] < 50, found
    assert found["adapterworks"] < 50, found
