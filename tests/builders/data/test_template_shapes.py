"""What is learnt of a conversation, under the templates that bases are published with."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerBase

from adapterworks.builders.data.gates.run import losses_of
from adapterworks.builders.data.reasoning import (
    as_spoken,
    opening,
    read_answer,
    silence,
    spoken,
)
from adapterworks.builders.data.render import IGNORED, Encoded, encode, render_prompt
from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.data.template_lints import template_lints
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.bases.ends import special_ids, turn_end
from tests.builders.data.shapes import DEEPSEEK_R1, SHAPES, Shape

TALK = Row(
    (
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "again"},
        {"role": "assistant", "content": "two"},
    )
)
REASONED = "<think>\nso\n</think>\n\ntwo"


def learnt(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> tuple[str, ...]:
    """Each span's text."""
    spans: list[list[int]] = [[]]
    for label in encoded.labels:
        if label != IGNORED:
            spans[-1].append(label)
        elif spans[-1]:
            spans.append([])
    return tuple(tokenizer.decode(span) for span in spans if span)


@pytest.fixture(params=SHAPES.values(), ids=[*SHAPES])
def shape(request: pytest.FixtureRequest) -> Shape:
    found: Shape = request.param
    return found


def test_every_answer_that_is_served_as_it_is_written_is_learnt_to_its_end(shape: Shape) -> None:
    """Phi's conversations end with a token that earlier answers lack, Command R7B's with the next
    turn's header, and Gemma 3's end of a turn has no role: none of it is learnt or missed."""
    tokenizer = shape.tokenizer()
    encoded = encode(tokenizer, TALK, 4096)
    assert learnt(tokenizer, encoded) == shape.learnt
    assert encoded.unlearnt == 2 - len(shape.learnt)
    assert encoded.labels[-1] != IGNORED
    assert tokenizer.decode(encoded.input_ids).endswith(shape.learnt[-1])


def test_what_is_learnt_follows_the_ids_that_are_asked(shape: Shape) -> None:
    tokenizer = shape.tokenizer()
    for row in (TALK, chat("q", "two")):
        prompt = render_prompt(tokenizer, row.prompt)
        encoded = encode(tokenizer, row, 4096)
        assert encoded.input_ids[: len(prompt)] == prompt
        assert encoded.labels[len(prompt) - 1] == IGNORED
        assert encoded.labels[len(prompt)] == encoded.input_ids[len(prompt)]


def test_what_was_learnt_is_read_as_what_the_row_says(shape: Shape) -> None:
    """An adapter that says exactly what it learnt has given the right answer."""
    tokenizer = shape.tokenizer()
    prompt = render_prompt(tokenizer, TALK.prompt)
    encoded = encode(tokenizer, TALK, 4096)
    whole = read_answer(tokenizer, encoded.input_ids[len(prompt) :], prompt)
    assert spoken(whole).strip() == "two"


def test_the_end_of_an_answer_is_known(shape: Shape) -> None:
    tokenizer, end = shape.tokenizer(), None
    if shape.end is not None:
        end = tokenizer.convert_tokens_to_ids(shape.end)
    assert turn_end(tokenizer) == end


def test_tokens_that_are_only_marked_as_special_are_special(shape: Shape) -> None:
    tokenizer = shape.tokenizer()
    names = {tokenizer.convert_ids_to_tokens(one) for one in special_ids(tokenizer)}
    assert names >= {*shape.marked, shape.eos}
    assert not names & {*shape.plain}


def test_an_empty_block_that_is_not_asked_with_is_said_and_not_learnt(shape: Shape) -> None:
    tokenizer = shape.tokenizer()
    assert silence(tokenizer) == shape.silent
    said = [what for what, _ in template_lints(tokenizer, replaced=False, own="")]
    assert any("empty reasoning block" in what for what in said) == bool(shape.silent)


def test_reasoning_of_a_row_is_learnt_and_of_earlier_answers_left_out() -> None:
    tokenizer = SHAPES["qwen-3"].tokenizer()
    row = Row((*TALK.messages[:3], {"role": "assistant", "content": REASONED}))
    encoded = encode(tokenizer, row, 4096)
    assert learnt(tokenizer, encoded) == ("one<|im_end|>", f"{REASONED}<|im_end|>")
    earlier = Row(
        (TALK.messages[0], {"role": "assistant", "content": REASONED}, *TALK.messages[2:])
    )
    encoded = encode(tokenizer, earlier, 4096)
    assert (learnt(tokenizer, encoded), encoded.unlearnt) == (("two<|im_end|>",), 1)


def test_an_empty_block_that_the_row_has_is_the_rows() -> None:
    tokenizer = SHAPES["qwen-3"].tokenizer()
    encoded = encode(tokenizer, chat("q", "<think>\n\n</think>\n\ntwo"), 4096)
    assert learnt(tokenizer, encoded) == ("<think>\n\n</think>\n\ntwo<|im_end|>",)


def test_an_answer_that_cannot_be_learnt_as_it_is_asked_for_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidInput, match="row 7 has no supervised token, as its base's prompt "
                       "ends within reasoning") as refused:  # fmt: skip
        encode(DEEPSEEK_R1.tokenizer(), chat("q", "two").with_meta(row=7), 64)
    assert "enable_thinking = false" in (refused.value.hint or "")
    quiet = SHAPES["qwen-3, not thinking"].tokenizer()
    with pytest.raises(InvalidInput, match="it reasons, and its base is asked not to"):
        encode(quiet, chat("q", REASONED), 64)
    assert losses_of(quiet, [chat("q", REASONED)], 64) == [(0, 0, 0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("R50.9", "R50.9"),
        ("  R50.9 \n", "  R50.9 \n"),
        ("<think>\n\n</think>\n\nR50.9", "R50.9"),
        ("\n<think>a\n<b></think>\n<think>c</think> R50.9 ", "R50.9 "),
        ("so it is\n</think>\n\nR50.9", "R50.9"),
        ("<think>it goes on", ""),
        ("[THINK]a[/THINK]R50.9", "R50.9"),
        ("<seed:think>a</seed:think>R50.9", "R50.9"),
        ("<|START_THINKING|>a<|END_THINKING|>R50.9", "R50.9"),
        ("◁think▷a◁/think▷R50.9", "R50.9"),
        ("<|channel>thought\na<channel|>R50.9", "R50.9"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>"
            "R50.9",
            "R50.9",
        ),
        ("<|channel|>analysis<|message|>it goes on", ""),
        ("<think>a</think><answer>\nR50.9\n</answer>", "R50.9"),
        ("<think>a</think>\n\n<response>R50.9", "R50.9"),
        ("<answer>R50.9</answer>", "<answer>R50.9</answer>"),
        ("Write <think> and </think> around it.", "Write <think> and </think> around it."),
        ("", ""),
    ],
)
def test_an_answer_is_what_is_said_behind_the_reasoning(text: str, said: str) -> None:
    assert spoken(text) == said
    assert spoken(said) == said
    assert as_spoken(chat("q", text)).answer == said
    assert as_spoken(Row(text=text)).text == text


def test_marks_that_are_special_tokens_are_read_too() -> None:
    """To leave out special tokens alone would leave the reasoning, without its marks."""
    tokenizer = SHAPES["gpt-oss"].tokenizer()
    text = "<|channel|>analysis<|message|>so<|end|><|start|>assistant<|channel|>final<|message|>R50"
    ids = tokenizer(f"{text}<|return|>", add_special_tokens=False)["input_ids"]
    assert read_answer(tokenizer, ids) == text
    assert spoken(read_answer(tokenizer, ids)) == "R50"
    plain = SHAPES["phi-3"].tokenizer()
    ids = plain("R50<|end|><|endoftext|>", add_special_tokens=False)["input_ids"]
    assert read_answer(plain, ids) == "R50"


def test_a_prompt_that_opens_reasoning_opens_the_text() -> None:
    assert opening("<|im_start|>assistant\n<think>\n") == "<think>\n"
    assert opening("<|im_start|>assistant\n<think>\n\n</think>\n\n") == ""
    tokenizer = SHAPES["qwen-3-thinking"].tokenizer()
    prompt = render_prompt(tokenizer, TALK.prompt)
    ids = tokenizer("so it goes on", add_special_tokens=False)["input_ids"]
    assert read_answer(tokenizer, ids, prompt) == "<think>\nso it goes on"
    assert spoken(read_answer(tokenizer, ids, prompt)) == ""
