"""Where each answer of a conversation stands in its token ids: from its prompt's end to its own.

Invariant: the ids before an answer are those that inference is sent for the same turns; an answer
that the template writes differently once the conversation goes on has no span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapterworks.builders.data.chat import Span, template, tokenize
from adapterworks.builders.data.reasoning import BLOCKS, asked_alike, opening, silence
from adapterworks.builders.data.rows import Message, Row
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.bases.ends import special_ids, turn_end

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class _Turn:
    """One assistant turn: its conversation, and the template's text before and with it."""

    row: int
    before: str
    text: str
    weight: float
    final: bool


def _turns(tokenizer: PreTrainedTokenizerBase, index: int, row: Row, silent: str) -> list[_Turn]:
    turns, messages = [], row.messages
    for turn, message in enumerate(messages):
        if message["role"] == "assistant" and turn > 0:
            text = template(tokenizer, messages[: turn + 1], False, row.tools)
            before = template(tokenizer, messages[:turn], True, row.tools)
            # A block that the row itself has is the row's, empty or not.
            its_own = any(end in message["content"] for end in BLOCKS.values())
            text = asked_alike(before, text, "" if its_own else silent)
            final = turn + 1 == len(messages)
            turns.append(_Turn(index, before, text, message.get("weight", 1.0), final))
    return turns


def chat_spans(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]
) -> list[tuple[list[int], list[Span]]]:
    """Per conversation: its ids and the half-open spans of its supervised turns.

    Three batched tokenizations for all rows. A conversation ends with its last answer's end.

    Raises:
        InvalidInput: as `template`; or the template opens reasoning in its prompt and writes
            conversations without it, so that no answer is written as it is asked for.
    """
    if not rows:
        return []
    silent, end = silence(tokenizer), turn_end(tokenizer)
    by_row = [_turns(tokenizer, i, row, silent) for i, row in enumerate(rows)]
    texts = [
        own[-1].text
        if own and own[-1].final
        else template(tokenizer, row.messages, False, row.tools)
        for own, row in zip(by_row, rows, strict=True)
    ]
    turns = [turn for own in by_row for turn in own]
    ids = tokenize(tokenizer, texts)
    prompts = tokenize(tokenizer, [turn.before for turn in turns])
    with_turns = tokenize(tokenizer, ["" if turn.final else turn.text for turn in turns])
    spans: list[list[Span]] = [[] for _ in rows]
    for turn, prompt, with_turn in zip(turns, prompts, with_turns, strict=True):
        whole = ids[turn.row]
        if turn.final and not turn.text.startswith(turn.before):
            _require_asked_alike(rows[turn.row], turn.before)
        if turn.final and whole[: len(prompt)] != prompt and turn.text.startswith(turn.before):
            # A token grew across the boundary. Inference cannot produce that one: the prompt's ids
            # come first and the answer is tokenized on its own.
            answer = turn.text[len(turn.before) :]
            whole[:] = prompt + tokenize(tokenizer, [answer])[0]
        if whole[: len(prompt)] != prompt:
            continue
        if turn.final:
            stop = _last(whole, end, len(prompt), len(whole))
            if stop is None:
                stop = _end_of_turn(tokenizer, whole, len(prompt), len(whole))
            if stop is None:  # a template that ends no turn: without this it never stops
                whole.append(tokenizer.eos_token_id)
                stop = len(whole)
        else:
            stop = _earlier_stop(tokenizer, whole, with_turn, len(prompt), end)
            if stop is None:
                continue  # the template writes this turn differently once the conversation goes on
        spans[turn.row].append(Span(len(prompt), stop, turn.weight))
    for index, row in enumerate(rows):
        if spans[index]:
            del ids[index][spans[index][-1].stop :]
        if not any(_says_something(turn) for turn in row.messages):
            spans[index] = []  # an end-of-turn token alone teaches silence
    return list(zip(ids, spans, strict=True))


def _earlier_stop(
    tokenizer: PreTrainedTokenizerBase,
    whole: Sequence[int],
    with_turn: Sequence[int],
    start: int,
    end: int | None,
) -> int | None:
    """Where an answer ends that is not the last; None where the conversation has another text.

    Args:
        with_turn: the conversation as it is written up to the answer. Behind the answer's end it
            may have what only the end of a conversation has.
        start: of the answer.
        end: the token that closes an answer, if there is one.
    """
    pairs = enumerate(zip(whole, with_turn, strict=False))
    alike = next((at for at, (a, b) in pairs if a != b), min(len(whole), len(with_turn)))
    stop = _last(whole, end, start, alike)
    if stop is not None and stop == _last(with_turn, end, start, len(with_turn)):
        return stop
    if alike < len(with_turn):
        return None
    return _end_of_turn(tokenizer, whole, start, len(with_turn)) or len(with_turn)


def _last(ids: Sequence[int], token: int | None, start: int, stop: int) -> int | None:
    """The position behind the last `token` of `ids[start:stop]`."""
    found = (at for at in range(stop - 1, start - 1, -1) if ids[at] == token)
    return next((at + 1 for at in found), None)


def _end_of_turn(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], start: int, stop: int
) -> int | None:
    """The position after the turn's last special token, if only white space follows it."""
    special = special_ids(tokenizer)
    for position in range(stop - 1, start - 1, -1):
        if ids[position] in special:
            return position + 1
        if tokenizer.decode([ids[position]]).strip():
            return None
    return None


def _says_something(turn: Message) -> bool:
    return turn["role"] == "assistant" and bool(turn["content"].strip() or turn.get("tool_calls"))


def _require_asked_alike(row: Row, before: str) -> None:
    """Refuse an answer that the template writes in another way than it asks for it."""
    if not _says_something(row.messages[-1]):
        return
    mark = opening(before).strip()
    why = "its chat template writes the answer in another way than it asks for it"
    hint = "use another template: name it in `base.chat_template`"
    if mark:
        why = f"its base's prompt ends within reasoning (`{mark}`), which conversations leave out"
        hint = (
            "if the template has an argument that turns reasoning off, set it "
            "(`base.template_arguments = { enable_thinking = false }`); else name another one in "
            "`base.chat_template`"
        )
    elif any(block in row.messages[-1]["content"] for block in BLOCKS):
        why = "it reasons, and its base is asked not to"
        hint = "leave `enable_thinking = false` out of `base.template_arguments`"
    where = f"row {row.number}" if row.number is not None else "a row"
    raise InvalidInput(f"{where} has no supervised token, as {why}: {row.excerpt(80)}", hint=hint)
