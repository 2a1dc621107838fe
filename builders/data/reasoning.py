"""Reasoning before an answer: what of a model's text is the answer, and whose block it is.

Bases that reason write a block ahead of their answer, and their templates write an empty one where
nothing was reasoned. Metrics, rewards and judges are given what is said (`spoken`); the whole text
is kept beside it.

Invariant: an empty block stands in what is learnt where it stands in what is asked, and nowhere
else: one that the template writes between its prompt and an answer is taken out, one that its
prompt ends with is put in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapterworks.builders.data.chat import template
from adapterworks.builders.data.rows import Message, Row
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.bases.ends import special_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What opens and closes reasoning: Qwen, DeepSeek, GLM, SmolLM and most others; Seed; Magistral;
# Command A; Kimi; Sky-T1; EXAONE Deep; Gemma 4.
BLOCKS: dict[str, str] = {
    "<think>": "</think>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<thought>": "</thought>",
    "<|channel>thought": "<channel|>",
}
# gpt-oss: channels, of which the last one is what is said.
_CHANNEL, _FINAL = "<|channel|>", re.compile(r"<\|channel\|>final[^<]*<\|message\|>")
_HARMONY = ("<|start|>", "<|end|>", "<|message|>", _CHANNEL)
_MARKS = {*BLOCKS, *BLOCKS.values(), *_HARMONY, "<|channel>"}
_OPEN = re.compile("|".join(map(re.escape, BLOCKS)))
_OPENED = re.compile(rf"(?:{_OPEN.pattern})\s*\Z")
_EMPTY = "|".join(rf"{re.escape(o)}\s*{re.escape(c)}" for o, c in BLOCKS.items())
_AHEAD, _BEHIND = re.compile(rf"(?:{_EMPTY})\s*"), re.compile(rf"(?:{_EMPTY})\s*\Z")
# What Granite and Hunyuan put an answer into behind their reasoning.
_WRAPPED = re.compile(r"\s*<(answer|response)>(.*?)(?:</\1>\s*)?\Z", re.DOTALL)
_TAIL = 16  # tokens of a prompt that an opening mark is looked for in

_ASKED: Message = {"role": "user", "content": "one?"}
_SAID: Message = {"role": "assistant", "content": "two."}
_LATER: Message = {"role": "user", "content": "three?"}


def spoken(text: str) -> str:
    """An answer without the reasoning ahead of it; empty where it ended within its reasoning.

    A text that reasons nowhere is itself, to the last blank.
    """
    if text.lstrip().startswith((_CHANNEL, "<|start|>")):
        said = [*_FINAL.finditer(text)]
        if not said:
            return ""
        text = text[said[-1].end() :].partition("<|end|>")[0]
    rest = _behind_block(text)
    if rest is None:
        return text
    while (further := _behind_block(rest)) is not None:
        rest = further
    wrapped = _WRAPPED.match(rest)
    return wrapped[2].strip() if wrapped else rest


def _behind_block(text: str) -> str | None:
    """What follows a leading block, or one that was opened before the text; None without one."""
    opened = _OPEN.match(text, len(text) - len(text.lstrip()))
    if opened is not None:
        return text[opened.end() :].partition(BLOCKS[opened[0]])[2].lstrip()
    for mark, end in BLOCKS.items():
        before, found, rest = text.partition(end)
        if found and mark not in before:
            return rest.lstrip()
    return None


def as_spoken(row: Row) -> Row:
    """A row whose own answer is what is said: as metrics, rewards and judges read it."""
    if row.text is not None or (said := spoken(row.answer)) == row.answer:
        return row
    return row.with_answer(said)


def read_answer(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], prompt: Sequence[int] = ()
) -> str:
    """A model's whole text: its reasoning with the marks around it, and no other special tokens.

    Args:
        ids: what it answered.
        prompt: what it was asked; a mark that this ends with opens the text.
    """
    special = special_ids(tokenizer)
    texts = {str(tokenizer.convert_ids_to_tokens(one)) for one in {*ids} & special}
    if texts & _MARKS:
        said = str(tokenizer.decode([*ids], skip_special_tokens=False))
        kept = _MARKS if _CHANNEL in texts else _MARKS - {*_HARMONY}
        for text in texts - kept:
            said = said.replace(text, "")
    else:
        said = str(tokenizer.decode([*ids], skip_special_tokens=True))
    return opening(str(tokenizer.decode([*prompt[-_TAIL:]]))) + said


def opened(tokenizer: PreTrainedTokenizerBase) -> str:
    """The mark of reasoning that the template's prompts end with, or ""."""
    try:
        return opening(template(tokenizer, [_ASKED], True))
    except InvalidInput:  # there is no template
        return ""


def opening(prompt: str) -> str:
    """The mark of reasoning, with the blanks behind it, that a prompt's text ends with, or ""."""
    found = _OPENED.search(prompt)
    return found[0] if found else ""


def asked_alike(before: str, text: str, silence: str) -> str:
    """A conversation's text up to an answer, with the empty block where inference has it.

    Args:
        before: the prompt of the answer that `text` ends with.
        text: as the template writes it.
        silence: of the tokenizer.
    """
    if text.startswith(before):
        behind = text[len(before) :]
        return before + behind.removeprefix(silence) if silence else text
    ends = _BEHIND.search(before)
    if ends is None or not text.startswith(before[: ends.start()]):
        return text
    # Reasoning that a row has itself is not written behind a block that says there is none.
    reasons = _OPEN.match(text, ends.start())
    return text if reasons else before + text[ends.start() :]


def silence(tokenizer: PreTrainedTokenizerBase) -> str:
    """The empty block that the template writes between its prompt and the last answer and leaves
    out of earlier ones (Qwen3's, where thinking is not turned off); else ""."""
    if not any(mark in str(tokenizer.chat_template) for mark in BLOCKS):
        return ""
    try:
        before = template(tokenizer, [_ASKED], True)
        whole = template(tokenizer, [_ASKED, _SAID], False)
    except InvalidInput:
        return ""
    found = _AHEAD.match(whole, len(before)) if whole.startswith(before) else None
    if found is None:
        return ""
    try:
        later = template(tokenizer, [_ASKED, _SAID, _LATER], False)
    except InvalidInput:
        later = ""
    return "" if later.startswith(before + found[0]) else found[0]
