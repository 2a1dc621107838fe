"""One question with its answer, as it is kept, and what people said of it: frozen values.

Invariant: texts in here have been through the detectors of personal data and secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Share = Literal["none", "own", "all"]
"""Who may learn from it: nobody, the tenant's own adapters, or anybody's."""
SHARES: tuple[Share, ...] = ("none", "own", "all")


def strictest(*shares: Share) -> Share:
    """The one by which fewest may learn."""
    return min(shares, key=SHARES.index)


Thumb = Literal["up", "down", ""]


@dataclass(frozen=True, slots=True)
class Subject:
    """The answer that feedback is about.

    Attributes:
        receipt: the request's id, `x-request-id`.
        adapter: name of the adapter, or `base:NAME`.
        release: digest of what answered; of the base where a base did.
        kept: whether question and answer are there.
    """

    receipt: str
    adapter: str
    release: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one reviewer said of one answer.

    Attributes:
        tenant: id of the tenant that was answered.
        reviewer: a short name; empty where it is not said.
        score: from 0 to 1.
        correction: what the answer should have been; None where nothing was said, or where it is
            not kept any more.
        created: seconds since the epoch.
    """

    id: str
    receipt: str
    tenant: str
    adapter: str
    release: str
    reviewer: str
    thumb: Thumb
    score: float | None
    label: str
    correction: str | None
    comment: str | None
    created: float

    def said(self) -> dict[str, Any]:
        """What was said and by whom, as it is shown: None where nothing was said."""
        return {
            "reviewer": self.reviewer or None,
            "thumb": self.thumb or None,
            "score": self.score,
            "label": self.label or None,
            "correction": self.correction,
            "comment": self.comment,
        }


@dataclass(frozen=True, slots=True)
class Exchange:
    """One captured exchange.

    Attributes:
        id: of the completion, `chatcmpl-…`.
        receipt: the request's id, `x-request-id`.
        tenant: id of the tenant that asked.
        adapter: name of the adapter, or `base:NAME`.
        ref: what the client named, `medical:prod`.
        release: digest of the release that answered; empty where a base did.
        base: digest of the base.
        template: digest of the base's chat template; empty if unknown.
        share: who may learn from it.
        stored: whether the client asked for it to be kept (`store: true`).
        request: OpenAI's payload, redacted.
        answer: the whole `chat.completion`, redacted.
        metadata: the client's own pairs.
        redacted: kinds of what was taken out.
        created, expires: seconds since the epoch.
    """

    id: str
    receipt: str
    tenant: str
    adapter: str
    ref: str
    release: str
    base: str
    template: str
    share: Share
    stored: bool
    request: Mapping[str, Any]
    answer: Mapping[str, Any]
    metadata: Mapping[str, str]
    redacted: tuple[str, ...]
    created: float
    expires: float
    feedback: tuple[Feedback, ...] = ()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The turns that were asked."""
        return list(self.request["messages"])

    @property
    def text(self) -> str:
        """The first answer's text; empty where it only calls tools."""
        return str(self.answer["choices"][0]["message"].get("content") or "")

    @property
    def tokens(self) -> tuple[int, int]:
        """Of the prompt and of the answer, as the engine counted them; 0 where it did not."""
        usage = self.answer.get("usage") or {}
        return int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)

    def with_feedback(self, said: tuple[Feedback, ...]) -> Exchange:
        """The exchange with what people said of it."""
        return replace(self, feedback=said)
