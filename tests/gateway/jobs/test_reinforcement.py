"""Jobs of method `reinforcement` by OpenAI's own client: what they stand for, what is refused."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import openai
import pytest

from adapterworks.registry.jobs import lookup
from adapterworks.workers.fine_tuning import manifest_text
from tests.gateway.files.test_files import put
from tests.gateway.jobs.test_graders import ALIKE, CHECK, MULTI
from tests.gateway.jobs_support import House, house, strict

__all__ = ["house"]


def rows(count: int = 3, *, without: dict[int, str] | None = None, **columns: Any) -> bytes:
    """Questions with columns; `without` names a column that a line (from 1) lacks."""
    lines = []
    for number in range(1, count + 1):
        values = {"label": "A", "text": "a b", **columns}
        values.pop((without or {}).get(number, ""), None)
        messages = [{"role": "user", "content": f"question {number}"}]
        lines.append(json.dumps({"messages": messages, **values}))
    return "\n".join(lines).encode()


def method(grader: Any, **hyperparameters: Any) -> Any:
    table = {"grader": grader, "hyperparameters": hyperparameters}
    return {"type": "reinforcement", "reinforcement": table}


def manifest_of(house: House, job: str) -> dict[str, Any]:
    with house.registry.database.read() as connection:
        return tomllib.loads(manifest_text(lookup.get(connection, job)))


def test_a_job_is_what_the_client_asked_for_and_a_manifest(house: House) -> None:
    client, model = house.client(), house.standin.base
    file, held_out = (put(client, data=rows(count)).id for count in (3, 2))
    job = client.fine_tuning.jobs.create(
        model=model,
        training_file=file,
        validation_file=held_out,
        suffix="right",
        method=method(CHECK, n_epochs=2, batch_size="auto", compute_multiplier=0.5),
    )
    strict(job)
    assert job.method is not None
    assert job.method.reinforcement is not None
    assert job.method.reinforcement.grader.to_dict() == CHECK
    assert job.method.reinforcement.hyperparameters is not None
    assert job.method.reinforcement.hyperparameters.to_dict() == {
        "batch_size": "auto",
        "compute_multiplier": 0.5,
        "eval_interval": "auto",
        "eval_samples": "auto",
        "learning_rate_multiplier": "auto",
        "n_epochs": 2,
        "reasoning_effort": "default",
    }
    assert client.fine_tuning.jobs.retrieve(job.id) == job
    manifest = manifest_of(house, job.id)
    assert manifest["objective"] == {
        "kind": "grpo",
        "graders": [{**CHECK, "name": "Example_string_check_grader"}],
        "generations": 4,
    }
    assert manifest["data"]["format"] == "openai-reinforcement"
    assert manifest["data"]["columns"] == {"reference_answer": "label"}
    assert manifest["train"]["epochs"] == 2
    assert manifest["data"]["validation"] == manifest["data"]["test"]


def test_every_grader_that_is_run_here_is_one_to_learn_by(house: House) -> None:
    client, model = house.client(), house.standin.base
    file = put(client, data=rows()).id
    one = {**MULTI, "graders": CHECK, "calculate_output": "Example_string_check_grader"}
    for grader, answer in ((ALIKE, "text"), (MULTI, "label"), (one, "label")):
        asked = method(grader)
        job = client.fine_tuning.jobs.create(model=model, training_file=file, method=asked)
        with house.running.http(house.keys["acme"]) as http:
            told = http.get(f"/v1/fine_tuning/jobs/{job.id}").json()
        assert told["method"]["reinforcement"]["grader"] == grader
        if grader is not MULTI:  # its type has one grader, OpenAI's guide a table of them
            strict(job)
        assert manifest_of(house, job.id)["data"]["columns"] == {"reference_answer": answer}
    # A grader that reads no column: what a row's own answer is, its usual names say.
    constant = {**CHECK, "reference": "yes"}
    for columns, answer in (
        ({"reference_answer": 7}, "reference_answer"),
        ({"answer": "x"}, "answer"),
        ({}, "label"),
    ):
        file = put(client, data=rows(**columns)).id
        job = client.fine_tuning.jobs.create(
            model=model, training_file=file, method=method(constant)
        )
        assert manifest_of(house, job.id)["data"]["columns"] == {"reference_answer": answer}


@pytest.mark.parametrize(
    ("grader", "hyper", "data", "param", "words"),
    [
        ({**CHECK, "type": "python"}, {}, rows(), "method", "would run a caller's code"),
        ({**CHECK, "type": "score_model"}, {}, rows(), "method", "asks another model"),
        ({**CHECK, "operation": "is"}, {}, rows(), "method", "operation"),
        (CHECK, {"eval_interval": 5}, rows(), "method", "`eval_interval` cannot be chosen"),
        (CHECK, {"eval_samples": 5}, rows(), "method", "`eval_samples` cannot be chosen"),
        (CHECK, {"reasoning_effort": "low"}, rows(), "method", "`reasoning_effort` cannot be"),
        (CHECK, {"n_epochs": "many"}, rows(), "method", "n_epochs"),
        (CHECK, {"compute_multiplier": 0}, rows(), "method", "compute_multiplier"),
        (
            CHECK,
            {},
            rows(6, without={2: "label", 4: "label", 5: "label"}),
            "training_file",
            "lines 2, 4-5: there is no `label`, which the grader reads",
        ),
        (CHECK, {}, rows(label=None), "training_file", "lines 1-3: there is no `label`"),
        (
            {**CHECK, "reference": "yes"},
            {},
            rows(2, without={1: "label", 2: "text"}),
            "training_file",
            "no column beside `messages`",
        ),
    ],
)
def test_what_cannot_be_graded_is_refused_before_there_is_a_job(
    house: House, grader: Any, hyper: Any, data: bytes, param: str, words: str
) -> None:
    client = house.client()
    file = put(client, data=data).id
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.jobs.create(
            model=house.standin.base, training_file=file, method=method(grader, **hyper)
        )
    assert caught.value.param == param
    assert words in caught.value.message
    assert list(client.fine_tuning.jobs.list()) == []


def test_held_out_rows_are_graded_by_the_same_columns(house: House) -> None:
    client = house.client()
    file, other = put(client, data=rows()).id, put(client, data=rows(without={3: "label"})).id
    with pytest.raises(openai.BadRequestError, match="line 3: there is no `label`") as caught:
        client.fine_tuning.jobs.create(
            model=house.standin.base,
            training_file=file,
            validation_file=other,
            method=method(CHECK),
        )
    assert caught.value.param == "validation_file"
    # Rows that have answers teach by them, and these are none for other methods.
    answered = put(client).id
    with pytest.raises(openai.BadRequestError, match="does not learn from supervised rows"):
        client.fine_tuning.jobs.create(
            model=house.standin.base, training_file=answered, method=method(CHECK)
        )
    with pytest.raises(openai.BadRequestError, match="does not learn from reinforcement rows"):
        client.fine_tuning.jobs.create(model=house.standin.base, training_file=file)
    with pytest.raises(openai.BadRequestError, match="reinforcement` is missing"):
        client.fine_tuning.jobs.create(
            model=house.standin.base, training_file=file, method={"type": "reinforcement"}
        )
