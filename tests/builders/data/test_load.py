"""From a manifest to splits: limits, held-out rows, the system message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapterworks.builders.data.load import load_rows, split_off, take
from adapterworks.builders.data.rows import chat
from adapterworks.builders.methods.lora import LoraTable
from adapterworks.manifests.data_tables import DataTable
from adapterworks.manifests.models import AdapterTable, BaseTable, Manifest


def manifest(**data: object) -> Manifest:
    return Manifest(
        adapter=AdapterTable(name="x"),
        base=BaseTable(model="smollm2-135m-instruct"),
        method=LoraTable(kind="lora"),
        data=DataTable.model_validate(data),
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": f"q{i}", "completion": f"a{i}"}) for i in range(400)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_limits_nest_and_keep_the_order() -> None:
    rows = [chat(f"q{i}", "a") for i in range(100)]
    ten, thirty = take(rows, 10), take(rows, 30)
    assert {r.digest for r in ten} < {r.digest for r in thirty}
    assert [r for r in rows if r in ten] == [*ten]
    assert take(rows[::-1], 10) == ten[::-1]


def test_validation_is_split_off_by_content(file: str) -> None:
    data = {"train": file, "format": "prompt-completion", "validation_share": 0.2}
    splits = load_rows(manifest(**data, limit=50, limit_validation=20))
    assert (len(splits.train), len(splits.validation), splits.test) == (50, 20, ())
    assert not {r.digest for r in splits.train} & {r.digest for r in splits.validation}
    same = [chat("q", "a")] * 50  # equal rows stay on one side
    assert {len(part) for part in split_off(same, 0.5)} == {0, 50}


def test_no_share_means_no_validation(file: str) -> None:
    splits = load_rows(manifest(train=file, format="prompt-completion", validation_share=0.0))
    assert (len(splits.train), splits.validation) == (400, ())


def test_system_message_goes_before_rows_without_one(file: str) -> None:
    splits = load_rows(manifest(train=file, format="prompt-completion", system="Be brief"))
    assert {row.messages[0]["content"] for row in splits.train} == {"Be brief"}
    assert [m["role"] for m in splits.train[0].messages] == ["system", "user", "assistant"]


def test_the_medical_recipe_loads_through_a_manifest() -> None:
    splits = load_rows(
        manifest(train="icd-10-cm:train", validation="icd-10-cm:validation", limit=600)
    )
    assert (len(splits.train), len(splits.validation)) == (600, 441)
    assert [sheet.source for sheet in splits.datasheets] == [
        "icd-10-cm:validation",
        "icd-10-cm:train",
    ]
    assert len({row.meta["category"] for row in splits.train}) > 200  # a limit is no prefix
