"""Jobs of method `reinforcement` by OpenAI's own client: what they stand for, what is refused."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from adapterworks.gateway.files.faults import MOST_RANGES
from adapterworks.gateway.jobs import creating
from adapterworks.gateway.jobs.objects import Reinforcement
from adapterworks.gateway.jobs.reinforcing import graded
from adapterworks.gateway.jobs.room import open_room
from adapterworks.gateway.request.errors import InvalidField, TooSlow
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.jobs import lookup
from adapterworks.registry.jobs.fine_tuning import REINFORCEMENT, Rows
from adapterworks.registry.registry import Registry
from adapterworks.workers.fine_tuning import manifest_text
from tests.gateway.files.test_files import put
from tests.gateway.jobs.test_graders import ALIKE, CHECK, MULTI
from tests.gateway.jobs_support import House, house, move_in, strict
from tests.gateway.running import Launcher

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


def wide(count: int) -> dict[str, Any]:
    """A grader that reads so many columns."""
    return {**CHECK, "reference": "".join(f"{{{{item.c{number}}}}}" for number in range(count))}


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
    ("reads", "columns", "answer"),
    [
        ("{{item.answer}}", {}, "label"),
        ("{{item.question}} {{item.answer}}", {"answer": "x"}, "answer"),
        ("{{item.question}}", {"question": "y", "reference_answer": "z"}, "reference_answer"),
        ("{{item.label}}", {"reference_answer": "z"}, "reference_answer"),
    ],
)
def test_a_rows_own_answer_and_question_are_no_columns_that_it_lacks(
    house: House, reads: str, columns: dict[str, str], answer: str
) -> None:
    client = house.client()
    file = put(client, data=rows(**columns)).id
    grader = {**CHECK, "reference": reads}
    job = client.fine_tuning.jobs.create(
        model=house.standin.base, training_file=file, method=method(grader)
    )
    assert manifest_of(house, job.id)["data"]["columns"] == {"reference_answer": answer}


@pytest.mark.parametrize(
    ("grader", "hyper", "data", "param", "words"),
    [
        ({**CHECK, "type": "python"}, {}, rows(), "method", "grader.source"),
        (
            {
                "type": "score_model",
                "name": "s",
                "model": "m",
                "input": [{"role": "user", "content": "{{sample.output_text}}"}],
            },
            {},
            rows(),
            "method",
            "a training here has none to ask",
        ),
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
            {**ALIKE, "evaluation_metric": "rouge_l"},
            {},
            rows(text="a " * 3000),
            "training_file",
            "lines 1-3: `rouge_l` would compare more than 4000000 pairs of words",
        ),
        (wide(101), {}, rows(), "method", "the grader reads 101 columns of a row, at most 100"),
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


class Endless(LocalBlobs):
    """Rows without end, of which every second lacks all columns."""

    def __init__(self) -> None:
        self.given = 0

    def get(self, digest: str) -> Iterator[bytes]:
        whole = b'{"messages": [], ' + b", ".join(b'"c%d": 1' % n for n in range(50)) + b"}\n"
        while True:
            self.given += 1
            yield b'{"messages": []}\n' + whole


def test_rows_are_looked_at_within_bounds(house: House) -> None:
    blobs, room = Endless(), open_room(house.running.gateway)
    table = Reinforcement.model_validate({"grader": wide(50)})
    training = Rows(file="file-x", blob="sha256:x", kind=REINFORCEMENT)
    with pytest.raises(InvalidField, match="what follows was not looked at"):
        graded(blobs, table, training, None, time.monotonic() + 600)
    assert blobs.given == MOST_RANGES / 50
    with pytest.raises(TooSlow):
        graded(blobs, table, training, None, time.monotonic() - 1)

    async def many() -> int:
        done = threading.Event()
        run, names = room.scans.run, [*("acme",) * 6, *("globex",) * 6, *("other",) * 4]
        waiting = [asyncio.create_task(run(name, done.wait)) for name in names[:6]]
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(30):
                with pytest.raises(Unavailable):  # one tenant's leave room for others'
                    await run("acme", done.wait)
                waiting += [asyncio.create_task(run(name, done.wait)) for name in names[6:]]
                await asyncio.sleep(0)
                with pytest.raises(Unavailable):
                    await run("a fourth", done.wait)
        finally:
            done.set()
        found = await asyncio.gather(*waiting)
        return sum([*found, await run("acme", done.wait)])

    assert asyncio.run(many()) == 17


def test_who_has_as_many_jobs_as_it_may_has_no_rows_looked_at(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = move_in(launcher, registry, base, tmp_path, max_queued=1)
    client = house.client()
    given: Any = {"training_file": put(client, data=rows()).id, "method": method(CHECK)}
    client.fine_tuning.jobs.create(model=base.name, **given)
    monkeypatch.setattr(creating, "graded", None)
    with pytest.raises(openai.ConflictError, match="as many as you may have"):
        client.fine_tuning.jobs.create(model=base.name, **given)
