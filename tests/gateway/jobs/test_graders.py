"""Graders over HTTP, by OpenAI's own client: what each gives, and what is refused of them."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import openai
import pytest
from openai.types.fine_tuning.alpha import GraderRunResponse
from openai.types.graders import MultiGrader, StringCheckGrader

from adapterworks.gateway.jobs.graders import AskedRun, read_grader
from adapterworks.gateway.jobs.grading_line import GradingLine
from adapterworks.gateway.jobs.running_graders import Graders
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.grading import BuildersGrading
from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.manifests.graders import Graded, Grader
from tests.gateway.jobs_support import House, house, strict

__all__ = ["house"]

CHECK: dict[str, Any] = {
    "type": "string_check",
    "name": "Example string check grader",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.label}}",
}
ALIKE: dict[str, Any] = {
    "type": "text_similarity",
    "name": "alike",
    "evaluation_metric": "rouge_1",
    "input": "{{sample.output_text}}",
    "reference": "{{item.text}}",
}
MULTI: dict[str, Any] = {
    "type": "multi",
    "name": "both",
    "graders": {"right": CHECK, "alike": ALIKE},
    "calculate_output": "0.75 * right + 0.25 * alike",
}
ITEM = {"label": "R50", "text": "a b c"}


def run_strictly(house: House, grader: dict[str, Any], sample: str, **more: Any) -> Any:
    """A run's answer by the client's own type, in strict mode, with nothing besides."""
    graders = house.client().fine_tuning.alpha.graders.with_raw_response
    raw = graders.run(grader=grader, model_sample=sample, **more)  # type: ignore[arg-type]
    found = GraderRunResponse.model_validate_json(raw.text, strict=True)
    for part in (found, found.metadata, found.metadata.errors):
        assert not part.model_extra
    assert raw.parse().reward == found.reward
    return found


def test_openais_client_runs_and_validates_them(house: House) -> None:
    graders = house.client().fine_tuning.alpha.graders
    checked = graders.validate(grader=CHECK)  # type: ignore[arg-type]  # a table is what it takes
    strict(checked)
    assert isinstance(checked.grader, StringCheckGrader)
    assert checked.grader.to_dict() == CHECK
    run = run_strictly(house, CHECK, "R50", item=ITEM)
    assert (run.reward, run.sub_rewards) == (1.0, {})
    assert (run.metadata.name, run.metadata.type) == (CHECK["name"], "string_check")
    assert not any(run.metadata.errors.to_dict().values())
    assert run.metadata.execution_time >= 0
    assert run_strictly(house, CHECK, "r50", item=ITEM).reward == 0.0
    assert run_strictly(house, ALIKE, "a b d", item=ITEM).reward == pytest.approx(2 / 3)
    both = run_strictly(house, MULTI, "R50", item=ITEM)
    assert (both.reward, both.sub_rewards) == (0.75, {"right": 1.0, "alike": 0.0})
    # The client's type has one grader in a `multi`; OpenAI's guide has a table of them.
    one = {**MULTI, "graders": ALIKE, "calculate_output": "2 * alike"}
    single = graders.validate(grader=one)  # type: ignore[arg-type]
    strict(single)
    assert isinstance(single.grader, MultiGrader)
    assert run_strictly(house, one, "a b c", item=ITEM).reward == 2.0


def test_faults_of_a_row_are_flags_of_an_answer(house: House) -> None:
    lacking = run_strictly(house, CHECK, "R50")
    assert lacking.reward == 0.0
    assert lacking.metadata.errors.invalid_variable_error
    without = run_strictly(house, {**MULTI, "calculate_output": "1 / alike"}, "z", item=ITEM)
    assert without.metadata.errors.other_error
    assert not without.metadata.errors.invalid_variable_error


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "score_model", "model": "gpt-5"}, "grader.input"),
        ({"type": "label_model"}, "grader.labels"),
        ({"type": "magic"}, "grader"),
        ({"operation": "is"}, "grader.operation"),
        ({"reference": "{{item.a.b}}"}, "neither `sample.output_text` nor"),
        ({"name": ""}, "grader.name"),
        ({"colour": "red"}, "grader.colour"),
        ({"graders": {}}, "grader.graders"),
        ({**MULTI, "graders": {"right": {**CHECK, "type": "python"}}}, "grader.graders.right"),
        ({**MULTI, "calculate_output": "wrong"}, "grader"),
        ({**MULTI, "graders": 3}, "grader"),
        ({**MULTI, "graders": {"right": 3}}, "grader"),
        ({"reference": "{{item.text}}" * 1000}, "more than 400000 characters"),
    ],
)
def test_what_is_not_run_here_is_said(house: House, changes: dict[str, Any], words: str) -> None:
    grader = {**CHECK, **changes}
    body = {"grader": grader, "model_sample": "x", "item": {"text": "x" * 500}}
    with house.running.http(house.keys["acme"]) as http:
        answer = http.post("/v1/fine_tuning/alpha/graders/run", json=body)
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert (error["param"], error["type"]) == ("grader", "invalid_request_error")
        assert words in error["message"]
        validated = http.post("/v1/fine_tuning/alpha/graders/validate", json={"grader": grader})
        assert validated.status_code == (200 if "characters" in words else 400)


def test_a_measure_that_is_not_there_is_told_what_is(house: House) -> None:
    graders = house.client().fine_tuning.alpha.graders
    with pytest.raises(openai.BadRequestError, match="'bleu', 'rouge_1'"):
        graders.validate(grader={**ALIKE, "evaluation_metric": "meteor"})  # type: ignore[arg-type]


def test_sizes_and_callers_are_looked_at_first(house: House) -> None:
    path = "/v1/fine_tuning/alpha/graders/run"
    with house.running.http(house.keys["acme"]) as http:
        long = http.post(path, json={"grader": CHECK, "model_sample": "x" * 100_001})
        wide = http.post(
            path,
            json={
                "grader": CHECK,
                "model_sample": "",
                "item": dict.fromkeys(map(str, range(1001))),
            },
        )
    assert [long.json()["error"]["param"], wide.json()["error"]["param"]] == [
        "model_sample",
        "item",
    ]
    for verb in ("run", "validate"):
        with pytest.raises(openai.AuthenticationError):
            house.running.client("nobody").post(
                f"/fine_tuning/alpha/graders/{verb}", body={"grader": CHECK}, cast_to=object
            )


class Slow(BuildersGrading):
    """Grades when it is let go on."""

    def __init__(self) -> None:
        self.running, self.most, self.go, self.lock = 0, 0, threading.Event(), threading.Lock()

    def grade(
        self, grader: Grader, answer: str, item: Mapping[str, Any], elsewhere: Mapping[str, float]
    ) -> Graded:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go.wait(60)
        with self.lock:
            self.running -= 1
        return Graded(1.0)


def somebody(name: str = "acme") -> Tenant:
    return Tenant(id=name, name=name, allow=("*",), cache_salt="", limits=Limits())


def test_a_few_run_at_once_some_wait_and_the_rest_come_again() -> None:
    """The loop goes on while they run: it is this loop that lets them end."""
    slow, nobody = Slow(), cast(Any, None)

    async def ask() -> list[Any]:
        graders, asked = Graders(slow), AskedRun(grader=CHECK, model_sample="", item=ITEM)
        whose = [somebody(f"t{number % 6}") for number in range(21)]
        runs = (graders.run(nobody, tenant, nobody, asked) for tenant in whose)
        tasks = [asyncio.create_task(run) for run in runs]
        await asyncio.sleep(1)
        slow.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    done = asyncio.run(ask())
    assert slow.most <= 2
    assert sorted(type(one).__name__ for one in done) == ["Unavailable"] * 3 + ["dict"] * 18


def test_a_tenant_has_one_turn_and_leaves_room_for_others() -> None:
    line, go, began = GradingLine(), threading.Event(), list[str]()

    def work(name: str) -> None:
        began.append(name)
        assert go.wait(30)

    async def ask() -> None:
        tasks = [asyncio.create_task(line.run("acme", partial(work, "acme"))) for _ in range(6)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="of your graders"):
            line.require_room("acme")
        line.require_room("globex")
        tasks.append(asyncio.create_task(line.run("globex", partial(work, "globex"))))
        while len(began) < 2:  # noqa: ASYNC110 (it is begun in a thread)
            await asyncio.sleep(0.01)
        assert sorted(began) == ["acme", "globex"]
        tasks[0].cancel()  # the thread goes on, and the turn is its
        await asyncio.sleep(0.2)
        assert len(began) == 2
        go.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(ask())
    assert began.count("acme") == 6
    line.require_room("acme")


def test_the_gateway_is_composed_with_builders_graders(monkeypatch: pytest.MonkeyPatch) -> None:
    alike, grading = read_grader(ALIKE).grader, BuildersGrading()
    assert grading.grade(alike, "a b c", ITEM, {}) == Graded(1.0)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(InvalidInput, match="not installed beside it"):
        grading.grade(alike, "a b c", ITEM, {})
