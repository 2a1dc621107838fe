"""The loss mask token by token, on a tokenizer whose tokens are bytes: every position is known.

The template writes `<s>ROLE CONTENT</s>` for each turn and `<s>assistant ` before an answer: a
question `q` is 8 tokens, the opening of an answer 11, so its first token is number 19.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from adapterworks.builders.data.render import (
    IGNORED,
    RENDERED_ON,
    Encoded,
    encode,
    encode_rows,
    render_prompt,
    render_prompts,
    template,
)
from adapterworks.builders.data.rows import Message, Row, chat
from adapterworks.manifests.errors import InvalidInput

BOS, EOS = 0, 1
ANSWER = 19


@pytest.fixture(scope="module")
def bytes_(tiny: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny)


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def talk(*turns: str | tuple[str, float]) -> Row:
    """User and assistant in turn; an answer may have a weight."""
    messages: list[Message] = []
    for turn in turns:
        content, weight = turn if isinstance(turn, tuple) else (turn, None)
        message: Any = {"role": ("user", "assistant")[len(messages) % 2], "content": content}
        messages.append(message if weight is None else message | {"weight": weight})
    return Row(tuple(messages))


def learnt(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> str:
    """What is learnt, with a bar where what is not stands between."""
    pieces, before = [""], True
    for label in encoded.labels:
        if label != IGNORED:
            pieces[-1] += tokenizer.decode([label])
        elif not before and pieces[-1]:
            pieces.append("")
        before = label == IGNORED
    return "|".join(piece for piece in pieces if piece)


def test_ids_and_labels_of_one_answer(bytes_: PreTrainedTokenizerBase) -> None:
    encoded = encode(bytes_, chat("q", "ab"), 64)
    assert encoded.input_ids == ids_of(bytes_, "<s>user q</s><s>assistant ab</s>")
    assert encoded.labels == [-100] * ANSWER + ids_of(bytes_, "ab</s>")
    assert len(encoded.input_ids) == ANSWER + 3
    assert (encoded.row, encoded.cut, encoded.columns, encoded.values) == (0, 0, {}, {})


def test_a_row_that_fits_to_the_token_is_whole(bytes_: PreTrainedTokenizerBase) -> None:
    whole = encode(bytes_, chat("q", "ab"), 22)
    assert whole == encode(bytes_, chat("q", "ab"), 64)
    shorter = encode(bytes_, chat("q", "ab"), 21)
    # The question is gone, what the template writes around it is not.
    assert shorter.input_ids == ids_of(bytes_, "<s>user </s><s>assistant ab</s>")
    assert shorter.labels == whole.labels[1:]
    assert (shorter.cut, shorter.cut_prompt, whole.cut_prompt) == (0, 1, 0)


def test_a_long_answer_leaves_a_quarter_to_the_prompt(bytes_: PreTrainedTokenizerBase) -> None:
    """Of 32 tokens 8 are the prompt's; of the answer's 41 the first 24 stay, 17 are cut."""
    row = chat("q", "x" * 40)
    whole, encoded = encode(bytes_, row, 64), encode(bytes_, row, 32)
    assert encoded.input_ids == [BOS, *whole.input_ids[12 : 12 + 31]]
    assert encoded.labels == [IGNORED] * 8 + ids_of(bytes_, "x" * 24)
    assert encoded.cut == 17
    assert encoded.cut_prompt == 11
    # Where the question has four tokens to give, it gives them, and the answer is whole.
    shorter = encode(bytes_, chat("what is it", "x" * 40), 65)
    assert shorter.input_ids == ids_of(
        bytes_, "<s>user  is it</s><s>assistant " + "x" * 40 + "</s>"
    )
    assert (learnt(bytes_, shorter), shorter.cut) == ("x" * 40 + "</s>", 0)
    assert shorter.cut_prompt == 4


def test_the_system_turn_stays_and_the_question_loses_its_beginning(
    bytes_: PreTrainedTokenizerBase,
) -> None:
    asked = "0123456789" * 3
    row = Row(({"role": "system", "content": "Be brief"}, *chat(asked, "ab").messages))
    whole, cut = encode(bytes_, row, 256), encode(bytes_, row, 48)
    assert bytes_.decode(cut.input_ids).startswith("<s>system Be brief</s><s>user ")
    gone = len(whole.input_ids) - 48
    text = bytes_.decode(whole.input_ids).replace(asked, asked[gone:])
    assert cut.input_ids == ids_of(bytes_, text)
    assert (cut.cut, cut.cut_prompt) == (0, gone)
    # A system turn that leaves no room for the question does not stay, and is counted as cut.
    tight = encode(bytes_, row, 24)
    assert tight.input_ids == [BOS, *whole.input_ids[-23:]]
    assert tight.cut_prompt == len(whole.input_ids) - 24


def test_earlier_questions_go_whole_with_their_answers(bytes_: PreTrainedTokenizerBase) -> None:
    """What is left is what the template writes of the later turns."""
    row = talk("q", "one", "again", "two", "and", "three")
    cut = encode(bytes_, row, 70)
    assert cut.input_ids == ids_of(
        bytes_, "<s>user again</s><s>assistant two</s><s>user and</s><s>assistant three</s>"
    )
    assert (learnt(bytes_, cut), cut.cut) == ("two</s>|three</s>", 4)
    last = encode(bytes_, row, 30)
    assert last.input_ids == ids_of(bytes_, "<s>user and</s><s>assistant three</s>")
    asked = encode(bytes_, talk("q", "one", "0123456789", "two"), 30)
    assert asked.input_ids == ids_of(bytes_, "<s>user 23456789</s><s>assistant two</s>")


def test_a_prompt_within_its_share_is_not_cut(bytes_: PreTrainedTokenizerBase) -> None:
    """19 tokens of a quarter of 100: all of them stay, the answer is cut at its end."""
    row = chat("q", "x" * 200)
    encoded = encode(bytes_, row, 100)
    assert encoded.input_ids == ids_of(bytes_, "<s>user q</s><s>assistant " + "x" * 81)
    assert (encoded.labels[ANSWER - 1], encoded.labels[ANSWER]) == (IGNORED, encoded.input_ids[-1])
    assert encoded.cut == 201 - 81


def test_the_opening_is_put_back_only_where_the_template_writes_one(
    bytes_: PreTrainedTokenizerBase,
) -> None:
    bare = copy.deepcopy(bytes_)
    bare.chat_template = "{% for m in messages %}{{ m.content }}</s>{% endfor %}"
    encoded = encode(bare, chat("question", "ab"), 10)
    assert encoded.input_ids == ids_of(bytes_, "estion</s>ab</s>")


def test_half_an_answer_is_not_learnt(bytes_: PreTrainedTokenizerBase) -> None:
    """The template writes no opening, so the cut falls into the middle of `abcdef`: what is left of
    it stays as context, and only the last answer is learnt."""
    bare = copy.deepcopy(bytes_)
    bare.chat_template = "{% for m in messages %}{{ m.content }}</s>{% endfor %}"
    encoded = encode(bare, talk("q", "abcdef", "z", "two"), 10)
    assert encoded.input_ids == ids_of(bare, "def</s>z</s>two</s>")
    assert (learnt(bare, encoded), encoded.cut) == ("two</s>", 7)


def test_every_answer_is_learnt_and_nothing_between(bytes_: PreTrainedTokenizerBase) -> None:
    encoded = encode(bytes_, talk("q", "one", "again", "two"), 256)
    assert learnt(bytes_, encoded) == "one</s>|two</s>"
    first = encoded.labels.index(ids_of(bytes_, "o")[0])
    assert first == ANSWER
    # 4 tokens of `one</s>`, then `<s>user again</s><s>assistant ` are 23.
    assert [label != IGNORED for label in encoded.labels] == (
        [False] * 19 + [True] * 4 + [False] * 23 + [True] * 4
    )


def test_a_conversation_that_an_answer_opens(bytes_: PreTrainedTokenizerBase) -> None:
    """Nothing asks for a first turn: it is seen, not learnt."""
    row = Row(
        (
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a"},
        )
    )
    assert learnt(bytes_, encode(bytes_, row, 256)) == "a</s>"


def test_an_answer_without_weight_is_not_learnt_and_not_counted_as_cut(
    bytes_: PreTrainedTokenizerBase,
) -> None:
    row = talk("q", ("one", 0.0), "again", "two")
    assert learnt(bytes_, encode(bytes_, row, 256)) == "two</s>"
    everything = encode(bytes_, row, 256, "all")
    assert [label == IGNORED for label in everything.labels] == (
        [False] * 19 + [True] * 4 + [False] * 27
    )
    # 50 tokens; in 28 of them the first answer is gone, and with it nothing that would be learnt.
    assert encode(bytes_, row, 28).cut == 0
    assert encode(bytes_, talk("q", "one", "again", "two"), 28).cut == 4


def test_other_weights_stand_at_their_tokens_and_are_cut_with_them(
    bytes_: PreTrainedTokenizerBase,
) -> None:
    row = talk("q", ("one", 0.5), "again", ("two", 2.0))
    whole = encode(bytes_, row, 256)
    assert whole.columns == {"weights": [1.0] * 19 + [0.5] * 4 + [1.0] * 23 + [2.0] * 4}
    cut = encode(bytes_, row, 49)  # the first question's one token is gone
    assert cut.columns == {"weights": [1.0] * 18 + [0.5] * 4 + [1.0] * 23 + [2.0] * 4}
    assert len(cut.columns["weights"]) == len(cut.input_ids) == 49
    late = encode(bytes_, row, 40)  # and here the first question with its answer
    assert late.columns == {"weights": [1.0] * 23 + [2.0] * 4}
    assert encode(bytes_, talk("q", ("one", 0.0), "again", "two"), 256).columns == {}
    mixed = encode(bytes_, talk("q", ("one", 0.0), "again", ("two", 0.5)), 256).columns["weights"]
    assert mixed[19:23] + mixed[-4:] == [0.0] * 4 + [0.5] * 4


@pytest.mark.parametrize("answer", ["", " \n"])
def test_silence_is_not_learnt_where_nothing_is_said(
    bytes_: PreTrainedTokenizerBase, answer: str
) -> None:
    with pytest.raises(InvalidInput, match="row 1 has no supervised token: user: q"):
        encode(bytes_, talk("q", answer), 64)
    with pytest.raises(InvalidInput, match="row 2 has no supervised token"):
        encode_rows(bytes_, [chat("q", "a"), talk("q", answer)], 64)


def test_white_space_may_follow_an_end_of_turn_and_is_not_learnt(
    bytes_: PreTrainedTokenizerBase,
) -> None:
    spaced = copy.deepcopy(bytes_)
    spaced.chat_template = bytes_.chat_template.replace("</s>", "</s>\n")
    encoded = encode(spaced, talk("q", "one", "again", "two"), 256)
    assert learnt(spaced, encoded) == "one</s>|two</s>"
    assert encoded.input_ids[-1] == EOS


def test_what_follows_an_end_of_turn_may_be_no_end_of_it(bytes_: PreTrainedTokenizerBase) -> None:
    """Text behind the marker belongs to the turn, which then ends nowhere: an end is added."""
    trailing = copy.deepcopy(bytes_)
    trailing.chat_template = bytes_.chat_template.replace("</s>", "</s>.")
    assert learnt(trailing, encode(trailing, chat("q", "one"), 256)) == "one</s>.</s>"
    earlier = encode(trailing, talk("q", "one", "again", "two"), 256)
    assert learnt(trailing, earlier) == "one</s>.|two</s>.</s>"


def test_an_end_within_the_prompt_is_not_the_answers(bytes_: PreTrainedTokenizerBase) -> None:
    """The template writes no marker behind an answer: the one ahead of it must not be taken."""
    endless = copy.deepcopy(bytes_)
    endless.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}</s>{% else %}"
        "{{ m.content }}{% endif %}{% endfor %}"
    )
    encoded = encode(endless, chat("q", "  a"), 64)
    assert learnt(endless, encoded) == "  a</s>"


def test_a_text_begins_as_the_tokenizer_begins_texts_and_a_chat_as_its_template_does(
    bytes_: PreTrainedTokenizerBase,
) -> None:
    """A tokenizer that adds `<s>`, as Llama's does: a template has written its own already."""
    adding = copy.deepcopy(bytes_)
    begun = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    adding.backend_tokenizer.post_processor = begun
    text, answer = encode_rows(adding, [Row(text="ab"), chat("q", "c")], 64)
    assert text.input_ids == [BOS, *ids_of(bytes_, "ab"), EOS]
    assert answer.input_ids == encode(bytes_, chat("q", "c"), 64).input_ids


def test_a_text_is_learnt_from_its_second_token_and_closed(
    bytes_: PreTrainedTokenizerBase,
) -> None:
    (piece,) = encode_rows(bytes_, [Row(text="abc")], 64)
    assert piece.input_ids == piece.labels == ids_of(bytes_, "abc</s>")
    closed = encode_rows(bytes_, [Row(text="abc</s>")], 64)
    assert closed == [piece], "what ends with the token is not closed twice"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("abcdefg", ["abcd", "efg</s>"]),
        ("abcdefgh", ["abcd", "efgh"]),  # a single token predicts nothing
        ("abcdefghi", ["abcd", "efgh", "i</s>"]),
        ("abc", ["abc</s>"]),
    ],
)
def test_a_long_text_is_cut_into_consecutive_sequences(
    bytes_: PreTrainedTokenizerBase, text: str, pieces: list[str]
) -> None:
    found = encode_rows(bytes_, [Row(text="zz"), Row(text=text)], 4)
    assert [bytes_.decode(piece.input_ids) for piece in found] == ["zz</s>", *pieces]
    assert [piece.row for piece in found] == [0, *[1] * len(pieces)]
    assert all(piece.labels == piece.input_ids and piece.cut == 0 for piece in found)


def test_an_empty_text_is_refused(bytes_: PreTrainedTokenizerBase) -> None:
    for text in ("", "</s>"):
        with pytest.raises(InvalidInput, match="row 1 has no supervised token"):
            encode_rows(bytes_, [Row(text=text)], 64)
        with pytest.raises(InvalidInput, match="row 2 has no supervised token"):
            encode_rows(bytes_, [Row(text="abc"), Row(text=text)], 64)


def test_texts_and_conversations_keep_their_order(bytes_: PreTrainedTokenizerBase) -> None:
    rows = [Row(text="t0"), chat("q", "c1"), Row(text="t2"), chat("q", "c3")]
    found = encode_rows(bytes_, rows, 64)
    assert [learnt(bytes_, one) for one in found] == ["t0</s>", "c1</s>", "t2</s>", "c3</s>"]
    assert [one.row for one in found] == [0, 1, 2, 3]


def test_prompts_are_what_inference_sends(bytes_: PreTrainedTokenizerBase) -> None:
    asked = talk("q", ("one", 0.0), "again", "two")
    expected = ids_of(bytes_, "<s>user q</s><s>assistant one</s><s>user again</s><s>assistant ")
    assert render_prompt(bytes_, asked.prompt) == expected
    assert encode(bytes_, asked, 256).input_ids[: len(expected)] == expected
    assert render_prompts(bytes_, [chat("a", "x").prompt, asked.prompt])[1] == expected
    assert render_prompts(bytes_, []) == []


def test_a_template_that_writes_the_day_is_told_the_same_one_always(
    bytes_: PreTrainedTokenizerBase,
) -> None:
    """Equal rows would be other rows tomorrow, and a resumed build another build."""
    dated = copy.deepcopy(bytes_)
    dated.chat_template = "{{ strftime_now('%d %b %Y') }} " + bytes_.chat_template
    assert template(dated, chat("q", "a").messages, False).startswith("01 Jan 2026 <s>user")
    assert RENDERED_ON.isoformat() == "2026-01-01"


def test_one_row_with_tools_among_others_is_looked_at(bytes_: PreTrainedTokenizerBase) -> None:
    tooled = replace(chat("q", "a"), tools=({"type": "function"},))
    with pytest.raises(InvalidInput, match="row 7 has `tools`, which the base's chat template"):
        encode_rows(bytes_, [chat("q", "a"), tooled.with_meta(row=7)], 64)
    calls: Any = {"role": "assistant", "content": "a", "tool_calls": [{"function": {"name": "f"}}]}
    calling = Row((*chat("q", "a").prompt, calls))
    with pytest.raises(InvalidInput, match="a row has `tool_calls`, which"):
        encode_rows(bytes_, [chat("q", "a"), calling], 64)


def test_a_call_alone_says_something(bytes_: PreTrainedTokenizerBase) -> None:
    knowing = copy.deepcopy(bytes_)
    knowing.chat_template = bytes_.chat_template.replace(
        "{{ m.content }}",
        "{{ m.content }}{% for c in m.tool_calls or [] %}!{{ c.function.name }}{% endfor %}",
    )
    call: Any = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}
    row = Row((*chat("q", "a").prompt, call))
    assert learnt(knowing, encode(knowing, row, 64)) == "!f</s>"
