"""Graders that run code or ask a model, over HTTP: in a sandbox, and paid by who asks."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import openai
import pytest
from openai.types.fine_tuning.alpha import GraderRunResponse

from adapterworks.builders.rewards.sandbox import refusal
from adapterworks.gateway.jobs import running_graders
from adapterworks.gateway.jobs.graders import Labels, read_grader
from adapterworks.gateway.jobs.grading_line import GradingLine
from adapterworks.gateway.jobs.room import open_room
from adapterworks.gateway.jobs.running_graders import read_label
from adapterworks.gateway.jobs.without_code import end_code
from adapterworks.gateway.metering.usage import usage
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.grading import BuildersGrading
from adapterworks.manifests.errors import Unavailable
from adapterworks.manifests.grading import Ran
from adapterworks.registry.bases.base import Base
from adapterworks.registry.jobs import lookup, queue
from adapterworks.registry.jobs.job import BUILD_LANE
from adapterworks.registry.registry import Registry
from tests.gateway.files.test_files import put
from tests.gateway.jobs.test_graders import ALIKE, CHECK, ITEM, run_strictly
from tests.gateway.jobs.test_reinforcement import manifest_of, method, rows
from tests.gateway.jobs_support import House, house, move_in
from tests.gateway.running import Launcher

__all__ = ["house"]
sandboxed = pytest.mark.skipif(refusal() is not None, reason=f"no sandbox: {refusal()}")

PYTHON: dict[str, Any] = {
    "type": "python",
    "name": "length",
    "image_tag": "2025-05-08",
    "source": """
def grade(sample, item):
    if sample["output_json"] is not None:
        return sample["output_json"]["n"] / item["most"]
    return len(sample["output_text"]) / item["most"]
""",
}


def score(house: House, **more: Any) -> dict[str, Any]:
    return {
        "type": "score_model",
        "name": "how good",
        "model": house.standin.base,
        "input": [
            {"role": "system", "content": "You judge."},
            {
                "type": "message",
                "role": "user",
                "content": {"type": "input_text", "text": "{{item.label}}: {{sample.output_text}}"},
            },
        ],
        "range": [0, 10],
        "sampling_params": {"temperature": 0.5, "seed": 3, "max_completions_tokens": 64},
        **more,
    }


def label(house: House, **more: Any) -> dict[str, Any]:
    return {
        "type": "label_model",
        "name": "kind",
        "model": house.standin.base,
        "input": [{"role": "user", "content": "Is `{{sample.output_text}}` kind?"}],
        "labels": ["kind", "neutral", "rude"],
        "passing_labels": ["kind", "neutral"],
        **more,
    }


def metered(house: House, requests: int) -> list[Any]:
    """What the tenants' usage comes to, once so many requests are counted."""
    deadline = time.monotonic() + 30
    while True:
        found = usage(house.registry.database, by=("tenant",))
        if sum(row.requests for row in found) >= requests:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@sandboxed
def test_code_is_run_in_the_sandbox_of_rewards(house: House) -> None:
    graders = house.client().fine_tuning.alpha.graders
    assert graders.validate(grader=PYTHON).grader is not None  # type: ignore[arg-type]
    run = run_strictly(house, PYTHON, "abc", item={"most": 4})
    assert (run.reward, run.metadata.type) == (0.75, "python")
    assert not any(run.metadata.errors.to_dict().values())
    assert run_strictly(house, PYTHON, '{"n": 1}', item={"most": 4}).reward == 0.25
    both = {
        "type": "multi",
        "name": "both",
        "graders": {"right": CHECK, "length": PYTHON},
        "calculate_output": "right + length",
    }
    run = run_strictly(house, both, "R50", item={**ITEM, "most": 3})
    assert (run.reward, run.sub_rewards) == (2.0, {"right": 1.0, "length": 1.0})


@sandboxed
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("return item['none']", "KeyError (line 2): 'none'"),
        ("return 'many'", "ValueError: could not convert string to float: 'many'"),
        ("return float('inf')", "it returned no finite number"),
        ("return open('/etc/passwd').read()", "FileNotFoundError (line 2)"),
        ("import os; os._exit(0)", "or ended itself"),
        ("import socket; socket.create_connection(('127.0.0.1', 80), 1)", "Error (line 2)"),
        ("return 'x' * 2**40", "MemoryError (line 2)"),
    ],
)
def test_what_is_wrong_with_code_is_said_to_whose_it_is(
    house: House, source: str, words: str
) -> None:
    grader = {**PYTHON, "source": f"def grade(sample, item):\n    {source}"}
    run = run_strictly(house, grader, "abc", item={})
    assert run.reward == 0.0
    assert run.metadata.errors.python_grader_runtime_error
    assert words in (run.metadata.errors.python_grader_runtime_error_details or "")


def test_code_is_not_run_where_there_is_no_sandbox_or_it_is_turned_off(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BuildersGrading, "run", lambda *_: pytest.fail("it was run"))
    house = move_in(launcher, registry, base, tmp_path, python_graders=False)
    graders = house.client().fine_tuning.alpha.graders
    file = put(house.client(), data=rows()).id
    for ask in (
        lambda: graders.validate(grader=PYTHON),  # type: ignore[arg-type]
        lambda: graders.run(grader=PYTHON, model_sample="", item={}),  # type: ignore[arg-type]
        lambda: house.client().fine_tuning.jobs.create(
            model=house.standin.base, training_file=file, method=method(PYTHON)
        ),
    ):
        with pytest.raises(openai.BadRequestError, match="turned"):
            ask()


def test_no_sandbox_is_a_refusal_and_nothing_is_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BuildersGrading, "refusal", lambda self: "`/opt/bwrap` says no")
    monkeypatch.setattr(BuildersGrading, "run", lambda *_: pytest.fail("it was run"))
    graders = house.client().fine_tuning.alpha.graders
    both = {"type": "multi", "name": "m", "graders": {"p": PYTHON}, "calculate_output": "p"}
    for grader in (PYTHON, both):
        with pytest.raises(
            openai.BadRequestError, match="there is no sandbox on its machine"
        ) as caught:
            graders.run(grader=grader, model_sample="", item={})  # type: ignore[arg-type]
        assert caught.value.param == "grader"


def test_a_training_learns_by_code_and_not_by_a_model(house: House) -> None:
    client, model = house.client(), house.standin.base
    file = put(client, data=rows()).id
    job = client.fine_tuning.jobs.create(
        model=model, training_file=file, method=method(PYTHON), suffix="code"
    )
    manifest = manifest_of(house, job.id)
    (grader,) = manifest["objective"]["graders"]
    assert (grader["type"], grader["source"]) == ("python", PYTHON["source"])
    assert "graders" not in manifest.get("evaluate", {})
    for asking in (score(house), label(house)):
        with pytest.raises(openai.BadRequestError, match="a training here has none to ask"):
            client.fine_tuning.jobs.create(model=model, training_file=file, method=method(asking))


def test_a_model_of_the_gateway_gives_a_number_that_its_tenant_pays_for(house: House) -> None:
    house.standin.tokens = ["It ", "is ", "good.\n", "Score: 7.5"]
    run = run_strictly(house, score(house), "R50", item=ITEM)
    assert (run.reward, run.metadata.type) == (7.5, "score_model")
    assert not any(run.metadata.errors.to_dict().values())
    body = house.standin.bodies[-1]
    assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"] == (
        "R50: R50\n\nEnd with a line that is exactly `Score: N`, N a number from 0 to 10."
    )
    assert (body["temperature"], body["seed"], body["max_tokens"]) == (0.5, 3, 64)
    base = house.standin.base
    told = run.api_model_grader_token_usage_per_model[base]
    assert told["completion_tokens"] == 4
    assert run.metadata.token_usage == told["total_tokens"] == told["prompt_tokens"] + 4
    assert run.metadata.sampled_model_name == base
    (row,) = metered(house, 1)
    assert row.group == {"tenant": "acme"}
    assert (row.prompt_tokens, row.completion_tokens) == (told["prompt_tokens"], 4)


@pytest.mark.parametrize(
    ("said", "reward", "lost"),
    [
        (["kind"], 1.0, False),
        (["I think so.\n", "Label: `Neutral`"], 1.0, False),
        (["Label: rude"], 0.0, False),
        (["Label: kind\n", "no:\n", "Label: rude"], 0.0, False),
        (["who knows"], 0.0, True),
    ],
)
def test_a_label_is_worth_one_where_it_passes(
    house: House, said: list[str], reward: float, lost: bool
) -> None:
    house.standin.tokens = said
    run = run_strictly(house, label(house), "you", item={})
    assert (run.reward, run.metadata.type) == (reward, "label_model")
    assert run.metadata.errors.api_model_grader_parse_error is lost
    assert house.standin.bodies[-1]["messages"][0]["content"] == (
        "Is `you` kind?\n\nEnd with a line that is exactly `Label: L`, L one of `kind`, "
        "`neutral`, `rude`."
    )


def test_models_and_others_in_one_formula_and_each_is_metered_once(house: House) -> None:
    house.standin.tokens = ["Score: 1"]
    both = {
        "type": "multi",
        "name": "all",
        "graders": {"good": score(house), "kind": label(house), "right": CHECK},
        "calculate_output": "good + 10 * right + kind",
    }
    run = run_strictly(house, both, "R50", item=ITEM)
    assert run.sub_rewards == {"good": 1.0, "kind": 0.0, "right": 1.0}
    assert run.reward == 11.0
    assert run.metadata.errors.api_model_grader_parse_error  # a number is no label
    assert run.api_model_grader_token_usage_per_model[house.standin.base]["completion_tokens"] == 2
    (row,) = metered(house, 2)
    assert row.requests == 2


def test_what_a_model_cannot_say_is_flagged(house: House) -> None:
    house.standin.tokens = ["Score: 11"]  # beyond the range
    run = run_strictly(house, score(house), "R50", item=ITEM)
    assert run.reward == 0.0
    assert run.metadata.errors.api_model_grader_parse_error
    house.standin.tokens = None
    house.standin.makes = 64
    cut = score(house, sampling_params={"max_completions_tokens": 2})
    run = run_strictly(house, cut, "R50", item=ITEM)
    assert run.metadata.errors.api_model_grader_parse_error
    assert run.metadata.errors.truncated_observation_error


@pytest.mark.parametrize(
    ("body", "reward", "error"),
    [
        (b'{"choices": []}', 0.0, "model_grader_server_error"),
        (b'{"choices": [5]}', 0.0, "model_grader_server_error"),
        (b'{"choices": [{"message": {"content": 9}}]}', 0.0, "model_grader_parse_error"),
        (
            b'{"choices": [{"message": {"content": "Score: 9"}}], "usage": {"prompt_tokens": "5"}}',
            9.0,
            None,
        ),
    ],
)
def test_an_answer_that_is_none_is_the_engines_failure(
    house: House, monkeypatch: pytest.MonkeyPatch, body: bytes, reward: float, error: str | None
) -> None:
    async def collected(*_: Any) -> tuple[int, bytes]:
        return 200, body

    monkeypatch.setattr(running_graders, "collected", collected)
    run = run_strictly(house, score(house), "R50", item=ITEM)
    assert run.reward == reward
    wrong = [name for name, value in run.metadata.errors.to_dict().items() if value is True]
    assert wrong == ([] if error is None else [error])


def test_a_column_that_is_not_there_costs_nothing(house: House) -> None:
    asked = len(house.standin.bodies)
    run = run_strictly(house, score(house), "R50", item={})
    assert run.metadata.errors.invalid_variable_error
    assert run.metadata.token_usage is None
    assert len(house.standin.bodies) == asked


def test_only_models_of_the_tenants_own_are_asked(house: House) -> None:
    admin = TenantAdmin(house.registry.database, who="tester")
    _, key = admin.add("narrow", allow=("ft.*",), limits=Limits())
    deadline = time.monotonic() + 30
    client = house.running.client(key.text)
    while True:
        try:
            client.models.list()
            break
        except openai.AuthenticationError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    asked = len(house.standin.bodies)
    for who, grader in (
        (client, score(house)),
        (house.client(), score(house, model="gpt-5")),
        (house.client(), label(house, model="no name at all")),
    ):
        graders = who.fine_tuning.alpha.graders
        with pytest.raises(openai.BadRequestError, match="model") as caught:
            graders.validate(grader=grader)  # type: ignore[arg-type]
        assert caught.value.param == "grader"
        with pytest.raises(openai.BadRequestError, match="model"):
            graders.run(grader=grader, model_sample="", item=ITEM)  # type: ignore[arg-type]
    assert len(house.standin.bodies) == asked


def test_a_tenants_limits_hold_for_its_graders(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    house = move_in(launcher, registry, base, tmp_path)
    admin = TenantAdmin(registry.database, who="tester")
    _, key = admin.add("poor", allow=("*",), limits=Limits(rpm=1))
    house.keys["poor"] = key.text
    house.standin.tokens = ["Score: 1"]
    graders = house.client("poor").with_options(max_retries=0).fine_tuning.alpha.graders
    deadline = time.monotonic() + 30
    while True:
        try:
            graders.run(grader=score(house), model_sample="", item=ITEM)  # type: ignore[arg-type]
            break
        except openai.AuthenticationError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with pytest.raises(openai.RateLimitError):
        graders.run(grader=score(house), model_sample="", item=ITEM)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"passing_labels": ["good"]}, "which is none of `labels`"),
        ({"labels": []}, "grader.labels"),
        ({"input": [{"role": "user", "content": {"type": "input_image", "image_url": "x"}}]},
         "content"),
        ({"input": "x"}, "grader.input"),
    ],
)  # fmt: skip
def test_faults_of_a_label_model_are_said(house: House, changes: Any, words: str) -> None:
    graders = house.client().fine_tuning.alpha.graders
    with pytest.raises(openai.BadRequestError) as caught:
        graders.validate(grader=label(house, **changes))
    assert words in str(caught.value)


def test_the_last_label_counts() -> None:
    labels = Labels(labels=("A", "b c"), passing_labels=("A",))
    found = {
        "Label: A": "A",
        "**Label:** B C.": "b c",
        "label = `a`\nLabel: `b c`": "b c",
        " 'A' ": "A",
        "A or b c": None,
        "Label: none": None,
        "": None,
    }
    assert {text: read_label(text, labels) for text in found} == found


def test_the_answer_is_the_clients_type(house: House) -> None:
    house.standin.tokens = ["Score: 2"]
    graders = house.client().fine_tuning.alpha.graders
    run = graders.run(grader=score(house), model_sample="x", item=ITEM)  # type: ignore[arg-type]
    assert isinstance(run, GraderRunResponse)
    assert run.reward == 2.0


def test_no_model_is_asked_for_a_run_that_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    graders = house.client().with_options(max_retries=0).fine_tuning.alpha.graders
    asked = len(house.standin.bodies)
    long = {**ALIKE, "input": "{{sample.output_text}}" * 10}
    both: Any = {
        "type": "multi",
        "name": "m",
        "graders": {"good": score(house), "alike": long},
        "calculate_output": "good + alike",
    }
    with pytest.raises(openai.BadRequestError, match="characters"):
        graders.run(grader=both, model_sample="a b " * 20_000, item=ITEM)
    later = [{"role": "user", "content": "{{sample.output_text}}" * 10}]
    both["graders"] = {"good": score(house), "kind": label(house, input=later)}
    both["calculate_output"] = "good + kind"
    with pytest.raises(openai.BadRequestError, match="characters"):
        graders.run(grader=both, model_sample="a b " * 20_000, item=ITEM)

    def full(self: GradingLine, tenant: str) -> None:
        raise Unavailable("too many graders wait to be run", retry_after=1.0)

    monkeypatch.setattr(GradingLine, "require_room", full)
    with pytest.raises(openai.InternalServerError, match="too many"):
        graders.run(grader=cast(Any, score(house)), model_sample="", item=ITEM)
    assert len(house.standin.bodies) == asked


def test_who_leaves_has_no_model_work_on(house: House) -> None:
    house.standin.tokens, house.standin.holds_after = ["Score: 1"], 0
    body = {"grader": score(house), "model_sample": "x", "item": ITEM}
    asked, client = len(house.standin.bodies), house.running.http(house.keys["acme"])
    with client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/fine_tuning/alpha/graders/run", json=body, timeout=3)
    assert len(house.standin.bodies) == asked + 1
    (row,) = metered(house, 1)  # the gateway has let go of an engine that has yet to answer
    assert row.requests == 1
    house.standin.holds_after = None


def test_all_code_of_a_grader_together_has_a_bound_and_is_a_request(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[float] = []

    def sleeping(self: Any, grader: Any, answer: str, item: Any, waits: float) -> Ran:
        ran.append(waits)
        time.sleep(min(waits, 0.4))
        return Ran(1.0) if waits > 0.4 else Ran(None, "it was ended")

    monkeypatch.setattr(running_graders, "_CODE_S", 1.0)
    monkeypatch.setattr(BuildersGrading, "refusal", lambda self: None)
    monkeypatch.setattr(BuildersGrading, "run", sleeping)
    _, key = TenantAdmin(registry.database, who="tester").add(
        "poor", allow=("*",), limits=Limits(rpm=1)
    )
    house = move_in(launcher, registry, base, tmp_path)
    house.keys["poor"] = key.text
    many = {
        "type": "multi",
        "name": "m",
        "graders": {f"p{number}": PYTHON for number in range(8)},
        "calculate_output": " + ".join(f"p{number}" for number in range(8)),
    }
    run = run_strictly(house, many, "abc", item={"most": 4})
    assert run.reward == 2.0
    assert "together may take 1 s" in (
        run.metadata.errors.python_grader_runtime_error_details or ""
    )
    assert len(ran) == 3
    assert ran == sorted(ran, reverse=True)
    poor = house.client("poor").with_options(max_retries=0).fine_tuning.alpha.graders
    poor.run(grader=cast(Any, PYTHON), model_sample="", item={})
    with pytest.raises(openai.RateLimitError):
        poor.run(grader=cast(Any, PYTHON), model_sample="", item={})


def test_jobs_that_learn_by_code_end_when_it_is_turned_off(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BuildersGrading, "refusal", lambda self: None)
    client, database = house.client(), house.registry.database
    file = put(client, data=rows()).id

    def create(grader: Any) -> str:
        made = client.fine_tuning.jobs.create(
            model=house.standin.base, training_file=file, method=method(grader)
        )
        return made.id

    def state(job: str) -> tuple[str, str, str]:
        with database.read() as connection:
            found = lookup.get(connection, job)
        return found.state, found.code, found.wanted

    both = {"type": "multi", "name": "m", "graders": {"p": PYTHON}, "calculate_output": "p"}
    running, queued, paused, other = (create(one) for one in (PYTHON, both, PYTHON, CHECK))
    with database.write() as connection:
        queue.pause(connection, paused, now=time.time())
        taken = queue.claim(connection, [BUILD_LANE], holder="w", now=time.time())
    assert taken is not None
    assert taken[0].id == running
    room = open_room(house.running.gateway)
    end_code(room, time.time())
    assert state(queued) == ("queued", "", "")
    end_code(replace(room, table=room.table.model_copy(update={"python_graders": False})), 1e10)
    assert state(running) == ("running", "", "cancel")
    assert state(queued) == state(paused) == ("failed", "python_graders_off", "")
    assert state(other) == ("queued", "", "")


def test_what_is_long_is_read_at_once() -> None:
    """Neither a template nor an answer can keep the loop for longer than it is long."""
    began = time.monotonic()
    labels = Labels(labels=("A",), passing_labels=("A",))
    assert read_label("Label: A\n" + "\n" * 100_000, labels) == "A"
    assert read_label("Label" + " *" * 50_000, labels) is None
    assert read_grader({**CHECK, "input": "{{" * 10_000}).labels == {}
    with pytest.raises(InvalidField, match="more than 128,000 characters"):
        read_grader({**PYTHON, "source": PYTHON["source"] + "#" * 128_000})
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("kind", [["multi"], {}, None, 1])
def test_a_type_that_is_no_text_is_a_fault(kind: Any) -> None:
    with pytest.raises(InvalidField):
        read_grader({"type": kind, "name": "x"})
    part = {"type": "multi", "name": "x", "graders": {"a": {"type": kind}}, "calculate_output": "a"}
    with pytest.raises(InvalidField):
        read_grader(part)
