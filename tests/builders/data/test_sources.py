"""Files and Hub data sets: what is read, what is refused and where the message points."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.sources import Record, read_file
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import InvalidInput, NotFound, Unavailable

COLUMNS = {"prompt": "发热三天", "completion": "R50 Fever\u2028of unknown origin"}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_three_file_types_give_the_same_records(tmp_path: Path) -> None:
    jsonl = '\ufeff{"prompt": "发热三天", "completion": "R50 Fever\u2028of unknown origin"}\n\n'
    write(tmp_path / "a.jsonl", jsonl.encode())
    parquet.write_table(pyarrow.Table.from_pylist([COLUMNS]), tmp_path / "a.parquet")
    csv = 'prompt,completion\n发热三天,"R50 Fever\u2028of unknown origin"\n'
    write(tmp_path / "a.csv", csv.encode())
    for name in ("a.jsonl", "a.parquet", "a.csv"):
        read = read_file(tmp_path / name)
        assert [record.columns for record in read.records] == [COLUMNS], name
        assert read.files == {name: digest_bytes((tmp_path / name).read_bytes())}


def test_csv_cells_may_hold_line_breaks_and_records_are_numbered_by_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b'prompt,completion\n"a\nb",1\n\nc,2\n')
    records = read_file(path).records
    assert records == (
        Record(2, {"prompt": "a\nb", "completion": "1"}),
        Record(5, {"prompt": "c", "completion": "2"}),
    )


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": \n', r"a.jsonl` line 3, column \d+: not JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "a.jsonl` line 2: a JSON list, not an object"),
        ("a.jsonl", '{"a": 1}\n{"a": "发热"}\n'.encode("gb18030"), "a.jsonl` line 2: not UTF-8"),
        ("a.csv", b"a,b\n1,2\n3\n", "a.csv` line 3: 1 cells, the header has 2"),
        ("a.csv", b'a,b\n1,"2\n', "a.csv` line 2: unexpected end of data"),
        ("a.parquet", b"not parquet", "a.parquet` is not a Parquet file"),
    ],
)
def test_bad_bytes_name_file_and_line(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_file(write(tmp_path / name, data))


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        load_source(str(tmp_path / "none.jsonl"), "text")
    with pytest.raises(InvalidInput, match="has no rows"):
        load_source(str(write(tmp_path / "empty.jsonl", b"\n")), "text")


def test_hub_source_needs_a_revision_and_offline_is_said() -> None:
    with pytest.raises(InvalidInput, match="names no revision"):
        load_source("hub:org/name#train", "messages")
    with pytest.raises(Unavailable, match="`org/name` cannot be fetched"):
        load_source("hub:org/name@abc#train", "messages")


def test_datasheet_of_a_file_has_byte_and_row_digests(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"text": "one"}\n{"text": "two"}\n')
    before = load_source(str(path), "text").datasheet
    path.write_bytes(b'{"text": "one"}\n{"text":  "two"}\n')  # other bytes, same rows
    after = load_source(str(path), "text").datasheet
    assert before.rows == 2
    assert before.files != after.files
    assert before.digest == after.digest


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"b": {"x": 1, "x": 2}}', "line 2.*the key `x` more than once"),
        ("a.jsonl", b'{"a": 1}\n{"a": ' + b"[" * 100_000, "line 2: cannot be read"),
        ("a.jsonl", b'{"a": 1' + b"0" * 5000 + b"}", "line 1: cannot be read"),
        ("a.csv", b"prompt,completion,prompt\n1,2,3\n", "line 1: the header has `prompt` more"),
    ],
)
def test_what_would_be_dropped_or_cannot_be_read_names_file_and_line(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_file(write(tmp_path / name, data))
