"""Tables as spreadsheets, databases and people write them: the right columns, or why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from adapterworks.drafting.look import Look, look
from adapterworks.manifests.errors import InvalidInput

COUNT = 30
PAIR = {"prompt": "question", "completion": "answer"}
SENT = "it is sent again"


def looked_at(folder: Path, text: str, name: str = "rows.csv") -> Look:
    path = folder / name
    path.write_bytes(text.encode())
    return look(path)


def lines(form: Callable[[int], str], end: str = "\n") -> str:
    return "".join(form(i) + end for i in range(COUNT))


def refused(folder: Path, text: str, name: str = "rows.csv") -> str:
    with pytest.raises(InvalidInput) as caught:
        looked_at(folder, text, name)
    return f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("before", ["", "\ufeff", "sep={}\r\n", '\ufeff"sep={}"\r\n', "\r\n\r\n"])
def test_what_parts_cells_is_what_the_first_lines_say(
    tmp_path: Path, mark: str, before: str
) -> None:
    table = lines(lambda i: f"card {i} is lost{mark}{SENT} {i}", "\r\n")
    seen = looked_at(tmp_path, before.format(mark) + f"question{mark}answer\r\n{table}")
    assert (seen.rows, seen.columns) == (COUNT, PAIR)
    assert seen.longest_answer == len(f"{SENT} {COUNT - 1}")


def test_a_first_line_for_excel_counts_as_a_line(tmp_path: Path) -> None:
    said = refused(tmp_path, "sep=;\nquestion;answer\na;b\nc;d;e\n")
    assert "line 4: 3 cells, the header has 2" in said


def test_of_two_marks_in_the_header_the_one_counts_that_parts_the_rows(tmp_path: Path) -> None:
    priced = lines(lambda i: f"what costs {i}?;{i},50;it costs {i},50 euros")
    seen = looked_at(tmp_path, f"question;price, EUR;answer\n{priced}")
    assert seen.columns == PAIR
    said = refused(
        tmp_path, "Frage, kurz;Antwort\n" + lines(lambda i: f"was ist {i}?;es sind 1,{i}")
    )
    assert "commas and semicolons both part every line" in said
    assert "write `sep=;`" in said


@pytest.mark.parametrize(
    ("header", "row", "told"),
    [
        (",label", "transfer {} is gone,transfers", "`transfer 0 is gone`"),
        ("question,", "card {} is lost,it is sent again {}", "`it is sent again 0`"),
        ("question,", "card {} is lost,3", "`3`"),
        ("Questions of 2026,", "card {} is lost,it is sent again {}", "`it is sent again 0`"),
    ],
)
def test_what_has_no_name_is_not_passed_over(
    tmp_path: Path, header: str, row: str, told: str
) -> None:
    said = refused(tmp_path, f"{header}\n" + lines(lambda i: row.format(i, i)))
    assert f"a column without a name holds {told}" in said
    assert "write its name into the first line" in said


def test_row_numbers_without_a_name_are_passed_over(tmp_path: Path) -> None:
    table = lines(lambda i: f"{i},card {i} is lost,{SENT} {i}")
    assert looked_at(tmp_path, f",question,answer\n{table}").columns == PAIR


def test_cells_may_hold_json(tmp_path: Path) -> None:
    def quoted(value: Any) -> str:
        return '"' + json.dumps(value).replace('"', '""') + '"'

    answers = lines(lambda i: f"card {i} is lost,{quoted({'queue': 'cards', 'n': i})}")
    seen = looked_at(tmp_path, f"question,answer\n{answers}")
    assert (seen.columns, seen.longest_answer) == (PAIR, len('{"queue": "cards", "n": 29}'))
    turns = lines(
        lambda i: (
            f"{i},"
            + quoted(
                [
                    {"role": "user", "content": f"card {i} is lost"},
                    {"role": "assistant", "content": SENT},
                ]
            )
        )
    )
    seen = looked_at(tmp_path, f"id,messages\n{turns}")
    assert (seen.format, seen.doubts, seen.labels) == ("messages", (), (SENT,))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("rows.csv", "question,answer\n", "has no rows"),
        ("rows.csv", "", "has no rows"),
        ("rows.jsonl", "\n", "has no rows"),
        (
            "rows.csv",
            "| question | answer |\n|---|---|\n",
            "line 1: a table of Markdown",
        ),
        ("rows.csv", "问题，答案\n卡丢了，重新寄出\n", "`，` parts no cells"),
    ],
)
def test_what_is_no_table_says_what_it_is(tmp_path: Path, name: str, text: str, told: str) -> None:
    said = refused(tmp_path, text, name)
    assert told in said
    assert "line" in said.partition(told)[2]


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def pairs() -> list[list[Any]]:
    return [["question", "answer"], *([f"card {i} is lost", f"{SENT} {i}"] for i in range(COUNT))]


def test_of_several_sheets_the_first_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    seen = look(workbook(tmp_path / "a.xlsx", January=pairs(), February=pairs()))
    assert (seen.rows, seen.columns) == (COUNT, PAIR)
    assert seen.sheets == ("January", "February")
    with pytest.raises(InvalidInput, match=r"`Notes` has no row below.*\(`FAQ`\)"):
        look(workbook(tmp_path / "b.xlsx", Notes=[["made on Monday"]], FAQ=pairs()))


def test_a_first_sheet_that_nobody_sees_is_not_read(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", Old=pairs(), New=pairs())
    book = openpyxl.load_workbook(path)
    book["Old"].sheet_state = "hidden"
    book.save(path)
    with pytest.raises(InvalidInput, match="its first sheet `Old` is hidden"):
        look(path)


def test_merged_names_of_columns_are_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", All=[["customer", None, "us"], *pairs()])
    book = openpyxl.load_workbook(path)
    book["All"].merge_cells("A1:B1")
    book.save(path)
    with pytest.raises(InvalidInput, match="the cells A1:B1 are merged") as caught:
        look(path)
    assert "each column a name" in (caught.value.hint or "")
