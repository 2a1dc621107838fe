"""The row: what every source and every format ends as, and what everything downstream reads.

Invariant: a row is either a conversation (`messages`, with at least one assistant turn, the last
message being one) or plain text for continued pre-training (`text`); never both. A conversation may
have further answers to the same turns (`others`) and a judgement of each (`scores`). Rows are never
changed in place; `meta` carries where a row came from and what metrics and gates may use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, NotRequired, TypedDict

from adapterworks.manifests.digests import canonical_json, digest_bytes

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
# What a row offers to learn from: an objective says which of these it takes. `judged` is one answer
# with a judgement, `comparison` several answers to the same turns, `stepped` an answer in steps, of
# which each has a judgement.
RowKind = Literal["conversation", "document", "comparison", "judged", "stepped"]


class Message(TypedDict):
    """One turn of a conversation, with the keys of OpenAI's chat API.

    Keys beside role and content are there only where they say something: `weight` (how much an
    assistant turn counts in the loss; 1 if not given, 0 is not learnt), `tool_calls`,
    `tool_call_id` and `name`.
    """

    role: Role
    content: str
    weight: NotRequired[float]
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]


Answer = tuple[Message, ...]
# The key of `meta` with a record's own columns whose names `meta` uses itself (`row`, `source`).
OWN = "columns"


@dataclass(frozen=True)
class Row:
    """One example.

    Attributes:
        messages: the turns, ending with the answer; empty for a text row.
        meta: JSON values that are not shown to the model (code, category, `source`, and the columns
            that the row's format does not read); `row` is its 1-based number in its source.
        text: the whole of a text row.
        tools: JSON schemas of the functions that may be called, as the template gets them.
        others: further answers to `context`, the next best first; each ends with an assistant turn.
        answer_turns: how many of the last messages are the row's own answer; more than one where it
            calls tools or goes on for several turns.
        scores: a judgement of each answer (the row's own first, then `others`), or empty: higher is
            better.
        steps: the steps of the row's own answer, each with its judgement, 0 bad to 1 good; or
            empty.
    """

    messages: tuple[Message, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    others: tuple[Answer, ...] = ()
    answer_turns: int = 1
    scores: tuple[float, ...] = ()
    steps: tuple[tuple[str, float], ...] = ()

    @property
    def kind(self) -> RowKind:
        """What there is to learn from it."""
        if self.text is not None:
            return "document"
        if self.others:
            return "comparison"
        if self.steps:
            return "stepped"
        return "judged" if self.scores else "conversation"

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns before the final answer: what generation is given (without weights)."""
        return tuple(unweighted(turn) for turn in self.messages[:-1])

    @property
    def context(self) -> tuple[Message, ...]:
        """The turns that every answer goes on from; the prompt, unless answers have more turns."""
        return self.messages[: len(self.messages) - self.answer_turns]

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Every answer as turns after `context`: the row's own, which is the best, then others."""
        return (self.messages[len(self.messages) - self.answer_turns :], *self.others)

    @property
    def question(self) -> str:
        """The last user turn that every answer goes on from; empty for a text row."""
        return next((m["content"] for m in reversed(self.context) if m["role"] == "user"), "")

    @property
    def answer(self) -> str:
        """The final assistant turn; a text row's whole text."""
        return self.text if self.text is not None else self.messages[-1]["content"]

    @property
    def columns(self) -> dict[str, Any]:
        """What graders are given of it: `meta`, and the record's own columns of names that `meta`
        uses itself."""
        others = {key: value for key, value in self.meta.items() if key != OWN}
        return {**others, **self.meta.get(OWN, {})}

    @property
    def number(self) -> int | None:
        """The row's 1-based number in its source, where known."""
        value = self.meta.get("row")
        return value if isinstance(value, int) else None

    @cached_property
    def digest(self) -> str:
        """`sha256:…` of what the model sees and what is learnt from it (not of `meta`)."""
        if self.text is not None:
            return digest_bytes(canonical_json({"text": self.text}))
        content: dict[str, Any] = {"messages": [*self.messages]}
        # Only what is there: rows of one answer keep the digests they have always had.
        if self.tools:
            content["tools"] = [*self.tools]
        if self.others:
            content["others"] = [[*answer] for answer in self.others]
        if self.answer_turns != 1:
            content["answer_turns"] = self.answer_turns
        if self.scores:
            content["scores"] = [*self.scores]
        if self.steps:
            content["steps"] = [[*step] for step in self.steps]
        return digest_bytes(canonical_json(content))

    def with_meta(self, /, **values: Any) -> Row:
        """The same row with further meta values."""
        return replace(self, meta={**self.meta, **values})

    def with_answer(self, text: str) -> Row:
        """The same conversation with another text as its final turn."""
        last = self.messages[-1].copy()
        last["content"] = text
        return replace(self, messages=(*self.messages[:-1], last))

    def answered(self, number: int) -> Row:
        """The conversation with one of its answers (0 is its own), as a row of one answer.

        An answer of several turns is learnt whole; turns of the context are not, as they are the
        same whichever answer follows.
        """
        context = tuple(
            {**turn, "weight": 0.0} if turn["role"] == "assistant" else turn
            for turn in self.context
        )
        return Row((*context, *self.answers[number]), self.meta, tools=self.tools)  # type: ignore[arg-type]

    def excerpt(self, limit: int = 160) -> str:
        """One line that shows the row in an error message."""
        shown = (
            self.text
            if self.text is not None
            else " | ".join(f"{m['role']}: {m['content']}" for m in self.messages)
        )
        line = " ".join(shown.split())
        return line if len(line) <= limit else line[: limit - 1] + "…"


def to_record(row: Row) -> dict[str, Any]:
    """A row as JSON values, all of it: for a process that is given rows."""
    return {**{f.name: getattr(row, f.name) for f in fields(row)}, "meta": {**row.meta}}


def from_record(values: Mapping[str, Any]) -> Row:
    """The row that `to_record` wrote."""
    lists = {"messages", "tools", "others", "scores"}
    given = {key: tuple(v) if key in lists else v for key, v in values.items()}
    nested = {key: tuple(tuple(one) for one in given.get(key, ())) for key in ("others", "steps")}
    return Row(**given | nested)


def unweighted(turn: Message) -> Message:
    """A turn as the template and an engine get it."""
    if "weight" not in turn:
        return turn
    copy = turn.copy()
    del copy["weight"]
    return copy


def chat(user: str, assistant: str, **meta: Any) -> Row:
    """A conversation of one question and one answer."""
    return Row(
        ({"role": "user", "content": user}, {"role": "assistant", "content": assistant}), meta
    )


def rows_digest(rows: Iterable[Row]) -> str:
    """`sha256:…` of an ordered collection of rows: the digest of their digests."""
    return digest_of(row.digest for row in rows)


def digest_of(digests: Iterable[str]) -> str:
    """`rows_digest` of the rows that have these digests."""
    hasher = hashlib.sha256()
    for number, digest in enumerate(digests):
        hasher.update(f"\n{digest}".encode() if number else digest.encode())
    return "sha256:" + hasher.hexdigest()
