"""`demo.py` waits for as long as a load takes, and believes nothing that is not beyond chance."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from openai import OpenAI

import demo

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "电子渠道组"},
        }
    ],
}


class Gateway(BaseHTTPRequestHandler):
    """Says 503 for as many times as `busy` says, as while an adapter is being loaded."""

    busy: int
    asked: int
    retry_after: str | None

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        kind = type(self)
        kind.asked += 1
        body: dict[str, Any] = ANSWER
        ready = kind.asked > kind.busy
        if not ready:
            body = {"error": {"message": f"m is still being loaded: {kind.asked} of 9 probes"}}
        self.send_response(200 if ready else 503)
        if not ready and kind.retry_after is not None:
            self.send_header("retry-after", kind.retry_after)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def client() -> Iterator[OpenAI]:
    Gateway.busy, Gateway.asked, Gateway.retry_after = 40, 0, "0"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    with OpenAI(base_url=url, api_key="none", max_retries=0) as made:
        yield made
    server.shutdown()
    server.server_close()


def test_a_load_that_takes_long_is_waited_for(
    client: OpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = demo.answered(client, "m", "?").parse()
    assert answer.choices[0].message.content == "电子渠道组"
    assert Gateway.asked == 41
    assert "waiting: " in capsys.readouterr().out


def test_a_gateway_that_says_no_time_is_a_failure(client: OpenAI) -> None:
    Gateway.retry_after = None
    with pytest.raises(demo.DemoFailed, match="still being loaded"):
        demo.answered(client, "m", "?")
    assert Gateway.asked == 1


def result(low_base: float, low_nearest: float) -> dict[str, Any]:
    gain = {"gain": 0.3, "high": 0.4}
    entry = {
        "values": {"candidate": 0.9, "base": 0.0, "nearest": 0.6},
        "intervals": {"candidate": [0.8, 1.0], "base": [0.0, 0.0], "nearest": [0.5, 0.7]},
        "gains": {"base": gain | {"low": low_base}, "nearest": gain | {"low": low_nearest}},
    }
    return {"report": {"rows": 160, "metrics": {demo.METRIC: entry}}}


def test_better_than_both_means_both_intervals_above_zero(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert demo.beats(result(0.1, 0.05), "base", "nearest")
    assert not demo.beats(result(0.1, 0.0), "base", "nearest")
    assert not demo.beats(result(-0.1, 0.1), "base", "nearest")
    demo.show({"bank-tickets": result(0.1, 0.05)})
    line = next(line for line in capsys.readouterr().out.splitlines() if "bank-tickets" in line)
    for cell in ("160", "90% [80%, 100%]", "0% [0%, 0%]", "60% [50%, 70%]", "+30% [+5%, +40%]"):
        assert cell in line
