"""`POST /v1/feedback`, as a type: what may be said of an answer, and how long it may be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from adapterworks.gateway.config.table import Table
from adapterworks.registry.exchanges.exchange import Feedback
from adapterworks.registry.exchanges.feedback import NewFeedback

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Answer = Annotated[str, Field(min_length=1, max_length=200)]


class AskedFeedback(Table):
    """What one reviewer says of one answer.

    Attributes:
        id: the answer's `x-request-id`, or the id of its completion.
        score: from 0, useless, to 1, as good as can be.
        label: one word of the reviewer's own choosing.
        correction: what the answer should have been.
        reviewer: a short name; no address of anybody.
        idempotency_key: what makes sending it twice harmless.
    """

    id: Answer
    thumb: Literal["up", "down"] | None = None
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    label: Word | None = None
    correction: Annotated[str, Field(min_length=1, max_length=100_000)] | None = None
    comment: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    reviewer: Word | None = None
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    def new(self) -> NewFeedback:
        """As it is put.

        Raises:
            InvalidInput: it says nothing.
        """
        return NewFeedback(
            reviewer=self.reviewer or "",
            thumb=self.thumb or "",
            score=self.score,
            label=self.label or "",
            correction=self.correction,
            comment=self.comment,
            once=self.idempotency_key,
        )


def feedback_object(said: Feedback) -> dict[str, Any]:
    """Feedback as it is answered."""
    return {
        "id": said.id,
        "object": "feedback",
        "created_at": int(said.created),
        "receipt": said.receipt,
        "adapter": said.adapter,
        "release": said.release,
        **said.said(),
    }
