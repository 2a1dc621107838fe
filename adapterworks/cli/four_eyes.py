"""The moves of aliases that one person asks for and another decides on, shown and decided."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapterworks.app import App
from adapterworks.cli import printing

if TYPE_CHECKING:
    from adapterworks.registry.lifecycle.approval import Request


def decide(app: App, approve: int | None, deny: int | None, why: str, *, as_json: bool) -> None:
    """List what was asked for, or decide one of it."""
    who = app.settings.who
    if approve is not None:
        show([app.registry.approvals.approve(approve, who=who, why=why)], as_json=as_json)
    elif deny is not None:
        show([app.registry.approvals.deny(deny, who=who, why=why)], as_json=as_json)
    else:
        show(app.registry.approvals.requests(), as_json=as_json)


def show(requests: Sequence[Request], *, as_json: bool) -> None:
    """Requests as a table."""
    if as_json:
        values = [dataclasses.asdict(request) for request in requests]
        for value in values:
            if not isinstance(value["expect"], int | None):
                del value["expect"]  # nothing was expected
        printing.echo_json(values)
        return
    words = {None: "open", "approve": "approved", "deny": "denied"}
    printing.echo_table(
        ("id", "move", "by", "why", "approved by", "state"),
        (
            (
                request.id,
                f"{request.name}:{request.alias} → {request.name}@{request.version}",
                request.who,
                request.why,
                " ".join(request.approved_by),
                words[request.outcome],
            )
            for request in requests
        ),
    )
