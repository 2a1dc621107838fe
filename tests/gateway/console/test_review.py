"""The review queue as people see it: blind, both orders, two reviewers, corrections that become
rows; and the same over the API."""

from __future__ import annotations

import json
import re
import time
from html import unescape
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.evaluation.statistics import mean_gain_interval
from adapterworks.builders.failures.captured import Owner, captured
from adapterworks.builders.failures.reported import reported_failures
from adapterworks.builders.reviewing.queue import outcomes
from adapterworks.cli.main import cli
from adapterworks.registry.exchanges import reviews
from adapterworks.registry.exchanges.shadows import put_shadow
from adapterworks.registry.exchanges.store import Exchanges
from tests.gateway.console.browsing import Browser
from tests.gateway.jobs_support import House
from tests.registry.exchanges.test_exchanges import exchange
from tests.registry.exchanges.test_shadows import shadow

EVIL = "<script>alert(1)</script>"


def fill(house: House, adapter: str, pairs: int, alone: int = 0) -> Exchanges:
    """Requests of acme's that are kept."""
    store = house.running.gateway.capture.store
    now = {"tenant": house.acme.id, "adapter": adapter, "created": time.time()}
    for number in range(pairs + alone):
        name = f"{adapter}-{number}"
        store.put([exchange(number, receipt=name, id=f"chatcmpl-{name}", **now)])
        if number < pairs:
            assert put_shadow(store, shadow(number, f"other {EVIL}", receipt=name, **now))
    return store


def shown(page: str) -> list[str]:
    """The question and the answers."""
    return [unescape(text) for text in re.findall(r'<p class="said">(.*?)</p>', page, re.S)]


def ballot(page: str) -> str:
    found = re.search(r'action="/console/review/([^"]+)"', page)
    assert found is not None, page
    return found[1]


def test_two_people_judge_blind_and_in_both_orders(house: House, acme: Browser) -> None:
    store = fill(house, "blind", 1)
    asked = {"reviewer": "ann", "adapter": "blind"}
    assert 'name="reviewer"' in acme.get("/review").text
    first = acme.send("/review", asked).text
    question, *answers = shown(first)
    assert question == "the lamp of room twelve is broken"
    assert sorted(answers) == ["answer 0", f"other {EVIL}"]
    assert EVIL not in first, "what a model says is text"
    for secret in ("sha256:r", "sha256:s", "blind-0", ">r<", ">s<"):
        assert secret not in first, "nobody is told whose they are"
    place = str(answers.index("answer 0") + 1)
    done = acme.send(f"/review/{ballot(first)}", {**asked, "choice": place}).text
    assert "Nothing waits for you" in done
    second = acme.send("/review", {**asked, "reviewer": "bob"}).text
    assert shown(second)[1:] == answers[::-1]
    form = {**asked, "reviewer": "bob", "choice": "2" if place == "1" else "1"}
    page = acme.send(f"/review/{ballot(second)}", {**form, "correction": " the right one "}).text
    assert "ann, bob: 100 % (1)" in unescape(page)
    assert "50 %" in page, "each place was chosen once"
    assert "Nothing waits" in acme.send("/review", {**asked, "reviewer": "cy"}).text
    # The correction is a row to learn from.
    items = store.read(tenant=house.acme.id, adapter="blind")
    answered, _ = captured(items, {house.acme.id: Owner("acme", "own")})
    (failure,) = reported_failures(answered, "blind").failures
    assert (failure.answer, failure.correction) == ("answer 0", "the right one")


def test_an_answer_alone_is_right_or_wrong_and_that_is_feedback(
    house: House, acme: Browser
) -> None:
    store = fill(house, "alone", 0, alone=2)
    asked = {"reviewer": "ann", "adapter": "alone"}
    page = acme.send("/review", asked).text
    assert len(shown(page)) == 2
    page = acme.send(f"/review/{ballot(page)}", {**asked, "choice": "1"}).text
    acme.send(f"/review/{ballot(page)}", {**asked, "choice": "0", "correction": "better"})
    said = {
        item.text: [(one.thumb, one.correction, one.reviewer) for one in item.feedback]
        for item in store.read(tenant=house.acme.id, adapter="alone")
    }
    assert said == {"answer 0": [("up", None, "ann")], "answer 1": [("down", "better", "ann")]}


def test_a_tenant_judges_its_own_and_a_name_is_a_name(
    house: House, acme: Browser, globex: Browser
) -> None:
    fill(house, "own", 1)
    asked = {"reviewer": "ann", "adapter": "own"}
    mine = acme.send("/review", asked).text
    assert "Nothing waits" in globex.send("/review", asked).text
    theirs = globex.send(f"/review/{ballot(mine)}", {**asked, "choice": "1"})
    assert theirs.status_code == 404
    assert acme.send("/review", {"reviewer": "ann@example.com"}).status_code == 400
    for choice in ("x", "²", "9" * 5000):
        assert acme.send(f"/review/{ballot(mine)}", {**asked, "choice": choice}).status_code == 400
    plain = acme.client.post("/console/review", data={"reviewer": "ann"})
    assert plain.status_code == 403, "not a form of ours"


def test_the_api_says_the_same(house: House) -> None:
    fill(house, "api", 1)
    with house.running.http(house.keys["acme"]) as http:
        asked = {"reviewer": "ann", "adapter": "api"}
        first = http.post("/v1/reviews", json=asked).json()
        assert (first["choices"], first["waiting"], len(first["answers"])) == ([1, 2, 0], 1, 2)
        assert "sha256:" not in json.dumps(first), "nobody is told whose they are"
        assert http.post("/v1/reviews", json=asked).json()["id"] == first["id"]
        path = f"/v1/reviews/{first['id']}"
        done = http.post(path, json={"reviewer": "ann", "choice": 0})
        assert (done.status_code, done.json()["choice"]) == (201, 0)
        assert "release" not in done.text
        assert http.post(path, json={"reviewer": "ann", "choice": 0}).status_code == 200
        assert http.post(path, json={"reviewer": "ann", "choice": 1}).status_code == 409
        assert http.post(path, json={"reviewer": "bob", "choice": 1}).status_code == 404
        assert http.post(path, json={"reviewer": "ann", "choice": 3}).status_code == 400
        assert http.post("/v1/reviews", json=asked).json()["id"] is None
        (row,) = http.get("/v1/reviews", params={"adapter": "api"}).json()["data"]
        assert (row["answers"], row["better"], row["neither"]) == (1, 0, 1)


def test_the_command_line_says_how_surely(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(house, "sure", 8)
    for reviewer in ("ann", "bob"):
        for _ in range(8):
            found = reviews.take(store, house.acme.id, reviewer, time.time(), adapter="sure")
            assert found is not None
            choice = found.answers.index(next(a for a in found.answers if a.startswith("answer")))
            reviews.judge(store, house.acme.id, found.id, reviewer, choice + 1, time.time())
    (one,) = outcomes(reviews.judged(store, adapter="sure"))
    assert (one["answers"], one["better"], one["preferred"]) == (8, 16, 1.0)
    sixteen = mean_gain_interval(np.ones(16), 0.95)
    assert 0.5 < one["low"] < (1 + sixteen.low) / 2 - 0.02, "eight requests, not 16 judgements"
    app: Any = App()
    monkeypatch.setattr(type(app), "exchanges", property(lambda _: store))
    result = CliRunner().invoke(
        cli, ["feedback", "preferences", "--adapter", "sure", "--json"], obj=app
    )
    assert json.loads(result.stdout) == json.loads(json.dumps([one]))
