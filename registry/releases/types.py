"""The registry's small frozen values, shared by its modules, the CLI and the gateway."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from adapterworks.manifests.refs import Ref


class Unset(enum.Enum):
    """The type of `UNSET`: "not given", where `None` already means something."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


def now() -> str:
    """The time in UTC, RFC 3339 with microseconds; sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome of a publish.

    Attributes:
        created: false when this very release was there already.
        kept: who moved the alias meanwhile, so that it stays where they put it; empty if nobody.
    """

    name: str
    version: int
    digest: str
    created: bool
    kept: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A ref read once: the version and release digest it stood for at that moment."""

    name: str
    version: int
    digest: str
    ref: Ref

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Weighted:
    """One holder of an alias and its share of requests in percent."""

    version: int
    digest: str
    weight: int


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version as listed. `size` is in bytes; `deleted` is set on tombstones."""

    name: str
    version: int
    digest: str
    method: str
    base_model: str
    base_digest: str
    description: str
    tags: tuple[str, ...]
    metrics: dict[str, float]
    size: int
    plan: str | None
    parent: str | None
    created: str
    created_by: str
    published: str
    aliases: tuple[str, ...] = ()
    deleted: str | None = None


@dataclass(frozen=True, slots=True)
class NameRow:
    """One adapter as listed: its newest live version, how many are live, and its aliases.

    `description`, `base` and `method` are those of the newest live version.
    """

    name: str
    description: str
    latest: int | None
    versions: int
    updated: str
    aliases: dict[str, tuple[Weighted, ...]] = field(default_factory=dict)
    base: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the append-only log. `data` is what the kind needs to say (see `log.py`)."""

    sequence: int
    name: str
    kind: str
    version: int | None
    alias: str | None
    at: str
    who: str
    why: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One move of an alias, as logged.

    `version` holds the alias after the move and `previous` held it before. `canary` (with `weight`
    percent of requests) is the version tried beside the holder after the move, if any.
    """

    sequence: int
    name: str
    alias: str
    kind: str
    version: int
    previous: int | None
    canary: int | None
    weight: int | None
    at: str
    who: str
    why: str
