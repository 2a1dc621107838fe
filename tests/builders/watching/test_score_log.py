"""The scores of a watch on disk: whole lines in order, one process, one comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.builders.watching.score_log import open_score_log
from adapterworks.manifests.errors import Conflict, IntegrityError

WHO = {"watched": "sha256:1", "reference": "sha256:2"}


def test_a_torn_line_is_written_again(tmp_path: Path) -> None:
    with open_score_log(tmp_path, WHO) as scores:
        scores.add([(1.0, 0.5), (0.0, 1.0)])
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with open_score_log(tmp_path, WHO) as scores:
            there = len(scores)
            scores.add([(1.0, 0.5), (0.0, 1.0)][there:])
        assert there == max(0, whole[:end].count(b"\n") - 1)
        assert path.read_bytes() == whole
    with open_score_log(tmp_path, WHO) as scores:
        assert scores.scores.tolist() == [[1.0, 0.5], [0.0, 1.0]]


def test_lines_that_are_not_the_next_are_said(tmp_path: Path) -> None:
    with open_score_log(tmp_path, WHO) as scores:
        scores.add([(1.0, 0.5)])
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b"[3, 1.0, 1.0]\n")
    with pytest.raises(IntegrityError, match="line 3 is none"), open_score_log(tmp_path, WHO):
        pass
    assert path.read_bytes().endswith(b"[3, 1.0, 1.0]\n")


def test_one_process_holds_it_and_others_have_files_of_their_own(tmp_path: Path) -> None:
    with open_score_log(tmp_path, WHO) as scores:
        scores.add([(1.0, 0.5)])
        with (
            pytest.raises(Conflict, match="another process is watching"),
            open_score_log(tmp_path, WHO),
        ):
            pass
        with open_score_log(tmp_path, {**WHO, "watched": "sha256:3"}) as other:
            assert len(other) == 0


def test_a_file_of_another_comparison_is_not_gone_on_with(tmp_path: Path) -> None:
    with open_score_log(tmp_path, WHO):
        pass
    (path,) = tmp_path.iterdir()
    path.write_bytes(b'{"watched":"sha256:9"}\n')
    with (
        pytest.raises(IntegrityError, match="of another comparison"),
        open_score_log(tmp_path, WHO),
    ):
        pass
    assert path.read_bytes() == b'{"watched":"sha256:9"}\n'
