"""What a comparison of declared and existing comes to: findings, the actions that mend them, signs.

Values only; `differences.py` makes them, `reconciler.py` acts on them, the commands print them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adapterworks.reconciling.build_inputs import Stage

# `+` is built, `~` changed, `-` taken away; `!` differs and needs a person; `=` is as declared.
Sign = Literal["+", "~", "-", "!", "="]


@dataclass(frozen=True, slots=True)
class Build:
    """Build a manifest; `stale` is the earliest stage that has to be done again."""

    file: str
    stale: Stage

    def __str__(self) -> str:
        return "build"


@dataclass(frozen=True, slots=True)
class Promote:
    """Move an alias to a version that is there; `expect` holds it now."""

    version: int
    alias: str
    expect: int | None

    def __str__(self) -> str:
        return f"move `{self.alias}` to @{self.version}"


@dataclass(frozen=True, slots=True)
class Load:
    """Have the running gateways keep a release loaded."""

    digest: str

    def __str__(self) -> str:
        return "load"


@dataclass(frozen=True, slots=True)
class Retire:
    """Remove an alias of an adapter that nothing declares any more."""

    alias: str
    expect: int

    def __str__(self) -> str:
        return f"remove `{self.alias}`"


Action = Build | Promote | Load | Retire


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that differs, and why we say so."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One adapter.

    Attributes:
        ref: the version that is as declared, or the one compared with.
        file: its manifest.
        findings: what differs; empty for `=`.
        actions: what `apply` does about it, in order.
        notes: what is worth knowing and is no difference.
    """

    name: str
    sign: Sign
    file: str | None = None
    ref: str | None = None
    findings: tuple[Finding, ...] = ()
    actions: tuple[Action, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether it is not as declared; without `--prune`, what is not declared is let be."""
        return self.sign in "+~!" or bool(self.actions)


@dataclass(frozen=True, slots=True)
class Differences:
    """The plan: an entry for every manifest and for what the folder declared once.

    Attributes:
        others: names in the registry that this folder has never declared; they are let be.
    """

    entries: tuple[Entry, ...]
    others: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[Entry, ...]:
        """The entries that are not as declared."""
        return tuple(entry for entry in self.entries if entry.differs)
