"""Feedback: put once, listed, read.

Invariant: a text (a correction, a remark) is kept only beside the exchange that it is about, sealed
with the same key, and goes with it; a score is kept without either.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound, Refused
from adapterworks.registry.exchanges.exchange import Feedback, Subject, Thumb
from adapterworks.registry.exchanges.rows import feedback_of, named
from adapterworks.registry.exchanges.schema import exchanges
from adapterworks.registry.exchanges.schema import feedback as said
from adapterworks.registry.exchanges.store import Exchanges

_FIELDS = ("reviewer", "thumb", "score", "label", "correction", "comment")


@dataclass(frozen=True, slots=True)
class NewFeedback:
    """What is said of an answer; texts have been through the detectors.

    Attributes:
        once: makes a repetition harmless: the same with the same words is one.
    """

    reviewer: str = ""
    thumb: Thumb = ""
    score: float | None = None
    label: str = ""
    correction: str | None = None
    comment: str | None = None
    once: str | None = None

    def __post_init__(self) -> None:
        if not any((self.thumb, self.label, self.correction, self.comment)) and self.score is None:
            raise InvalidInput(
                "nothing is said of the answer",
                hint="give one of `thumb`, `score`, `label`, `correction`, `comment`",
            )


def require_kept(subject: Subject, new: NewFeedback) -> None:
    """Check that what is said has no text where question and answer are not kept.

    Raises:
        Refused: it has.
    """
    if subject.kept or (new.correction is None and new.comment is None):
        return
    name = "correction" if new.correction is not None else "comment"
    raise Refused(
        f"a `{name}` is a text, and no text of this answer is kept",
        hint="send `thumb`, `score` or `label`; `adapters tenant set NAME --capture ADAPTER` "
        "keeps later answers",
    )


def add(
    store: Exchanges, tenant: str, subject: Subject, new: NewFeedback, now: float
) -> tuple[Feedback, bool]:
    """Keep what is said of an answer, and say whether it is new.

    Raises:
        NotFound: a text, whose exchange was removed while it was written; nothing of it is kept.
        Refused: a text, where question and answer are not kept.
        Conflict: the same idempotency key said something else before.
    """
    texts = {"correction": new.correction, "comment": new.comment}
    has_text = any(text is not None for text in texts.values())
    require_kept(subject, new)
    once = None if new.once is None else _digest(tenant, new.once)
    if once is not None and (before := _before(store, tenant, once)) is not None:
        return _same(before, subject, new), False
    name = f"fb-{secrets.token_hex(12)}"
    if has_text:
        store.files.write(tenant, name, texts)
    values: dict[str, Any] = {
        "id": name,
        "receipt": subject.receipt,
        "tenant": tenant,
        "adapter": subject.adapter,
        "release": subject.release,
        "reviewer": new.reviewer,
        "thumb": new.thumb,
        "score": new.score,
        "label": new.label,
        "sealed": has_text,
        "once": once,
        "created": now,
    }
    try:
        with store.database.write() as connection:
            here = named(exchanges.c.receipt, tenant, subject.receipt)
            if has_text and connection.scalar(here) is None:
                raise NotFound("the answer was removed just now, and nothing said of it is kept")
            raced = once is not None and connection.scalar(
                sa.select(said.c.id).where(said.c.tenant == tenant, said.c.once == once)
            )
            if not raced:
                connection.execute(sa.insert(said).values(**values))
    except BaseException:
        store.files.remove(tenant, name)
        raise
    if raced:
        store.files.remove(tenant, name)
        before = _before(store, tenant, str(once))
        assert before is not None
        return _same(before, subject, new), False
    del values["sealed"], values["once"]
    values |= texts
    return Feedback(**values), True


def listed(
    store: Exchanges,
    *,
    tenant: str | None = None,
    adapter: str | None = None,
    release: str | None = None,
    limit: int | None = None,
    before: int | None = None,
) -> Iterator[tuple[int, Feedback]]:
    """Feedback with its number, newest first; `before` (a number) pages on."""
    query = sa.select(said).order_by(said.c.sequence.desc())
    for column, value in ((said.c.tenant, tenant), (said.c.adapter, adapter)):
        if value is not None:
            query = query.where(column == value)
    if release is not None:
        query = query.where(said.c.release == release)
    if before is not None:
        query = query.where(said.c.sequence < before)
    if limit is not None:
        query = query.limit(limit)
    with store.database.read() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        yield row.sequence, feedback_of(row, store.files)


def _before(store: Exchanges, tenant: str, once: str) -> Feedback | None:
    with store.database.read() as connection:
        row = connection.execute(
            sa.select(said).where(said.c.tenant == tenant, said.c.once == once)
        ).one_or_none()
    return None if row is None else feedback_of(row, store.files)


def _same(before: Feedback, subject: Subject, new: NewFeedback) -> Feedback:
    said_now = {name: getattr(new, name) for name in _FIELDS}
    said_then = {name: getattr(before, name) for name in _FIELDS}
    if before.receipt != subject.receipt or said_now != said_then:
        raise Conflict(
            "this idempotency key came with other feedback before",
            hint="send a new key for what is said anew",
        )
    return before


def _digest(tenant: str, once: str) -> str:
    """A key may be any text of the client's, so the index has its digest."""
    return hashlib.sha256(f"{tenant}\n{once}".encode()).hexdigest()
