"""A merge: several adapters of one base become one release, proved and served like any other.

    refs → the same base? all LoRA? → combine → fingerprint → publish

Invariant: a merge is named by a plan of its own (parents' digests, weights, rule, code); the same
plan under the same name is the same release, and merging again only names it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.evaluation.fingerprint import VALIDATION
from adapterworks.builders.evaluation.subjects import base_of
from adapterworks.builders.merging.parents import Parent, complete, find_parents
from adapterworks.builders.merging.record import (
    METHOD,
    make_card,
    make_draft,
    make_lock,
    make_report,
    plan_digest,
)
from adapterworks.builders.merging.rules.recipe import Recipe
from adapterworks.builders.publishing.folder import write_json
from adapterworks.manifests.digests import canonical_json
from adapterworks.manifests.refs import check_alias, check_name
from adapterworks.registry.datasets.owners import (
    Learner,
    of_release,
    recorded,
    require_allowed,
)
from adapterworks.registry.datasets.tenants import tenants_of
from adapterworks.registry.imports.publish import base_name
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import ADAPTER, SERVABLE, Servable
from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.releases.types import Published

if TYPE_CHECKING:
    from adapterworks.builders.data.render import Encoded
    from adapterworks.registry.bases.base import Base
    from adapterworks.registry.bases.store import BaseStore
    from adapterworks.registry.registry import Registry

FINGERPRINT = "fingerprint.json"
_HOW = ("add `--tenant {}`", "add `--takes {}`")  # what lets a merge have a tenant's rows


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge came to.

    Attributes:
        report: `report.json`: under `merge` the rule, its error, the distance to the plain sum.
    """

    published: Published
    parents: tuple[Parent, ...]
    recipe: Recipe
    servable: Servable
    report: dict[str, Any]


def run_merge(
    refs: Sequence[str],
    *,
    name: str,
    registry: Registry,
    bases: BaseStore,
    scratch: Path,
    who: str,
    recipe: Recipe,
    weights: Sequence[float] | None = None,
    alias: str | None = None,
    tenant: str | None = None,
    tenants: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> Merged:
    """Merge releases, or name the release that the same merge gave before.

    Args:
        name: of the adapter that the result becomes a version of.
        scratch: a folder on the disk of the blobs.
        recipe: what it leaves open gets the rule's default.
        weights: one for each ref, as they are; equal shares that sum to 1 without them.
        alias: moved to the result.
        tenant: whose adapter the result is; None for the operator's own.
        tenants: the others whose shared rows may be in it, by what was learnt from them.

    Raises:
        InvalidInput: fewer than two adapters, weights that do not fit, an option that the rule
            does not use, a rank that the engine does not allow.
        Refused: different bases, a form other than LoRA, a result too large or empty, or rows of
            a tenant went into one who does not share them with the result.
        NotFound: no such release, or its base is not here.
    """
    check_name(name)
    if alias is not None:
        check_alias(alias)
    registry.protection.require_movable(name, alias)
    parents = find_parents(registry, refs, weights)
    owners = _owners(registry, parents, Learner(name, tenant, tenants, _HOW, tenants_of(registry)))
    recipe = complete(recipe, parents)
    plan = plan_digest(name, parents, recipe)
    existing = registry.origins.find_plan(name, plan)
    if existing is not None:
        if alias is not None:
            registry.promote(name, existing.version, alias, who=who, why="merged again")
        release = registry.release(existing.digest)
        assert release.servable is not None
        report = json.loads(registry.read(existing.digest, "report.json"))
        published = Published(name, existing.version, existing.digest, created=False)
        return Merged(published, parents, recipe, release.servable, report)
    base = base_of(bases, parents[0].release)
    digests = [parent.release.digest for parent in parents]
    with (
        registry.hold(*digests, kind="build"),
        scratch_folder(scratch, METHOD) as folder,
    ):
        progress(f"merging {len(parents)} adapters by `{recipe.method}`")
        servable, report = _combine(registry, base, parents, recipe, folder)
        progress("taking the fingerprint on the served base")
        fingerprint = _fingerprint(registry, base, parents, servable, folder)
        (folder / FINGERPRINT).write_bytes(canonical_json(fingerprint) + b"\n")
        write_json(folder / "report.json", report)
        write_json(folder / "adapter.lock", make_lock(base, plan, parents, recipe))
        (folder / "README.md").write_text(make_card(name, base, parents, recipe, servable, report))
        draft = make_draft(name, base, plan, parents, recipe, servable, owners)
        why = f"merged by `{recipe.method}`"
        published = registry.publish(folder, draft, alias=alias, who=who, why=why)
    return Merged(published, parents, recipe, servable, report)


def _owners(registry: Registry, parents: Sequence[Parent], learner: Learner) -> dict[str, str]:
    """Whose rows the parents have learnt, all of whom let the result have it."""
    claims = [
        claim for one in parents for claim in of_release(registry, one.release.digest, one.ref)
    ]
    require_allowed(claims, learner)
    return recorded(claims)


def _combine(
    registry: Registry, base: Base, parents: Sequence[Parent], recipe: Recipe, folder: Path
) -> tuple[Servable, dict[str, Any]]:
    """Write `adapter/` and `servable/`, which are the same; returns the record and the report."""
    from adapterworks.builders.merging.combine import combine, read_lora
    from adapterworks.builders.methods.factors import leaves, write_lora
    from adapterworks.registry.bases.quiet import quiet_libraries

    quiet_libraries()
    adapters = [read_lora(registry.checkout(p.release.digest, SERVABLE)) for p in parents]
    combined = combine(adapters, [parent.weight for parent in parents], recipe)
    rank = write_lora(folder / ADAPTER, combined.factors, base_name(base))
    shutil.copytree(folder / ADAPTER, folder / SERVABLE)
    exact = recipe.rule.space == "rows" or combined.error is None
    servable = Servable(
        form=LORA,
        origin="exact" if exact else "approximate",
        rank=rank,
        target_modules=tuple(leaves(combined.factors)),
        error=0.0 if exact else combined.error or 0.0,
    )
    return servable, make_report(parents, recipe, combined)


def _fingerprint(
    registry: Registry, base: Base, parents: Sequence[Parent], servable: Servable, folder: Path
) -> dict[str, Any]:
    """As a build takes it, on the probes of all parents in turn."""
    from transformers import AutoTokenizer

    from adapterworks.builders.evaluation.fingerprint import make_fingerprint
    from adapterworks.builders.evaluation.served_model import ServedModel

    return make_fingerprint(
        ServedModel(base.served, folder / SERVABLE, servable),
        AutoTokenizer.from_pretrained(base.checkpoint),
        _probes(registry, parents),
        base_digest=base.digest,
        template_digest=base.template_digest,
    )


def _probes(registry: Registry, parents: Sequence[Parent]) -> list[Encoded]:
    """The parents' own probes, one of each in turn: the merge is proved where each was."""
    from adapterworks.builders.data.render import IGNORED, Encoded

    own = []
    for parent in parents:
        fingerprint = registry.read_if_here(parent.release.digest, FINGERPRINT)
        if fingerprint is None:
            continue  # imported or pulled without one
        document = json.loads(fingerprint)  # others' probes may be of no kind
        own.append([probe for probe in document["probes"] if probe.get("kind") == VALIDATION])
    turns = range(max(map(len, own), default=0))
    probes = [probes[turn] for turn in turns for probes in own if turn < len(probes)]
    encoded = []
    for number, probe in enumerate(probes):
        ids = probe["token_ids"]
        learnt = set(probe["positions"])
        labels = [token if index in learnt else IGNORED for index, token in enumerate(ids)]
        encoded.append(Encoded(ids, labels, number))
    return encoded
