"""Keeping feedback: its texts are looked through like everything else that is kept."""

from __future__ import annotations

import time
from dataclasses import replace

from adapterworks.gateway.tenants.consent import OnPersonal
from adapterworks.manifests.errors import Refused
from adapterworks.privacy.redact import Unredactable, redact
from adapterworks.registry.exchanges import feedback
from adapterworks.registry.exchanges.exchange import Feedback, Subject
from adapterworks.registry.exchanges.feedback import NewFeedback
from adapterworks.registry.exchanges.store import Exchanges


def say(
    store: Exchanges, tenant: str, subject: Subject, new: NewFeedback, on_personal: OnPersonal
) -> tuple[Feedback, bool]:
    """Keep what is said of an answer, redacted, and say whether it is new.

    A text that is not kept anyway is not looked through: that takes seconds for a long one.

    Raises:
        Refused: a text of an answer that is not kept, or one with personal data where the tenant
            lets none be kept, redacted or not.
        Conflict: as `feedback.add`.
    """
    feedback.require_kept(subject, new)
    cleaned = replace(
        new,
        correction=_clean("correction", new.correction, on_personal),
        comment=_clean("comment", new.comment, on_personal),
    )
    return feedback.add(store, tenant, subject, cleaned, time.time())


def _clean(name: str, text: str | None, on_personal: OnPersonal) -> str | None:
    if text is None:
        return None
    try:
        kept, kinds = redact(text)
    except Unredactable as error:
        raise Refused(f"`{name}` cannot be kept: {error}") from error
    if kinds and on_personal == "drop":
        raise Refused(
            f"`{name}` holds personal data or a secret ({', '.join(kinds)}), which is not kept",
            hint="leave it out and send the rest",
        )
    return kept
