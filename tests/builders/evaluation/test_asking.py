"""Subjects as they are asked: what they share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapterworks.builders.engines.session import Session, Subject
from adapterworks.builders.evaluation import asking


def test_subjects_of_one_base_share_its_tokenizer_once_all_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []

    def read(folder: Path) -> Any:
        done.append(folder.name)
        return SimpleNamespace(eos_token_id=7)

    monkeypatch.setattr(asking, "_tokenizer", read)
    subjects = {
        name: cast(Subject, SimpleNamespace(name=name, model=SimpleNamespace(folder=tmp_path / of)))
        for name, of in (("base", "one"), ("adapter", "one"), ("other", "two"))
    }
    session = cast(Session, SimpleNamespace(know=lambda subject: done.append(subject.name)))
    begun = {name: begin() for name, begin in asking.asked(session, subjects).items()}
    assert done == ["base", "adapter", "other", "one", "two"]
    assert begun["base"].tokenizer is begun["adapter"].tokenizer
    assert begun["base"].tokenizer is not begun["other"].tokenizer
