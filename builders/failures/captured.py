"""The failures among captured answers, read where they are sealed: no copy of them is written.

Invariant: of what a tenant allowed when it was asked and what it allows now, the stricter counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from adapterworks.builders.data.rows import ROLES
from adapterworks.builders.failures.reported import Answered, Feedback
from adapterworks.registry.exchanges.exchange import Exchange, Share, strictest


@dataclass(frozen=True, slots=True)
class Owner:
    """A tenant, as it is now.

    Attributes:
        share: who may learn from its answers of this adapter; `none` where its consent is gone.
    """

    name: str
    share: Share


def captured(
    items: Iterable[Exchange], owners: Mapping[str, Owner]
) -> tuple[tuple[Answered, ...], int]:
    """Captured answers as `reported_failures` reads them; how many have turns that are no texts.

    Args:
        owners: by the id of the tenant; an exchange of one that is not there is shared by nobody.
    """
    found, unread = [], 0
    for item in items:
        if not all(_is_text(turn) for turn in item.messages):
            unread += 1
            continue
        owner = owners.get(item.tenant, Owner(item.tenant, "none"))
        found.append(
            Answered(
                receipt=item.receipt,
                tenant=owner.name,
                share=strictest(item.share, owner.share),
                adapter=item.adapter,
                release=item.release or None,
                messages=item.messages,
                answer=item.text,
                feedback=[
                    Feedback(thumb=said.thumb, score=said.score, correction=said.correction)
                    for said in item.feedback
                ],
            )
        )
    return tuple(found), unread


def _is_text(turn: Mapping[str, object]) -> bool:
    return turn.get("role") in ROLES and isinstance(turn.get("content"), str)
