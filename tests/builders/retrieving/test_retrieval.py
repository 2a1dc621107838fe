"""Passages for questions: BM25 by hand, evidence by hand, and what passages give."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from transformers import AutoTokenizer

from adapterworks.app import App
from adapterworks.builders.data.rows import Row
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.evaluation.statistics import share_interval
from adapterworks.builders.methods.lora import LoraTable
from adapterworks.builders.retrieving.bm25 import Index, words
from adapterworks.builders.retrieving.faithfulness import evidence, stands_in
from adapterworks.builders.retrieving.prompted import prompted
from adapterworks.builders.synthesis.passages import Passage
from adapterworks.cli.main import cli
from adapterworks.engines import compose
from adapterworks.manifests.data_tables import DataTable
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable
from adapterworks.manifests.models import AdapterTable, BaseTable, Manifest
from adapterworks.registry.bases.base import Base
from adapterworks.registry.releases.release import Draft, Servable
from tests.builders.engines.scripted import Scripted
from tests.small_base import base, bases

__all__ = ["base", "bases"]


def passages(*texts: str) -> list[Passage]:
    return [Passage("house.md", at, text) for at, text in enumerate(texts, start=1)]


def test_bm25_is_the_formula() -> None:
    index = Index(passages("red lamp", "blue lamp lamp porch", "green door"))
    found = {passage.number: score for passage, score in index.best("Lamp?", 3)}
    rarity = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    mean = 8 / 3
    assert found == pytest.approx(
        {
            number: rarity * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * length / mean))
            for number, f, length in ((1, 1, 2), (2, 2, 4))
        }
    )
    assert [passage.number for passage, _ in index.best("lamp", 1)] == [2]
    assert index.best("window", 3) == []
    assert words("灯光 on") == ["灯", "光", "on", "灯光"]


def test_a_question_is_asked_with_its_passages_and_nothing_of_its_answer() -> None:
    row = Row(
        (
            {"role": "system", "content": "You know the house."},
            {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": "Ann"},
        )
    )
    asked = prompted(row, passages("The porter is Bob.", "x" * 50), 18)
    assert asked.prompt[1]["content"].endswith(f"[1] The porter is Bob.\n\n[2] {'x' * 18}\n\nWho?")
    assert asked.prompt[0] == row.prompt[0]
    assert asked.answer == "Ann"
    assert prompted(row, [], 18) is row


def test_evidence_by_hand() -> None:
    given = passages("Lamps are lit. The porter turns the lamp off at ten.", "Ten lamps.")
    found = evidence("The lamp goes off at ten", given)  # five of six words, in their order
    assert found.score == pytest.approx(5 / 6)
    assert found.sentence == "The porter turns the lamp off at ten."
    assert found.place == "house.md, passage 1"
    assert evidence("", given).score == evidence("off", []).score == 0.0
    assert stands_in("off at ten", given)
    assert not stands_in("ten at off", given)


def test_with_passages_beside_without(
    home: Path, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base copies what a passage says; the adapter knows two of six by itself, too."""
    codes = [f"K{number}{number}7" for number in range(6)]
    names = ["alder", "birch", "cedar", "maple", "rowan", "willow"]
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, code in zip(names, codes, strict=True):
        text = f"Wards have codes that are known to the porter. The code of {name} is {code}. "
        text += "It is written on the door of the ward, inside."
        if name == "maple":  # in its last sentence: what is found has to be what is shown
            text = "It is a ward like any other of the whole house, as they say. " * 14 + text
        (folder / f"{name}.md").write_text(text)
    for split, asked in (("train", ["oak"]), ("test", names)):
        lines = (
            {"messages": [{"role": "user", "content": f"code of {name}?"},
                          {"role": "assistant", "content": codes[names.index(name)] if name in names
                           else "none"}], "group": at // 2}  # two wards a corridor
            for at, name in enumerate(asked)
        )  # fmt: skip
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    app = App()
    manifest = Manifest(
        adapter=AdapterTable(name="wards"),
        base=BaseTable(model="smollm2-135m-instruct"),
        method=LoraTable(kind="lora", rank=2),
        data=DataTable(train=str(tmp_path / "train.jsonl"), test=str(tmp_path / "test.jsonl")),
        evaluate=EvaluateTable(metrics=("exact_match",), max_new_tokens=8),
    )
    release = tmp_path / "release"
    (release / "servable").mkdir(parents=True)
    (release / "servable" / "adapter_model.safetensors").write_bytes(b"weights")
    draft = Draft(
        name="wards", method="lora", created="2026-01-01T00:00:00.000000Z", created_by="tester",
        base=base.identity, servable=Servable(form="lora", origin="approximate", rank=2),
        manifest=manifest.model_dump(mode="json"),
    )  # fmt: skip
    app.registry.publish(release, draft, who="tester")
    tokenizer = AutoTokenizer.from_pretrained(base.checkpoint)

    def answer(adapter: str | None, prompt: tuple[int, ...]) -> list[int]:
        text = tokenizer.decode(prompt)
        name = text.rpartition("code of ")[2].partition("?")[0]
        said = text.partition(f"code of {name} is ")[2][:4]
        if not said and adapter is not None and name in names[:2]:
            said = codes[names.index(name)]
        ids: list[int] = tokenizer.encode(said or "none")
        return ids

    engines = Engines(openers={"huggingface": Scripted(answer)})
    monkeypatch.setattr(compose, "compose_builders_engines", lambda *_, **__: engines)
    out = tmp_path / "answers.jsonl"
    arguments = ["eval", "wards@1", "--with-retrieval", str(folder), "--passages", "1"]
    done = CliRunner().invoke(cli, [*arguments, "--predictions", str(out), "--json"], obj=app)
    assert done.exit_code == 0, done.output or done.exception
    report = json.loads(done.stdout)
    match = report["metrics"]["exact_match"]
    assert match["values"] == pytest.approx(
        {"base": 0.0, "base with": 1.0, "without": 2 / 6, "candidate": 1.0}
    )
    assert match["gains"]["without"]["gain"] == pytest.approx(4 / 6)
    assert match["gains"]["base with"]["gain"] == 0.0
    told = report["retrieval"]
    bounds = share_interval(np.ones(6), 0.95, np.repeat(np.arange(3.0), 2))
    expected = {"mean": 1.0, "low": bounds.low, "high": 1.0}
    assert told["reference_found"] == told["faithfulness"]["candidate"] == pytest.approx(expected)
    line = json.loads(out.read_text().splitlines()[0])
    assert line["evidence"]["candidate"]["sentence"] == "The code of alder is K007."
    assert line["evidence"]["candidate"]["place"] == "docs/alder.md, passage 1"
    shown = CliRunner().invoke(cli, arguments, obj=app).stdout
    assert "reference answers in the passages: 100.0%" in shown
    wrong = CliRunner().invoke(cli, [*arguments, "--against", "wards@1"], obj=app)
    assert isinstance(wrong.exception, InvalidInput)
