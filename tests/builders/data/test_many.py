"""Rows that are too many to hold: the same rows, gates, tokens and digests as of rows in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from adapterworks.builders.data import many
from adapterworks.builders.data.assemble import assemble
from adapterworks.builders.data.gates import run as gates
from adapterworks.builders.data.identity import encoded_digest
from adapterworks.builders.data.load import take
from adapterworks.builders.data.many import ManyRows, at, gathered, joined, mapped
from adapterworks.builders.data.render import encoded_once
from adapterworks.builders.data.rows import Row, chat, rows_digest
from adapterworks.builders.data.sources import streamed as sources
from adapterworks.builders.data.sources.files import read_file
from adapterworks.builders.data.spool import Spool
from adapterworks.builders.objectives import OBJECTIVES, stored
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from tests.builders.build_support import manifest_for

ROWS = [chat(f"question {n} of many", f"answer {n * 7}", row=n + 1) for n in range(9)]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows are many, and every file is large."""
    monkeypatch.setattr(many, "HELD", 3)
    monkeypatch.setattr(stored, "AT_ONCE", 2)
    monkeypatch.setattr(gates, "_AT_ONCE", 2)
    monkeypatch.setattr(sources, "LARGE", 1)


@pytest.mark.usefixtures("few")
def test_rows_in_a_file_are_the_rows() -> None:
    odd = Row(text="a day", meta={"row": 10, "day": date(2026, 1, 2)})  # no plain value
    rows = gathered([*ROWS, odd])
    assert isinstance(rows, ManyRows)
    assert [*rows] == [*ROWS, odd]
    assert (rows[-1], rows[2], [*rows[1:3]]) == (odd, ROWS[2], ROWS[1:3])
    assert rows_digest(rows) == rows_digest([*ROWS, odd])
    assert rows[4].__dict__["digest"] == ROWS[4].digest, "which is not worked out again"
    chosen = at(rows, (5, 0))
    assert [*chosen] == [ROWS[5], ROWS[0]]
    assert [*joined(chosen, ROWS[:1])] == [ROWS[5], ROWS[0], ROWS[0]]
    assert [row.number for row in mapped(lambda row: row.with_meta(row=1), rows)] == [1] * 10
    assert [*take(rows, 4)] == [*take((*ROWS, odd), 4)]
    with pytest.raises(IndexError):
        rows.__getitem__(10)
    assert gathered(ROWS[:3]) == tuple(ROWS[:3])


def test_what_is_put_is_got_whatever_was_read_before() -> None:
    spool = Spool()
    values = [{"n": n, "text": "x" * (n * 1000)} for n in range(300)]  # over many blocks
    for value in values[:200]:
        spool.put(value)
    assert spool.get(150) == values[150]
    for value in values[200:]:
        spool.put(value)
    assert [spool.get(n) for n in (299, 0, 199, 200, 298)] == [
        values[n] for n in (299, 0, 199, 200, 298)
    ]
    with pytest.raises(ValueError, match="unmarshallable"):
        spool.put(object())
    assert (len(spool), spool.get(3)) == (300, values[3])


def manifest(folder: Path) -> Manifest:
    """Rows of which one is there twice, one is almost another, and one contradicts another."""
    words = " ".join(f"word{n}" for n in range(40))
    lines = [{"messages": [*row.messages]} for row in (*ROWS, ROWS[2], chat(words, "a"))]
    lines += [
        {"messages": [*chat(words + " more", "a").messages]},
        {"messages": [*chat("Question 3 of many!", "other").messages]},
        {"messages": [*chat("write to jane.doe@gmail.com", "fine").messages]},
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = manifest_for("lora")
    source = str(folder / "rows.jsonl")
    data = {"train": source, "format": "messages", "validation_share": 0.2, "system": "Be brief"}
    data["mix"] = [{"source": source, "weight": 1.5}]
    return Manifest.model_validate_json(json.dumps({**found.model_dump(mode="json"), "data": data}))


def looked_at(declared: Manifest, tiny: Path) -> tuple[object, ...]:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    with encoded_once():
        found = assemble(declared, tokenizer=tokenizer)
        examples = stored.encoded(
            OBJECTIVES["sft"], tokenizer, found.splits.train, 64, "completion"
        )
    return (
        [*found.splits.train],
        [*found.splits.validation],
        found.splits.digest,
        found.splits.datasheets,
        found.gates.to_json(),
        [*examples],
        encoded_digest(s for e in examples for s in e.sequences),
        type(found.splits.train) is ManyRows,
        type(examples) is stored.StoredExamples,
    )


def test_gates_and_tokens_are_those_of_rows_in_memory(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    declared = manifest(tmp_path)
    held = looked_at(declared, tiny)
    request.getfixturevalue("few")
    filed = looked_at(declared, tiny)
    assert filed[:-2] == held[:-2]
    assert (held[-2:], filed[-2:]) == ((False, False), (True, True))


@pytest.mark.usefixtures("few")
def test_weights_that_only_some_rows_have_are_there_for_all(tiny: Path) -> None:
    """The second of four parts has a weight that is neither 0 nor 1: all get the column."""
    weighted = Row(
        ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0.5}),
    )
    rows = [*ROWS[:3], weighted, *ROWS[3:6]]
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    examples = stored.encoded(OBJECTIVES["sft"], tokenizer, rows, 64, "completion")
    assert {tuple(e.sequences[0].columns) for e in examples} == {("weights",)}


@pytest.mark.parametrize("name", ["dpo", "orpo", "simpo", "reward", "prm"])
def test_rows_of_preferences_are_kept_in_a_file_as_those_of_answers(
    name: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part by part, with the same tokens; a long answer still cuts its own pair's prompt alone."""
    odd = "a much longer answer that leaves the question no room"
    rows = [
        replace(
            row,
            steps=(("one ", 1.0), ("two ", 0.0)) if name == "prm" else (),
            others=()
            if name == "prm"
            else (({"role": "assistant", "content": odd if number == 4 else f"no {number}"},),),
        )
        for number, row in enumerate(ROWS[:7])
    ]
    objective = objective_of(manifest_for("lora", objective={"kind": name}))
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    held = stored.encoded(objective, tokenizer, rows, 96, "completion")
    monkeypatch.setattr(stored, "AT_ONCE", 2)
    filed = stored.encoded(objective, tokenizer, rows, 96, "completion")
    assert (type(held), type(filed)) == (list, stored.StoredExamples)
    assert [*filed] == held
    assert [example.row for example in filed] == [*range(7)]


@pytest.mark.usefixtures("few")
def test_a_large_file_is_read_as_a_small_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes('\ufeff{"text": "a\u2028b"}\n\n{"text": "c"}'.encode())
    read = read_file(path)
    assert isinstance(read.records, sources.Streamed)
    again = [[(r.number, r.columns) for r in read.records] for _ in range(2)]
    assert again == [[(1, {"text": "a\u2028b"}), (3, {"text": "c"})]] * 2
    for wrong, said in (
        (b'{"text": "a"}\n{"b": "\xff"}', r"line 2: not UTF-8 \(byte 21\)"),
        (b'{"text": "a"}\n{"b": 1, "b": 2}', "line 2: cannot be read"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(InvalidInput, match=said):
            list(read_file(path).records)
    read = read_file(path)
    path.write_bytes(b'{"text": "a"}\n')
    with pytest.raises(InvalidInput, match="changed while it was read"):
        list(read.records)
