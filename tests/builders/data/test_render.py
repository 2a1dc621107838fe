"""The loss mask, on the real tokenizer and its template, and on templates made to be difficult."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from adapterworks.builders.data import render
from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.render import (
    IGNORED,
    Encoded,
    encode,
    encode_rows,
    render_prompt,
    render_prompts,
)
from adapterworks.builders.data.rows import Row, chat
from adapterworks.manifests.errors import InvalidInput

TALK = Row(
    (
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "你好"},
        {"role": "user", "content": "Again"},
        {"role": "assistant", "content": "  ok "},
    )
)


def learnt(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> str:
    return tokenizer.decode([label for label in encoded.labels if label != IGNORED])


def with_template(tokenizer: PreTrainedTokenizerBase, text: str) -> PreTrainedTokenizerBase:
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = text
    return changed


def test_loss_covers_the_answer_and_its_end_only(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = encode(tokenizer, chat("发热三天", "R50 发热"), 256)
    assert learnt(tokenizer, encoded) == "R50 发热<|im_end|>"
    assert encoded.cut == 0
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        assert label in (token, IGNORED)


def test_every_assistant_turn_is_supervised(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = encode(tokenizer, TALK, 256)
    assert learnt(tokenizer, encoded) == "你好<|im_end|>  ok <|im_end|>"


def test_loss_on_all_covers_the_prompt_too(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = encode(tokenizer, TALK, 256, "all")
    assert encoded.labels == encoded.input_ids


def test_llama_factory_2509_training_prompt_is_the_inference_prompt(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """What training sees before an answer is, id by id, what the engine will be sent."""
    rows = [*load_source("icd-10-cm:validation", "messages").rows[:200], TALK]
    for row, encoded in zip(rows, encode_rows(tokenizer, rows, 512), strict=True):
        prompt = render_prompt(tokenizer, row.prompt)
        served = tokenizer.apply_chat_template(
            [*row.prompt], add_generation_prompt=True, return_dict=False
        )
        assert encoded.input_ids[: len(prompt)] == prompt == served
        assert encoded.labels[len(prompt)] != IGNORED
        assert encoded.labels[len(prompt) - 1] == IGNORED


def test_llama_factory_2509_a_merged_boundary_token_is_split(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """`:` + `:ok` is one token `::` in the whole text, which inference can never be sent."""
    glued = with_template(
        tokenizer,
        "{% for m in messages %}{% if m['role'] == 'assistant' %}:{{ m['content'] }}<|im_end|>"
        "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}:{% endif %}",
    )
    row = chat("Say", ":ok")
    whole = glued("Say::ok<|im_end|>", add_special_tokens=False)["input_ids"]
    prompt = render_prompt(glued, row.prompt)
    assert whole[: len(prompt)] != prompt  # the case is real
    encoded = encode(glued, row, 64)
    assert encoded.input_ids[: len(prompt)] == prompt
    assert learnt(glued, encoded) == ":ok<|im_end|>"


def test_a_template_that_rewrites_earlier_answers_supervises_the_last_only(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """As templates do that write into the last answer what earlier ones have not."""
    forgetful = with_template(
        tokenizer,
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' and loop.last %}Well: {% endif %}"
        "{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    )
    encoded = encode(forgetful, TALK, 256)
    assert learnt(forgetful, encoded) == "Well:   ok <|im_end|>"
    assert encoded.unlearnt == 1


def test_a_template_without_end_of_turn_still_learns_to_stop(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    plain = with_template(
        tokenizer,
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}",
    )
    encoded = encode(plain, chat("q", "the answer"), 64)
    assert encoded.labels[-1] == tokenizer.eos_token_id


def test_a_prompt_that_is_no_prefix_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    other = with_template(
        tokenizer,
        "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}ANSWER:{% endif %}",
    )
    with pytest.raises(InvalidInput, match="no supervised token"):
        encode(other, chat("q", "a"), 64)


@pytest.mark.parametrize("answer", ["", " \n\t"])
def test_trl_6668_and_3927_no_supervised_token_fails_with_the_row_shown(
    tokenizer: PreTrainedTokenizerBase, answer: str
) -> None:
    rows = [chat("one", "fine"), chat("What is fever?", answer).with_meta(row=17)]
    with pytest.raises(InvalidInput, match=r"row 17 has no supervised token: user: What is fever"):
        encode_rows(tokenizer, rows, 64)


def test_truncation_shortens_the_prompt_and_keeps_the_answer(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    encoded = encode(tokenizer, chat("word " * 300, "the answer"), 64)
    assert len(encoded.input_ids) == 64
    assert learnt(tokenizer, encoded) == "the answer<|im_end|>"
    assert encoded.cut == 0
    text = tokenizer.decode(encoded.input_ids)
    whole = tokenizer.decode(encode(tokenizer, chat("word", "the answer"), 64).input_ids)
    assert text.startswith(whole[: whole.index("word")])
    assert text.endswith("word <|im_end|>\n<|im_start|>assistant\nthe answer<|im_end|>")


def test_an_answer_too_long_is_cut_at_its_end_and_said(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    encoded = encode(tokenizer, chat("word " * 300, "one two " * 100), 64)
    assert len(encoded.input_ids) == 64
    assert learnt(tokenizer, encoded).startswith("one two one")
    supervised = sum(label != IGNORED for label in encoded.labels)
    assert supervised == 48  # a quarter is kept for the prompt
    whole = encode(tokenizer, chat("word " * 300, "one two " * 100), 2048)
    assert supervised + encoded.cut == sum(label != IGNORED for label in whole.labels)


def test_an_earlier_answer_that_lost_its_beginning_is_not_supervised(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    talk = Row(
        (
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "old " * 100},
            {"role": "user", "content": "again"},
            {"role": "assistant", "content": "new"},
        )
    )
    encoded = encode(tokenizer, talk, 64)
    assert learnt(tokenizer, encoded) == "new<|im_end|>"
    assert encoded.cut > 90


def test_text_is_cut_into_sequences_and_closed(tokenizer: PreTrainedTokenizerBase) -> None:
    row = Row(text="Ein Satz über Öl. " * 40)
    encoded = encode_rows(tokenizer, [row, Row(text="short")], 64)
    pieces = [item for item in encoded if item.row == 0]
    assert len(pieces) > 2
    joined = [token for piece in pieces for token in piece.input_ids]
    assert tokenizer.decode(joined) == row.text + "<|im_end|>"
    assert all(piece.labels == piece.input_ids for piece in pieces)
    assert encoded[-1].row == 1


def test_a_base_without_a_template_is_refused_for_chats(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    assert encode(bare, Row(text="plain text"), 64).input_ids
    with pytest.raises(InvalidInput, match="no chat template"):
        encode(bare, chat("q", "a"), 64)


def test_order_and_batches_do_not_matter(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = [*load_source("icd-10-cm:test", "messages").rows[:600], Row(text="between"), TALK]
    together = encode_rows(tokenizer, rows, 128)
    for index in (0, 511, 512, 599, 600, 601):
        alone = encode(tokenizer, rows[index], 128)
        assert (alone.input_ids, alone.labels) == (
            together[index].input_ids,
            together[index].labels,
        )


TOOLS = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for c in m.get('tool_calls') or [] %}<call>{{ c['function'] | tojson }}{% endfor %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CALLING = Row(
    (
        {"role": "user", "content": "Fever?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": {"name": "code", "arguments": {}}}],
        },
        {"role": "tool", "content": "R50", "tool_call_id": "1"},
        {"role": "assistant", "content": "R50"},
    ),
    tools=({"type": "function", "function": {"name": "code"}},),
)


def test_tools_and_calls_are_what_the_template_writes(tokenizer: PreTrainedTokenizerBase) -> None:
    knowing = with_template(tokenizer, TOOLS)
    encoded = encode(knowing, CALLING, 512)
    text = knowing.decode(encoded.input_ids)
    assert text.startswith("<|im_start|>system\n[{")
    assert learnt(knowing, encoded) == (
        '<call>{"name": "code", "arguments": {}}<|im_end|>R50<|im_end|>'
    )
    (prompt,) = render_prompts(knowing, [CALLING.prompt], [CALLING.tools])
    assert encoded.input_ids[: len(prompt)] == prompt


def test_what_a_template_does_not_show_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    """SmolLM2's own template knows no tools: they would be left out without a word."""
    with pytest.raises(InvalidInput, match="`tools` and `tool_calls`, which the base's"):
        encode(tokenizer, CALLING, 512)
    bare = Row(CALLING.messages)
    with pytest.raises(InvalidInput, match="`tool_calls`, which the base's chat template does not"):
        encode(tokenizer, bare, 512)


def test_a_turns_weight_is_not_shown_to_the_template(tokenizer: PreTrainedTokenizerBase) -> None:
    nosy = with_template(
        tokenizer,
        "{% for m in messages %}{{ m.keys() | join(',') }}|{{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}role,content|{% endif %}",
    )
    row = Row(
        (
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "one", "weight": 0.0},
            {"role": "user", "content": "again"},
            {"role": "assistant", "content": "two"},
        )
    )
    encoded = encode(nosy, row, 256)
    assert "weight" not in nosy.decode(encoded.input_ids)
    assert learnt(nosy, encoded) == "two<|im_end|>"


def test_a_text_of_one_token_teaches_nothing_and_is_refused(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Its count is 0: a step of nothing else would divide by it."""
    with pytest.raises(InvalidInput, match="row 1 has no supervised token"):
        encode(tokenizer, Row(text=str(tokenizer.eos_token)), 64)


def test_a_template_that_cannot_join_what_a_row_has_names_its_roles(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    joining = with_template(tokenizer, "{% for m in messages %}{{ m.content + 1 }}{% endfor %}")
    with pytest.raises(InvalidInput, match="refuses a conversation of roles user, assistant"):
        encode(joining, TALK, 64)


def test_rows_are_encoded_once_whoever_asks(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    spans = render.chat_spans

    def counting(tokenizer: Any, rows: Any) -> Any:
        asked.append(len(rows))
        return spans(tokenizer, rows)

    monkeypatch.setattr(render, "chat_spans", counting)
    rows = [chat(f"question {n}?", f"answer {n}") for n in range(6)]
    apart = render.encode_rows(tokenizer, rows, 64)
    with render.encoded_once():
        first = render.encode_rows(tokenizer, rows[:4], 64)
        again = render.encode_rows(tokenizer, rows[2:], 64)
        render.encode_rows(tokenizer, rows, 32)  # another length is another encoding
        twice = render.encode_rows(tokenizer, [rows[0], rows[0]], 64)
    assert asked == [6, 4, 2, 6, 0]
    assert first == apart[:4]
    assert [e.input_ids for e in again] == [e.input_ids for e in apart[2:]]
    assert [e.row for e in again] == [0, 1, 2, 3]
    assert [e.row for e in twice] == [0, 1]
    render.encode_rows(tokenizer, rows, 64)
    assert asked[-1] == 6
