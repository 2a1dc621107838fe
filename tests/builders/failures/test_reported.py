"""Feedback as it was exported: what is wrong, whose it is, and what nobody may learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.failures.reported import read_reported
from adapterworks.manifests.errors import InvalidInput


def line(receipt: str = "r1", **changes: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "receipt": receipt, "tenant": "acme", "share": "own",
        "adapter": "medical", "release": "sha256:1", "base": "sha256:2", "template": None,
        "created": "2026-01-01", "answer": "said", "redacted": [],
        "messages": [{"role": "user", "content": f"question {receipt}"}],
        "feedback": [{"thumb": "down", "score": None, "correction": None, "label": "x"}],
    } | changes  # fmt: skip


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "reviewed.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def said(**values: Any) -> list[dict[str, Any]]:
    return [{"thumb": "", "score": None, "correction": None} | values]


def test_what_is_negative_is_a_failure_and_all_is_traffic(tmp_path: Path) -> None:
    lines = [
        line("down"),
        line("up", feedback=said(thumb="up")),
        line("low", feedback=said(score=0.49)),
        line("half", feedback=said(score=0.5)),
        line("corrected", feedback=said(correction="right") + said(correction="better")),
        line("silent", feedback=[]),
        line("other", adapter="code"),
    ]
    found = read_reported(write(tmp_path, *lines), "medical")
    assert [f.place for f in found.failures] == ["down", "low", "corrected"]
    assert [f.correction for f in found.failures] == [None, None, "better"]
    assert found.failures[0].tenant == "acme"
    assert len(found.traffic) == 6
    assert found.withheld == 0


def test_what_nobody_may_learn_is_counted_and_left(tmp_path: Path) -> None:
    kept = line("kept", share="all")
    silent = {k: v for k, v in line("silent").items() if k != "share"}
    found = read_reported(write(tmp_path, line("none", share="none"), kept, silent), "medical")
    assert [f.place for f in found.failures] == ["kept"]
    assert found.withheld == 2  # what says nothing is shared with nobody


def test_two_tenants_are_never_put_together(tmp_path: Path) -> None:
    path = write(tmp_path, line("a"), line("b", tenant="other"))
    with pytest.raises(InvalidInput, match="several tenants: acme, other"):
        read_reported(path, "medical")
    assert [f.place for f in read_reported(path, "medical", tenant="other").failures] == ["b"]


@pytest.mark.parametrize(
    "bad",
    [
        [], {}, line(feedback=said(score=2)), line(feedback=said(thumb="sideways")),
        line(share="everybody"), {**line(), "messages": "x"},
    ],
)  # fmt: skip
def test_a_line_of_another_kind_is_named(bad: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"`reviewed.jsonl` line 2 is no line of"):
        read_reported(write(tmp_path, line(), bad), "medical")


def test_a_turn_that_is_no_text_is_named(tmp_path: Path) -> None:
    image = {"role": "user", "content": [{"type": "image_url"}]}
    with pytest.raises(InvalidInput, match="a turn of `r1` is no text"):
        read_reported(write(tmp_path, line(messages=[image])), "medical")


def test_what_a_user_wrote_may_have_lines_of_its_own(tmp_path: Path) -> None:
    """Texts copied from pages hold U+2028, at which a line of JSON is not cut."""
    path = tmp_path / "reviewed.jsonl"
    texts = [line("one", answer="a\u2028b\u2029c\u0085d"), line("two")]
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in texts))
    found = read_reported(path, "medical").failures
    assert [(f.place, f.answer) for f in found] == [
        ("one", "a\u2028b\u2029c\u0085d"),
        ("two", "said"),
    ]
    path.write_text("")
    assert read_reported(path, "medical").failures == ()
