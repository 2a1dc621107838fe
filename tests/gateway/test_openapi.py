"""Anything that the gateway's own OpenAPI allows, and much that it does not: never a 5xx."""

from __future__ import annotations

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from gateway.app import create_app
from gateway.routes.openapi import document
from tests.gateway.running import Running

# What a 5xx of ours may be: the gateway saying when to come back.
_LATER = 503


def _run(running: Running, examples: int) -> int:
    """Send generated requests, valid and invalid, to each operation; returns how many."""
    schema = schemathesis.openapi.from_dict(document())
    sent = 0
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation = result.ok()
            cases = st.one_of(*(operation.as_strategy(mode) for mode in GenerationMode))

            @settings(
                max_examples=examples,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
                derandomize=True,
                database=None,
            )
            @given(case=cases)
            def one(case: schemathesis.Case) -> None:
                nonlocal sent
                sent += 1
                if isinstance(case.body, dict) and sent % 2:  # half of them reach the engine
                    case.body |= {n: "medical" for n in ("model", "adapter") if n in case.body}
                answer = case.call(base_url=running.url, session=session, timeout=30)
                assert answer.status_code < 500 or (
                    answer.status_code == _LATER and "retry-after" in answer.headers
                ), case.as_curl_command()

            one()
    return sent


def test_no_generated_request_makes_the_gateway_fail(on_standin: Running) -> None:
    assert _run(on_standin, 20) >= 150


@pytest.mark.slow
def test_five_thousand_generated_requests(on_standin: Running) -> None:
    assert _run(on_standin, 450) >= 5000


def test_every_public_path_is_described(on_standin: Running) -> None:
    app = create_app(on_standin.gateway)
    paths = {route.path.replace(":path}", "}") for route in app.routes}  # type: ignore[attr-defined]
    assert paths == set(document()["paths"])
    assert httpx.get(on_standin.url + "/openapi.json").json() == document()
