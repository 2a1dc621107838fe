"""A record's columns whose names say something else of a row here: graders read the record's."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.builders.data.formats.format import RESERVED, to_rows
from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.data.sources import Record
from adapterworks.builders.objectives.graders import columns_of
from adapterworks.builders.rewards.external import _item


def read(**columns: Any) -> Row:
    record = Record(1, {"prompt": "q", "completion": "a", **columns})
    (row,) = to_rows([record], "prompt-completion", source="rows.jsonl")
    return row.with_meta(source="rows.jsonl")


def test_graders_read_the_records_own_columns() -> None:
    row = read(source="PubMed", row="R-7", columns=3, x=1)
    assert (row.number, row.meta["source"]) == (1, "rows.jsonl")
    columns = columns_of(row)
    assert (columns["source"], columns["row"], columns["columns"]) == ("PubMed", "R-7", "3")
    assert _item(row)["source"] == "PubMed"
    assert _item(row)["x"] == 1


@pytest.mark.parametrize("name", RESERVED)
def test_none_of_them_is_dropped(name: str) -> None:
    assert columns_of(read(**{name: "own"}))[name] == "own"


def test_a_row_without_such_columns_has_none_of_them_apart() -> None:
    assert "columns" not in read(x=1).meta
    assert columns_of(chat("q", "a", row=3))["row"] == "3"
