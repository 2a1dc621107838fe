"""What a build came to: a new release, or the one that its unchanged plan has already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapterworks.builders.plan.plan import Plan
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Servable
from adapterworks.registry.releases.types import Resolved

# Why no alias moves to a release whose report was erased or is withheld.
UNTOLD = "whether its gates passed is not known: its `report.json` is not here"


@dataclass(frozen=True)
class BuildResult:
    """What a build came to.

    Attributes:
        ref: `NAME@VERSION`.
        digest: of the release.
        created: False when an unchanged plan named an existing release.
        alias: the alias that moved, if it did.
        reasons: why it did not, one line each: gates that failed.
        kept: who moved it while this was built, so that it stays there; empty if nobody did.
        report: the release's `report.json`; empty if that is not here any more.
        folder: the build directory.
        reused: stage → the release that it was taken from (`train`, `convert`, `evaluate`, …).
        before: what the manifest's stage before came to, of several.
    """

    ref: str
    digest: str
    created: bool
    alias: str | None
    reasons: tuple[str, ...]
    plan: Plan
    servable: Servable | None
    report: dict[str, Any]
    folder: Path
    reused: Mapping[str, str] = field(default_factory=dict)
    before: BuildResult | None = None
    kept: str = ""


def named(
    registry: Registry, existing: Resolved, plan: Plan, folder: Path, alias: str | None, who: str
) -> BuildResult:
    """The release that an unchanged plan has; an alias that is asked for moves to it, if it may."""
    told = registry.read_if_here(existing.digest, "report.json")
    report = {} if told is None else json.loads(told)
    release = registry.release(existing.digest)
    reasons = why_not(report, report["conversion"]) if told is not None else (UNTOLD,)
    if alias is not None and not reasons and not _holds(registry, existing, alias):
        registry.promote(existing.name, existing.version, alias, who=who, why="built before")
    return BuildResult(
        f"{existing.name}@{existing.version}",
        existing.digest,
        False,
        None if reasons else alias,
        reasons if alias is not None else (),
        plan,
        release.servable,
        report,
        folder,
    )


def _holds(registry: Registry, existing: Resolved, alias: str) -> bool:
    try:
        return registry.resolve(f"{existing.name}:{alias}").version == existing.version
    except NotFound:
        return False


def why_not(report: Mapping[str, Any], conversion: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the alias must not move."""
    failed = [gate["why"] for gate in report.get("gates", []) if not gate["passed"]]
    return (*failed, *([conversion["refused"]] if conversion["refused"] else []))
