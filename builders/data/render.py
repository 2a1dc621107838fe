"""Rows → token ids and labels, through the base tokenizer's own chat template.

Invariant: the ids before an answer are exactly the ids that inference sends for the same turns
(template with generation prompt, no further special tokens): the template at inference is the
template in training. A turn is supervised only where this holds (`spans.py`): its prompt's ids must
be a prefix of the whole conversation's. Labels are −100 outside the loss; the loss covers the
answer and its end-of-turn token, not what the template writes after it. What a row has and the
template would not show (tools, tool calls) is refused. A turn of weight 0 is not supervised; other
weights than 1 are a column of their own.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from adapterworks.builders.data.chat import RENDERED_ON as RENDERED_ON
from adapterworks.builders.data.chat import Span, template, tokenize
from adapterworks.builders.data.many import short
from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.data.shorten import shortened
from adapterworks.builders.data.spans import chat_spans
from adapterworks.builders.data.spool import Spool
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
LossOn = Literal["completion", "last", "all"]
# A prompt that must be shortened for its answer keeps at least this share of `max_length`.
PROMPT_SHARE = 0.25
_BATCH = 512
_KNOWN: ContextVar[Known | None] = ContextVar("encoded", default=None)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One training sequence.

    Attributes:
        input_ids: token ids, at most `max_length`.
        labels: same length; −100 where there is no loss.
        row: index of the row in the rows that were encoded.
        cut: supervised tokens lost to `max_length`.
        columns: further values of each token by name, as long as `input_ids`; `weights` where a
            turn's weight is neither 0 nor 1.
        values: further values of the sequence by name.
        cut_prompt: tokens of what is asked lost to `max_length`.
        unlearnt: answers that are not learnt, since the template writes them differently once the
            conversation goes on (without their reasoning, say).
    """

    input_ids: list[int]
    labels: list[int]
    row: int = 0
    cut: int = 0
    columns: Mapping[str, Sequence[float]] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    cut_prompt: int = 0
    unlearnt: int = 0


def encode(
    tokenizer: PreTrainedTokenizerBase, row: Row, max_length: int, loss_on: LossOn = "completion"
) -> Encoded:
    """One row as one sequence; of a long text row, its first `max_length` tokens.

    Raises:
        InvalidInput: no token is supervised, or the tokenizer has no chat template.
    """
    return encode_rows(tokenizer, [row], max_length, loss_on)[0]


def encode_rows(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    max_length: int,
    loss_on: LossOn = "completion",
    *,
    lengths: Sequence[int] = (),
    asked: bool = False,
) -> list[Encoded]:
    """All rows, in order, tokenized in batches; a long text row gives several sequences.

    Args:
        lengths: for each row the tokens of the longest that it is compared with: it loses as much
            of its prompt as that one.
        asked: what is asked alone, with the first token of the answer.

    Raises:
        InvalidInput: a row has no supervised token, or the tokenizer has no chat template.
    """
    sequences: list[Encoded] = []
    known = None if lengths else _KNOWN.get()
    under = (id(tokenizer), max_length, "asked" if asked else loss_on)
    for start in range(0, len(rows), _BATCH):
        batch = tuple(rows[start : start + _BATCH])
        new = batch
        if known is not None:
            new = tuple(row for row in batch if not known.has(under, row))
        _require_shown(tokenizer, new)
        chats = iter(chat_spans(tokenizer, [row for row in new if row.text is None]))
        texts = iter(tokenize(tokenizer, [r.text for r in new if r.text is not None], True))
        fresh = {id(row) for row in new}
        for index, row in enumerate(batch, start):
            if id(row) not in fresh:
                assert known is not None
                made = [replace(each, row=index) for each in known.of(under, row)]
            elif row.text is not None:
                made = _text_sequences(tokenizer, next(texts), max_length, index)
            else:
                ids, spans = next(chats)
                if asked:
                    spans = _asked(ids, spans)
                long = lengths[index] if lengths else 0
                one = _fit(tokenizer, ids, spans, max_length, loss_on, row, index, long)
                made = [replace(one, unlearnt=0) if asked else one]
            # The first token has nothing before it to be predicted by.
            if all(label == IGNORED for label in made[-1].labels[1:]):
                raise _unsupervised(row, index)
            if known is not None and id(row) in fresh:
                known.keep(under, row, made)
            sequences += made
    return sequences


class Known:
    """Rows that were encoded, in a file (`spool.py`): tokens are more than texts."""

    def __init__(self) -> None:
        self._spool = Spool()
        self._where: dict[tuple[int, int, str], dict[bytes, int]] = {}

    def has(self, under: tuple[int, int, str], row: Row) -> bool:
        """Whether a row is known under a tokenizer, length and loss."""
        return short(row.digest) in self._where.get(under, {})

    def keep(self, under: tuple[int, int, str], row: Row, made: Sequence[Encoded]) -> None:
        """Remember what a row was encoded as."""
        number = self._spool.put([to_plain(each) for each in made])
        self._where.setdefault(under, {})[short(row.digest)] = number

    def of(self, under: tuple[int, int, str], row: Row) -> list[Encoded]:
        """What it was encoded as; it is known."""
        found = self._spool.get(self._where[under][short(row.digest)])
        return [from_plain(values) for values in found]


def to_plain(each: Encoded) -> tuple[Any, ...]:
    """A sequence as plain values; tokens are 4 bytes each."""
    ids, labels = array("i", each.input_ids).tobytes(), array("i", each.labels).tobytes()
    further = ({k: [*v] for k, v in each.columns.items()}, {**each.values})
    return ids, labels, each.row, each.cut, *further, each.cut_prompt, each.unlearnt


def from_plain(values: Sequence[Any]) -> Encoded:
    """The sequence that `to_plain` gave."""
    ids, labels = (array("i", data).tolist() for data in values[:2])
    return Encoded(ids, labels, *values[2:])


@contextmanager
def encoded_once() -> Iterator[None]:
    """Within it a row is encoded once for each tokenizer, length and loss, whoever asks: gates look
    at the tokens of rows that are then trained on."""
    token = _KNOWN.set(Known())
    try:
        yield
    finally:
        _KNOWN.reset(token)


def render_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """The ids that inference sends for these turns (what vLLM's chat endpoint renders)."""
    return render_prompts(tokenizer, [messages])[0]


def render_prompts(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[Message]],
    tools: Sequence[Sequence[Mapping[str, Any]]] = (),
) -> list[list[int]]:
    """The ids that inference sends for each of several conversations, with each one's tools."""
    given = tools or [()] * len(conversations)
    texts = [
        template(tokenizer, turns, True, its)
        for turns, its in zip(conversations, given, strict=True)
    ]
    return tokenize(tokenizer, texts)


def _require_shown(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> None:
    """Refuse tools and tool calls that the template leaves out: nothing of them would be learnt."""
    unseen: dict[str, Row] = {}
    with_tools = next((row for row in rows if row.tools), None)
    calling = next((row for row in rows if any("tool_calls" in m for m in row.messages)), None)
    if with_tools is not None:
        turns = with_tools.prompt
        if template(tokenizer, turns, True, with_tools.tools) == template(tokenizer, turns, True):
            unseen["`tools`"] = with_tools
    if calling is not None:
        without = [{**turn, "tool_calls": []} for turn in calling.messages]
        if template(tokenizer, calling.messages, False, calling.tools) == template(
            tokenizer,
            without,  # type: ignore[arg-type]
            False,
            calling.tools,
        ):
            unseen["`tool_calls`"] = calling
    if unseen:
        raise _not_shown(next(iter(unseen.values())), " and ".join(unseen))


def _not_shown(row: Row, what: str) -> InvalidInput:
    where = f"row {row.number}" if row.number is not None else "a row"
    return InvalidInput(
        f"{where} has {what}, which the base's chat template does not show: {row.excerpt(80)}",
        hint="use a base whose template knows tools, or write them into the turns' text",
    )


def _asked(ids: list[int], spans: list[Span]) -> list[Span]:
    """The spans up to the first that is learnt, of which one token is left; `ids` end with it."""
    for number, span in enumerate(spans):
        if span.weight:
            del ids[span.start + 1 :]
            return [*spans[:number], span._replace(stop=span.start + 1)]
    return spans


def _fit(
    tokenizer: PreTrainedTokenizerBase,
    ids: list[int],
    spans: list[Span],
    max_length: int,
    loss_on: LossOn,
    row: Row,
    index: int,
    longest: int = 0,
) -> Encoded:
    """Shorten to `max_length`: the prompt first (`shorten.py`); then the answer, from its right.

    Args:
        longest: tokens of the longest that it is compared with, for which its prompt is shortened.
    """
    if not spans:
        raise _unsupervised(row, index)
    answers = [turn for turn in row.messages[1:] if turn["role"] == "assistant"]
    unlearnt = sum(bool(turn.get("weight", 1.0)) for turn in answers) - sum(
        bool(span.weight) for span in spans
    )
    if loss_on == "last":
        spans = [*(span._replace(weight=0.0) for span in spans[:-1]), spans[-1]]
    supervised = sum(span.stop - span.start for span in spans if span.weight)
    head, first, last = 0, 0, len(ids)  # ids[:head] and ids[first:last] are what stays
    if (length := max(len(ids), longest)) > max_length:
        answer = spans[-1].start
        room = max(max_length - (length - answer), min(answer, int(max_length * PROMPT_SHARE)))
        last = min(len(ids), answer + max_length - room)
        head, first = shortened(tokenizer, row, ids, spans, room)
    labels = [IGNORED] * len(ids)
    if loss_on == "all":
        labels[:] = ids
    for start, stop, weight in spans:
        if not weight:
            labels[start:stop] = [IGNORED] * (stop - start)
        elif start >= first:  # half an answer without its beginning is noise
            labels[start:stop] = ids[start:stop]
    kept, kept_labels = ids[:head] + ids[first:last], labels[:head] + labels[first:last]
    if first and not head and ids[0] == tokenizer.bos_token_id:
        kept[0], kept_labels[0] = ids[0], IGNORED
    kept_supervised = sum(
        max(0, min(span.stop, last) - span.start)
        for span in spans
        if span.start >= first and span.weight
    )
    columns = _weights(spans, len(ids), head, first, last)
    lost = supervised - kept_supervised
    return Encoded(
        kept, kept_labels, index, lost, columns, cut_prompt=first - head, unlearnt=unlearnt
    )


def _weights(
    spans: Sequence[Span], length: int, head: int, first: int, last: int
) -> dict[str, list[float]]:
    """Each token's weight, where labels alone do not say it."""
    if all(span.weight in (0.0, 1.0) for span in spans):
        return {}
    weights = [1.0] * length
    for start, stop, weight in spans:
        weights[start:stop] = [weight] * (stop - start)
    return {"weights": weights[:head] + weights[first:last]}


def _text_sequences(
    tokenizer: PreTrainedTokenizerBase, ids: list[int], max_length: int, index: int
) -> list[Encoded]:
    """A text as consecutive sequences of at most `max_length`, closed by the end-of-text token."""
    if ids and tokenizer.eos_token_id is not None and ids[-1] != tokenizer.eos_token_id:
        ids = [*ids, tokenizer.eos_token_id]
    pieces = [ids[at : at + max_length] for at in range(0, len(ids), max_length)] or [[]]
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        del pieces[-1]  # a single token predicts nothing
    return [Encoded(piece, [*piece], index) for piece in pieces]


def _unsupervised(row: Row, index: int) -> InvalidInput:
    number = row.number or index + 1
    return InvalidInput(
        f"row {number} has no supervised token: {row.excerpt()}",
        hint="every row needs an answer with text; check `data.format` and `data.columns`",
    )
