"""What should exist and what does, as values: all that the comparison looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adapterworks.reconciling.build_inputs import BuildInputs
from adapterworks.registry.releases.types import AliasMove


@dataclass(frozen=True)
class Declared:
    """One manifest of the folder.

    Attributes:
        file: its name in the folder.
        name: the adapter's; None if the file cannot even be read that far.
        alias: `publish.alias`.
        pinned: `serve.pinned`.
        made: what it comes to; None if it is faulty, or nothing was built yet to compare with.
        fault: why it cannot be built, in one line.
        unfinished: stages that an unfinished build of it has done; None if there is none.
    """

    file: str
    name: str | None
    alias: str | None = None
    pinned: bool = False
    made: BuildInputs | None = None
    fault: str | None = None
    unfinished: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Version:
    """One live version.

    Attributes:
        made: what it was built from; None for one that was imported or merged.
        failed: why its alias did not move when it was built.
        published: RFC 3339.
    """

    version: int
    digest: str
    base: str
    made: BuildInputs | None
    failed: tuple[str, ...]
    published: str


@dataclass(frozen=True)
class Held:
    """An alias: its holder, the version tried beside it at `weight` percent, its last move."""

    version: int
    canary: int | None = None
    weight: int = 0
    moved: AliasMove | None = None


@dataclass(frozen=True)
class Existing:
    """What the registry holds under one name.

    Attributes:
        versions: newest first, from the newest down to the first that is as declared; all that
            were looked at, if none is.
        aliases: by name.
        folder: which folder was last applied to it (`whose.identity`); its name alone where a
            version did that which noted no more.
    """

    name: str
    versions: tuple[Version, ...] = ()
    aliases: Mapping[str, Held] = field(default_factory=dict)
    folder: str | None = None


@dataclass(frozen=True)
class Loaded:
    """A release in an engine: `stage` is `resident`, `loading`, `refused`, …"""

    stage: str
    pinned: bool
    error: str | None


@dataclass(frozen=True)
class EngineState:
    """An engine of a gateway: its base's digest, what it holds, how many more it has room for."""

    base: str
    loaded: Mapping[str, Loaded]
    free: int


@dataclass(frozen=True)
class GatewayState:
    """A gateway that runs with this home."""

    socket: Path
    url: str
    engines: tuple[EngineState, ...]


@dataclass(frozen=True)
class World:
    """Everything that is compared.

    Attributes:
        folder: which it is, under which what it applies is remembered.
        folder_name: its own name, which others may have too.
        skipped: files in it that are no manifests.
    """

    folder: str
    declared: tuple[Declared, ...]
    existing: Mapping[str, Existing]
    gateways: tuple[GatewayState, ...] = ()
    skipped: tuple[str, ...] = ()
    folder_name: str = ""
