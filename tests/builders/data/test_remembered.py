"""Which rows changed, from digests kept on this machine."""

from __future__ import annotations

from pathlib import Path

from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.remembered import RowChanges, changes_since, remember
from adapterworks.builders.data.rows import Row, chat, rows_digest


def rows(*answers: str) -> list[Row]:
    return [chat("code?", answer) for answer in answers]


def changed(cache: Path, before: list[Row], after: list[Row]) -> RowChanges | None:
    digests = []
    for side in (before, after):
        digests.append(rows_digest(side))
        remember(cache, digests[-1], side)
    return changes_since(cache, digests[0], digests[1])


def test_changed_added_and_removed_rows_are_told_apart(tmp_path: Path) -> None:
    before = rows("a", "b", "c", "c")
    found = changed(tmp_path, before, rows("a", "x", "c", "c"))
    assert found == RowChanges((2,), 1)
    assert str(found) == "1 changed (row 2)"
    assert str(changed(tmp_path, before, rows("a", "b", "c", "c", "c", "d"))) == (
        "2 more (rows 5, 6)"
    )
    assert str(changed(tmp_path, before, rows("a", "c"))) == "2 gone"
    assert str(changed(tmp_path, before, rows("z", "b", "c"))) == "1 changed, 1 gone (row 1)"
    assert str(changed(tmp_path, before, rows("b", "a", "c", "c"))) == (
        "the same rows in another order"
    )
    many = changed(tmp_path, before, rows(*"stuvwxyz"))
    assert str(many) == "4 changed, 4 more (rows 1, 2, 3, 4, 5 and 3 more)"


def test_rows_read_elsewhere_are_not_known(tmp_path: Path) -> None:
    remember(tmp_path, rows_digest(rows("a")), rows("a"))
    assert changes_since(tmp_path, "sha256:" + "0" * 64, rows_digest(rows("a"))) is None


def test_reading_a_source_remembers_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    line = (
        '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "%s"}]}'
    )
    path.write_text("\n".join(line % answer for answer in "ab"))
    before = load_source(str(path), "messages", cache=tmp_path / "cache").datasheet.digest
    path.write_text("\n".join(line % answer for answer in "ac"))
    after = load_source(str(path), "messages", cache=tmp_path / "cache").datasheet.digest
    assert changes_since(tmp_path / "cache", before, after) == RowChanges((2,), 1)


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    """As on a disk that is read-only; as root, only a file in the way is."""
    (tmp_path / "cache").write_text("")
    assert changed(tmp_path / "cache", rows("a"), rows("b")) is None
