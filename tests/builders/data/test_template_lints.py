"""What is said of a chat template, and the loss on a conversation's last answer only."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from adapterworks.builders.data.render import IGNORED, encode
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.template_lints import template_lints

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def bytes_(tiny: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny)


@pytest.fixture
def with_template(bytes_: Any) -> Any:
    def make(text: str) -> Any:
        changed = copy.copy(bytes_)
        changed.chat_template = text
        return changed

    return make


def said(tokenizer: Any, *, replaced: bool = True, own: str = "") -> list[str]:
    return [what for what, _ in template_lints(tokenizer, replaced=replaced, own=own)]


def test_a_base_s_own_template_is_not_spoken_of(bytes_: Any) -> None:
    assert said(bytes_, replaced=False) == []


def test_an_end_that_is_no_token_of_the_base_is_said(with_template: Any) -> None:
    (what,) = said(with_template(CHATML))
    assert "no special token of this base ends an answer" in what
    ends = CHATML.replace("<|im_end|>", "</s>")
    assert said(with_template(ends)) == []


def test_an_end_that_the_base_is_not_stopped_at_is_said(with_template: Any) -> None:
    """Of the base's own template, too: Qwen's bases close a turn with what they do not stop at."""
    closed = with_template(CHATML.replace("<|im_end|>", "</s>"))
    for replaced in (True, False):
        (found,) = template_lints(closed, replaced=replaced, own="", stop=(7, 9))
        assert "closes an answer with `</s>`, which the base is not stopped at" in found[0]
        assert [*template_lints(closed, replaced=replaced, own="", stop=(7, 1))] == []


def test_another_in_place_of_the_base_s_own_and_a_date_are_said(with_template: Any) -> None:
    dated = "{{ strftime_now('%d') }}" + CHATML.replace("<|im_end|>", "</s>")
    first, second = said(with_template(dated), own="{{ messages }}")
    assert "a chat template of its own" in first
    assert "rows are rendered on 01 January 2026" in second


def test_a_prompt_that_is_not_how_the_conversation_begins_is_said(with_template: Any) -> None:
    (what,) = said(
        with_template(CHATML.replace("assistant\\n' }}{% endif", "robot\\n' }}{% endif"))
    )
    assert "does not begin as its prompt does" in what


def test_only_the_last_answer_is_learnt_where_it_is_said(bytes_: Any) -> None:
    turns = [("user", "a?"), ("assistant", "bb"), ("user", "c?"), ("assistant", "dd")]
    row = Row(messages=tuple({"role": r, "content": c} for r, c in turns))  # type: ignore[arg-type]
    every, last = encode(bytes_, row, 128), encode(bytes_, row, 128, "last")
    assert every.input_ids == last.input_ids

    def learnt(encoded: Any) -> str:
        ids = [i for i, label in zip(encoded.input_ids, encoded.labels, strict=True)
               if label != IGNORED]  # fmt: skip
        return str(bytes_.decode(ids))

    assert "bb" in learnt(every)
    assert "bb" not in learnt(last)
    assert "dd" in learnt(last)
    assert last.labels[: every.labels.index(every.input_ids[-1])].count(IGNORED) > 0
    assert last.cut == 0
    assert last.columns == {}
