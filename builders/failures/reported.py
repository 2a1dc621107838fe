"""Failures that people reported: captured answers with feedback, as `feedback export` has them.

Invariant: what its tenant lets nobody learn from is passed over and counted, and rows of two
tenants are never put together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapterworks.builders.data.rows import ROLES, Message
from adapterworks.builders.failures.failure import Failure
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.exchanges.exchange import Share, strictest


class _Lenient(BaseModel):
    """Keys of later versions are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Feedback(_Lenient):
    """What one reviewer said."""

    thumb: Literal["up", "down", ""] = ""
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    correction: str | None = None

    @property
    def negative(self) -> bool:
        """Whether it says that the answer was wrong."""
        low = self.score is not None and self.score < 0.5
        return self.thumb == "down" or low or self.correction is not None


class Answered(_Lenient):
    """A line of `adapters feedback export`."""

    receipt: str
    tenant: str
    share: Share = "none"
    adapter: str
    release: str | None = None
    messages: list[dict[str, Any]]
    answer: str
    feedback: list[Feedback] = []


@dataclass(frozen=True)
class Reported:
    """What was read.

    Attributes:
        failures: of the adapter, in order.
        traffic: every question that the adapter was asked, right or wrong.
        withheld: failures that nobody may learn from.
    """

    failures: tuple[Failure, ...]
    traffic: tuple[str, ...]
    withheld: int


def read_reported(
    path: Path,
    adapter: str,
    *,
    tenant: str | None = None,
    shares: Mapping[str, Share] | None = None,
) -> Reported:
    """The failures in a file of `adapters feedback export`.

    Args:
        shares: what tenants let be learnt now, by name: of that and of what the file says the
            stricter counts, and one that is not among them lets nothing be learnt. Empty or None:
            nobody here knows any tenant, and the file's word counts.

    Raises:
        InvalidInput: a line is none of an export; the message names it.
    """
    # Not `splitlines`: what users write has lines of its own within a text.
    lines = path.read_text(encoding="utf-8").split("\n")
    if not lines[-1]:
        lines.pop()
    found = (_parsed(line, n, path.name) for n, line in enumerate(lines, 1))
    now = (_as_now(one, shares) if shares else one for one in found)
    return reported_failures(now, adapter, tenant)


def reported_failures(
    answered: Iterable[Answered], adapter: str, tenant: str | None = None
) -> Reported:
    """The failures among answers.

    Raises:
        InvalidInput: they are of several tenants, and none is chosen.
    """
    failures, traffic, withheld = [], [], 0
    for one in answered:
        if one.adapter != adapter or tenant not in (None, one.tenant):
            continue
        failure = _failure(one)
        traffic.append(failure.question)
        if not any(said.negative for said in one.feedback):
            continue
        if one.share == "none":
            withheld += 1
        else:
            failures.append(failure)
    tenants = sorted({failure.tenant or "" for failure in failures})
    if len(tenants) > 1:
        raise InvalidInput(
            f"these are failures of several tenants: {', '.join(tenants)}",
            hint="make a dataset for each: --tenant NAME",
        )
    return Reported(tuple(failures), tuple(traffic), withheld)


def _as_now(one: Answered, shares: Mapping[str, Share]) -> Answered:
    now = shares.get(one.tenant, "none")
    return one.model_copy(update={"share": strictest(one.share, now)})


def _failure(one: Answered) -> Failure:
    corrections = [said.correction for said in one.feedback if said.correction is not None]
    return Failure(
        prompt=tuple(_message(turn, one.receipt) for turn in one.messages),
        answer=one.answer,
        correction=corrections[-1] if corrections else None,  # the last word
        place=one.receipt,
        tenant=one.tenant,
        share=one.share,
        release=one.release,
    )


def _message(turn: Mapping[str, Any], place: str) -> Message:
    role, content = turn.get("role"), turn.get("content")
    for known in ROLES:
        if role == known and isinstance(content, str):
            return {"role": known, "content": content}
    raise InvalidInput(
        f"a turn of `{place}` is no text of one of {', '.join(ROLES)}",
        hint="leave the answer out: such turns cannot be learnt from",
    )


def _parsed(line: str, number: int, name: str) -> Answered:
    try:
        return Answered.model_validate(json.loads(line))
    except (ValidationError, ValueError, RecursionError) as error:
        first = str(error).splitlines()
        raise InvalidInput(
            f"`{name}` line {number} is no line of `adapters feedback export`: "
            f"{' '.join(first[1:3]) or first[0]}",
            hint="write the file again: adapters feedback export --adapter NAME > FILE",
        ) from error
