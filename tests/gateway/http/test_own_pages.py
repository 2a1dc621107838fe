"""A gateway that lets anyone in: programs of this machine, and no page that its user visits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from adapterworks.gateway.http.app import create_app
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Running, Start

CHAT = "/v1/chat/completions"
LOCAL = "127.0.0.1:8080"


@pytest.fixture
def running(start: Start) -> Running:
    return start()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"host": "localhost:8080"}, 200),
        ({"host": "[::1]:8080"}, 200),
        ({"host": LOCAL, "origin": f"http://{LOCAL}", "sec-fetch-site": "same-origin"}, 200),
        ({"host": LOCAL, "sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, 200),
        # A name of somebody's that points to this machine: to the browser the page's own.
        ({"host": "evil.example", "origin": "http://evil.example"}, 403),
        ({"host": "evil.example:8080", "sec-fetch-site": "same-origin"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        # What a page sends without asking first: a plain content type.
        ({"host": LOCAL, "origin": "https://evil.example", "content-type": "text/plain"}, 403),
        ({"host": LOCAL, "origin": "null"}, 403),
        ({"host": LOCAL, "origin": "http://127.0.0.1:9000"}, 403),  # another program's page
        ({"host": LOCAL, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"host": LOCAL, "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}, 403),
    ],
)
def test_who_may_ask_where_no_key_is_asked_for(
    running: Running, standin: StandIn, headers: dict[str, str], status: int
) -> None:
    messages = [{"role": "user", "content": "hello"}]
    body = {"model": standin.base, "messages": messages, "max_tokens": 1}
    with running.http() as http:
        answer = http.post(CHAT, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert len(standin.bodies) == (status == 200)
        read = http.get("/v1/models", headers=headers)
        assert (read.status_code, "data" in read.json()) == (status, status == 200)
    if status == 403:
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("permission_error", "forbidden")
        assert "cors_origins" in error["message"]


def test_a_link_from_another_site_is_followed(running: Running) -> None:
    link = {"host": LOCAL, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    with running.http() as http:
        assert http.get("/openapi.json", headers=link).status_code == 200


@pytest.mark.parametrize(
    ("origins", "host", "origin", "status"),
    [
        (("https://app.example",), LOCAL, "https://app.example", 200),
        (("https://app.example",), "app.example", "https://app.example", 200),
        (("https://app.example",), LOCAL, "https://else.example", 403),
        (("https://app.example",), "else.example", "https://app.example", 403),
        (("*",), "else.example", "https://any.example", 200),
    ],
)
def test_pages_that_are_named_may(
    running: Running, origins: tuple[str, ...], host: str, origin: str, status: int
) -> None:
    config = running.gateway.config
    http = config.http.model_copy(update={"cors_origins": origins})
    gateway = replace(running.gateway, config=config.model_copy(update={"http": http}))
    with TestClient(create_app(gateway)) as page:
        answer = page.get("/health", headers={"host": host, "origin": origin})
        assert answer.status_code == status
