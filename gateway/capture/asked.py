"""`POST /v1/feedback`, as a type: what may be said of an answer, and how long it may be."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from adapterworks.gateway.config.table import Table
from adapterworks.privacy.redact import find
from adapterworks.registry.exchanges.exchange import Feedback
from adapterworks.registry.exchanges.feedback import NewFeedback

# So many digits in a row are a telephone's or a card's more likely than a part of a name.
_NUMBER = re.compile(r"(?<![0-9A-Za-z])[0-9]{9,}(?![0-9A-Za-z])")
# Ids that a program has drawn name somebody to that program alone: a UUID, or as many hex digits.
_DRAWN = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|[0-9a-f]{24,64}", re.IGNORECASE)


def _nobodys(word: str) -> str:
    """A word that is kept as it is, in the clear and for good: it may name nobody.

    Raises:
        ValueError: it looks like personal data or a secret.
    """
    if _DRAWN.fullmatch(word) and not word.isdigit():
        return word
    kinds = {found.kind for found in find(word)}
    if not kinds and _NUMBER.search(word):
        kinds = {"long number"}
    if kinds:
        what = ", ".join(sorted(kinds))
        raise ValueError(f"is kept in the clear and looks like personal data or a secret ({what})")
    return word


Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"), AfterValidator(_nobodys)]
Answer = Annotated[str, Field(min_length=1, max_length=200)]


class AskedFeedback(Table):
    """What one reviewer says of one answer.

    Attributes:
        id: the answer's `x-request-id`, or the id of its completion.
        score: from 0, useless, to 1, as good as can be.
        label: one word of the reviewer's own choosing; like the reviewer kept as it is, so neither
            may be an address or a number of anybody.
        correction: what the answer should have been.
        reviewer: a short name.
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
        """The feedback as it is stored.

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
