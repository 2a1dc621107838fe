"""Anything that the gateway's own OpenAPI allows, and much that it does not: never a 5xx."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from adapterworks.gateway.config.jobs import JobsTable
from adapterworks.gateway.config.tables import RegistryTable
from adapterworks.gateway.http.app import create_app
from adapterworks.gateway.http.routes.openapi import document
from tests.gateway.running import Running, Start

# Pages for people, which no client is written against.
PAGES = {"/console"}
# Every other request names a model that exists, so that it gets as far as the engine.
MODELS = ("medical", "smollm2-135m-instruct", "code:prod")


def _run(running: Running, examples: int, *, jobs: bool = False) -> Counter[int]:
    """Send generated requests, valid and invalid, to each operation; returns the answers' statuses.

    Args:
        jobs: whether the paths of `[jobs]` are there, and asked too.
        examples: requests to each operation that takes a body or a parameter; half as many to the
            others, which differ in what is sent around them only.
    """
    schema = schemathesis.openapi.from_dict(document(jobs=jobs))
    statuses: Counter[int] = Counter()
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation = result.ok()
            plain = operation.method == "get" and "{" not in operation.path
            cases = st.one_of(*(operation.as_strategy(mode) for mode in GenerationMode))

            @settings(
                max_examples=examples // 2 if plain else examples,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
                derandomize=True,
                database=None,
            )
            @given(case=cases)
            def one(case: schemathesis.Case) -> None:
                sent = statuses.total()
                if isinstance(case.body, dict) and sent % 2:
                    model = MODELS[sent % len(MODELS)]
                    case.body |= {n: model for n in ("model", "adapter") if n in case.body}
                answer = case.call(base_url=running.url, session=session, timeout=30)
                statuses[answer.status_code] += 1
                assert answer.status_code < 500, case.as_curl_command()

            one()
    return statuses


def test_no_generated_request_makes_the_gateway_fail(on_standin: Running) -> None:
    statuses = _run(on_standin, 12)
    assert statuses.total() >= 150
    assert {200, 400, 404} <= statuses.keys()


def test_no_generated_request_makes_jobs_fail(start: Start) -> None:
    statuses = _run(start(jobs=JobsTable(on=True, max_queued=5)), 6, jobs=True)
    assert statuses.total() >= 150
    assert {200, 400, 404} <= statuses.keys()


@pytest.mark.slow
def test_five_thousand_generated_requests(on_standin: Running) -> None:
    statuses = _run(on_standin, 560)
    print(f"{statuses.total()} generated requests: {dict(sorted(statuses.items()))}")
    assert statuses.total() >= 5000


def test_every_public_path_is_described(on_standin: Running) -> None:
    app = create_app(on_standin.gateway)
    paths = {route.path.replace(":path}", "}") for route in app.routes} - PAGES  # type: ignore[attr-defined]
    assert paths == set(document()["paths"])
    assert httpx.get(on_standin.url + "/openapi.json").json() == document()


def test_every_path_of_jobs_is_described(start: Start) -> None:
    running = start(jobs=JobsTable(on=True))
    app = create_app(running.gateway)
    paths = {route.path.replace(":path}", "}") for route in app.routes} - PAGES  # type: ignore[attr-defined]
    assert paths == set(document(jobs=True)["paths"])
    assert httpx.get(running.url + "/openapi.json").json() == document(jobs=True)


def test_every_path_of_the_registry_is_described(start: Start) -> None:
    running = start(registry=RegistryTable(on=True, anonymous="reader"))
    app = create_app(running.gateway)
    there = {route.path for route in app.routes}  # type: ignore[attr-defined]
    described = set(document(registry=True)["paths"])
    of_registry = {path for path in described if path.startswith("/v1/registry/")}
    assert {path for path in there if path.startswith("/v1/registry/")} == of_registry
    assert len(of_registry) > 20
    assert httpx.get(running.url + "/openapi.json").json() == document(registry=True)
    told = httpx.get(running.url + "/v1/registry/me").json()
    assert (told["name"], told["role"]) == ("anonymous", "reader")


def test_a_gateway_without_it_says_how_it_is_turned_on(on_standin: Running) -> None:
    answer = httpx.get(on_standin.url + "/v1/registry/adapters")
    assert answer.status_code == 404
    assert "[registry] on = true" in answer.json()["error"]["message"]
