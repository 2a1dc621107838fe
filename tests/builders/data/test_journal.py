"""Lines that one process writes: what is torn goes, what is not understood stays and is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.builders.data.journal import open_journal, read_lines
from adapterworks.builders.endpoints.cache import open_cache
from adapterworks.manifests.errors import Conflict, IntegrityError

BUSY = Conflict("another process holds it")


def test_a_whole_line_that_is_not_understood_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lines.jsonl"
    seen: list[bytes] = []

    def take(line: bytes) -> bool:
        seen.append(line)
        return line.startswith(b"ours")

    with open_journal(path, take, BUSY) as lines:
        lines.add([b"ours 1", b"ours 2", b"ours 3"])
    for spoilt in (b"ours 1\nanother\nours 3\n", b"ours 1\nanother\n", b"ours 1\n\nours 3\ntor"):
        path.write_bytes(spoilt)
        with pytest.raises(IntegrityError, match=r"lines.jsonl` line 2 is none") as told:
            read_lines(path, take, BUSY, wait=0)
        assert "take that line out" in (told.value.hint or "")
        with (
            pytest.raises(IntegrityError, match=r"lines.jsonl` line 2 is none"),
            open_journal(path, take, BUSY),
        ):
            raise AssertionError
        assert path.read_bytes() == spoilt
    path.write_bytes(b"ours 1\nours")
    seen.clear()
    read_lines(path, take, BUSY, wait=0)
    assert (seen, path.read_bytes()) == ([b"ours 1"], b"ours 1\nours")
    with open_journal(path, take, BUSY) as lines:
        lines.add([b"ours 2"])
    assert path.read_bytes() == b"ours 1\nours 2\n"


def test_readers_wait_for_who_writes_and_not_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    read_lines(path, lambda _: True, BUSY, wait=0)  # there is no file
    with open_journal(path, lambda _: True, BUSY), pytest.raises(Conflict, match="holds it"):
        read_lines(path, lambda _: True, BUSY, wait=0.05)

    def nested(_: bytes) -> bool:
        read_lines(path, lambda _: True, BUSY, wait=0)
        return True

    path.write_bytes(b"a\n")
    read_lines(path, nested, BUSY, wait=0)


def test_paid_answers_of_another_version_stay(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    line = b'{"request": "sha256:1", "text": "a", "cut": false, "later": 1, "tool_calls": []}\n'
    path.write_bytes(line)
    with pytest.raises(IntegrityError, match="line 1"), open_cache(path):
        pass
    assert path.read_bytes() == line
