"""Files and Hub data sets: what is read, what is refused and where the message points."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pytest
from pyarrow import parquet

from adapterworks.builders.data.formats import to_rows
from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.sources import Record, read_file
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import InvalidInput, NotFound, Unavailable

COLUMNS = {"prompt": "发热三天", "completion": "R50 Fever\u2028of unknown origin"}


def twice_the_same_column() -> pyarrow.Table:
    column = pyarrow.array(["x"])
    return pyarrow.Table.from_arrays([column, column], names=["text", "text"])


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def workbook(path: Path, lines: list[list[Any]], merge: str | None = None) -> Path:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    if merge:
        book.active.merge_cells(merge)
    book.create_sheet("notes").append(["not", "read"])
    book.save(path)
    return path


def test_a_workbook_gives_what_its_cells_show(tmp_path: Path) -> None:
    lines = [
        ["prompt", "completion", "n", "on"],
        ["发热三天", "R50", 3.0, datetime(2026, 11, 29)],
        [None, None, None, None],
        ["cough", "R05", 2.5],
    ]
    records = read_file(workbook(tmp_path / "a.xlsx", lines)).records
    assert records == (
        Record(2, {"prompt": "发热三天", "completion": "R50", "n": "3", "on": "2026-11-29"}),
        Record(4, {"prompt": "cough", "completion": "R05", "n": "2.5", "on": None}),
    )


def test_a_workbook_that_hides_values_is_refused(tmp_path: Path) -> None:
    lines = [["prompt", "completion"], ["a", "b"], ["c", "b"]]
    with pytest.raises(InvalidInput, match="the cells B2:B3 are merged"):
        read_file(workbook(tmp_path / "a.xlsx", lines, merge="B2:B3"))
    with pytest.raises(InvalidInput, match="line 2: column 1 has a cell and no name"):
        read_file(workbook(tmp_path / "b.xlsx", [[None, "b"], ["a", "b"]]))
    with pytest.raises(InvalidInput, match="line 2: column 3 has a cell and no name"):
        read_file(workbook(tmp_path / "c.xlsx", [["a", "b"], [1, 2, "beside"]]))
    with pytest.raises(InvalidInput, match="is not an Excel workbook"):
        read_file(write(tmp_path / "d.xlsx", b"not a workbook"))


def test_a_workbook_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workbook(tmp_path / "a.xlsx", [["a", "b"], *[[0, 0]] * 5000])
    packed = path.stat().st_size
    monkeypatch.setattr("adapterworks.builders.data.sources.workbook.MOST_BYTES", packed + 1)
    with pytest.raises(InvalidInput, match=f"bytes unpacked, the most is {packed + 1}"):
        read_file(path)


def test_five_file_types_give_the_same_records(tmp_path: Path) -> None:
    jsonl = '\ufeff{"prompt": "发热三天", "completion": "R50 Fever\u2028of unknown origin"}\n\n'
    write(tmp_path / "a.jsonl", jsonl.encode())
    parquet.write_table(pyarrow.Table.from_pylist([COLUMNS]), tmp_path / "a.parquet")
    csv = 'prompt,completion\n发热三天,"R50 Fever\u2028of unknown origin"\n'
    write(tmp_path / "a.csv", csv.encode())
    tsv = 'prompt\tcompletion\n发热三天\t"R50 Fever\u2028of unknown origin"\n'
    write(tmp_path / "a.tsv", tsv.encode())
    workbook(tmp_path / "a.xlsx", [[*COLUMNS], [*COLUMNS.values()]])
    for name in ("a.jsonl", "a.parquet", "a.csv", "a.tsv", "a.xlsx"):
        read = read_file(tmp_path / name)
        assert [record.columns for record in read.records] == [COLUMNS], name
        assert read.files == {name: digest_bytes((tmp_path / name).read_bytes())}


def test_compressed_json_and_arrow_files_give_the_same_records(tmp_path: Path) -> None:
    line = (json.dumps(COLUMNS, ensure_ascii=False) + "\n").encode()
    table = pyarrow.Table.from_pylist([COLUMNS])
    write(tmp_path / "a.jsonl.gz", gzip.compress(line))
    with pyarrow.CompressedOutputStream(str(tmp_path / "a.jsonl.zst"), "zstd") as stream:
        stream.write(line)
    write(tmp_path / "a.json", json.dumps([COLUMNS], indent=1).encode())
    write(tmp_path / "lines.json", line + line)
    with pyarrow.ipc.new_file(tmp_path / "file.arrow", table.schema) as out:
        out.write_table(table)
    with pyarrow.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as out:
        out.write_table(table)
    for name in ("a.jsonl.gz", "a.jsonl.zst", "a.json", "file.arrow", "stream.arrow"):
        (record,) = read_file(tmp_path / name).records
        assert record == Record(1, COLUMNS), name
    assert [r.number for r in read_file(tmp_path / "lines.json").records] == [1, 2]


def test_a_folder_and_a_pattern_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "rows" / "b").mkdir(parents=True)
    (tmp_path / "rows" / ".git").mkdir()
    for name in ("b/1.jsonl", "a.jsonl", "c.jsonl", ".git/x.jsonl", "README.md"):
        write(tmp_path / "rows" / name, json.dumps({"text": name}).encode())
    read = read_file(tmp_path / "rows")
    assert [(r.columns["text"], r.number, r.file) for r in read.records] == [
        ("a.jsonl", 1, "a.jsonl"),
        ("b/1.jsonl", 1, "b/1.jsonl"),
        ("c.jsonl", 1, "c.jsonl"),
    ]
    assert [*read.files] == ["a.jsonl", "b/1.jsonl", "c.jsonl"]
    some = read_file(tmp_path / "rows" / "[ab]*.jsonl")
    assert [r.columns["text"] for r in some.records] == ["a.jsonl"]
    loaded = load_source("rows/", "text", folder=tmp_path)
    assert (len(loaded.rows), loaded.datasheet.source) == (3, "rows/")
    with pytest.raises(NotFound, match="no data file in"):
        read_file(tmp_path / "rows" / "*.csv")
    for name in ("tiny.toml", "b/make.PY", "dvc.yaml"):  # a manifest beside its rows
        write(tmp_path / "rows" / name, b"")
    assert read_file(tmp_path / "rows").files == read.files
    (tmp_path / "none").mkdir()
    write(tmp_path / "none" / "tiny.toml", b"")
    with pytest.raises(NotFound, match="no data file in"):
        read_file(tmp_path / "none")
    write(tmp_path / "rows" / "notes.txt", b"")
    with pytest.raises(InvalidInput, match=r"notes\.txt` has an unknown suffix"):
        read_file(tmp_path / "rows")


def test_characters_that_other_readers_take_for_the_end_of_a_line(tmp_path: Path) -> None:
    texts = ["a\x0cb", "c\u2028d", "e\x85f", "g\x1ch"]
    write(tmp_path / "a.csv", ("text\r\n" + "\r\n".join(texts)).encode())
    read = read_file(tmp_path / "a.csv").records
    assert [(r.number, r.columns["text"]) for r in read] == [*enumerate(texts, 2)]


def test_a_cell_may_be_a_book_and_the_bound_of_others_stays(tmp_path: Path) -> None:
    bound = csv.field_size_limit()
    write(tmp_path / "a.csv", b"text,n\n" + b"x" * 300_000 + b",1\n")
    (record,) = read_file(tmp_path / "a.csv").records
    assert len(record.columns["text"]) == 300_000
    assert csv.field_size_limit() == bound


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_named_with_the_way_out(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "one"}\n'.encode(encoding))
    with pytest.raises(InvalidInput, match=r"line 1: UTF-(16|32)") as caught:
        read_file(path)
    assert f"iconv -f {encoding[:6].upper()}" in (caught.value.hint or "")


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
        ("a.arrow", b"not arrow", "a.arrow` is not an Arrow file"),
        ("a.json", b'[{"a": 1}, 2]', "a.json` element 2: a JSON int"),
        ("a.json", b'{"a":\n 1}', "a.json`: a JSON dict, not an array"),
        ("a.json", b'[{"a": }]', "a.json` line 1, column 8: not JSON"),
        ("a.json", b'[{"a": 1, "a": 2}]', "the key `a` more than once"),
        ("a.jsonl", b'{"a": NaN}', "line 1: cannot be read .*`NaN` is no number of JSON"),
        ("a.jsonl.gz", b"not gzip", "a.jsonl.gz` cannot be unpacked"),
        ("a.jsonl.zst", b"not zstd", "a.jsonl.zst` cannot be unpacked"),
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
        (
            "a.jsonl",
            b'{}\n{"b": {"w": 1, "x": 1, "x": 2}}',
            "line 2.*the key `x` more than once",
        ),
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


def test_a_column_twice_in_a_table_is_a_fault(tmp_path: Path) -> None:
    parquet.write_table(twice_the_same_column(), tmp_path / "a.parquet")
    with pytest.raises(InvalidInput, match="the column `text` more than once"):
        read_file(tmp_path / "a.parquet")


def test_what_parts_the_cells_is_told_by_the_header(tmp_path: Path) -> None:
    for name, text, expected in (
        ("a.csv", 'a;b\n"x;1";y,2\n', {"a": "x;1", "b": "y,2"}),
        ("b.csv", "a\tb\nx,1\ty;2\n", {"a": "x,1", "b": "y;2"}),
        ("c.csv", 'a,"b;c"\n1,2;3\n', {"a": "1", "b;c": "2;3"}),
        ("d.csv", '"a,b";c\n1,5;2\n', {"a,b": "1,5", "c": "2"}),
        ("e.csv", "a\n1;2\n", {"a": "1;2"}),
        ("f.tsv", "a;b\tc\n1\t2\n", {"a;b": "1", "c": "2"}),
    ):
        (record,) = read_file(write(tmp_path / name, text.encode())).records
        assert record.columns == expected, name
    with pytest.raises(InvalidInput, match="line 2: 3 cells, the header has 2") as caught:
        read_file(write(tmp_path / "g.csv", b"a;b\n1;2;3\n"))
    assert "semicolons part them, as in the header" in (caught.value.hint or "")


def test_a_column_without_a_name_is_none_where_it_is_empty(tmp_path: Path) -> None:
    for line, expected in (
        ("a,b,\n1,2,\n", {"a": "1", "b": "2"}),
        ("a,,b\n1,,2\n", {"a": "1", "b": "2"}),
        ("a,,b,,\n1,,2,,\n", {"a": "1", "b": "2"}),
        (",a\n7,1\n", {"": "7", "a": "1"}),  # pandas' row numbers
        (",a,\n7,1,\n", {"": "7", "a": "1"}),
    ):
        (record,) = read_file(write(tmp_path / "a.csv", line.encode())).records
        assert record.columns == expected, line
    with pytest.raises(InvalidInput, match="line 2: 2 cells in columns without a name"):
        read_file(write(tmp_path / "a.csv", b",a,\n7,1,8\n"))
    lines = [["a", None, "b"], [1, None, 2]]
    (record,) = read_file(workbook(tmp_path / "a.xlsx", lines)).records
    assert record.columns == {"a": "1", "b": "2"}
    with pytest.raises(InvalidInput, match="line 2: column 2 has a cell and no name"):
        read_file(workbook(tmp_path / "a.xlsx", [["a", None, "b"], [1, 3, 2]]))


def test_a_workbook_whose_first_sheet_is_empty_names_the_sheets(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Deckblatt"
    book.create_sheet("Fragen").append(["prompt", "completion"])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(InvalidInput, match=r"its first sheet `Deckblatt` is empty.*`Fragen`"):
        read_file(tmp_path / "a.xlsx")


def test_suffixes_in_capitals_are_the_same_suffixes(tmp_path: Path) -> None:
    workbook(tmp_path / "A.XLSX", [["text"], ["a"]])
    write(tmp_path / "B.Csv", b"text\na\n")
    write(tmp_path / "C.JSONL.GZ", gzip.compress(b'{"text": "a"}\n'))
    for name in ("A.XLSX", "B.Csv", "C.JSONL.GZ"):
        (record,) = read_file(tmp_path / name).records
        assert record.columns == {"text": "a"}, name
        assert load_source(name, "text", folder=tmp_path).rows[0].text == "a"


@pytest.mark.parametrize("said", ["false", "False", " FALSE "])
def test_a_verdict_in_text_is_one(said: str) -> None:
    record = Record(1, {"prompt": "q", "completion": "a", "label": said})
    with pytest.raises(InvalidInput, match="column `label` would be ignored"):
        to_rows([record], "prompt-completion", source="x")
    (row,) = to_rows([record], "unpaired-preference", source="x")
    assert row.scores == (0.0,)
    for other, score in ((True, 1.0), (0, 0.0), ("1", 1.0)):
        (row,) = to_rows(
            [Record(1, record.columns | {"label": other})], "unpaired-preference", source="x"
        )
        assert row.scores == (score,)
