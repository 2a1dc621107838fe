"""What a merged release says of itself: plan, lock, report, card and record.

Invariant: every number is the merge's own; nothing of the parents' scores is claimed for it.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.merging.parents import Parent
from adapterworks.builders.merging.rules.recipe import Recipe
from adapterworks.builders.publishing.adapter_lock import environment
from adapterworks.manifests.digests import digest_file, digest_json
from adapterworks.manifests.extensions import source_digest
from adapterworks.registry.datasets.owners import RECORDED
from adapterworks.registry.imports.publish import base_name
from adapterworks.registry.releases.release import Draft, Provenance, Servable
from adapterworks.registry.releases.release import Parent as From
from adapterworks.registry.releases.types import now

if TYPE_CHECKING:
    from adapterworks.builders.merging.combine import Combined
    from adapterworks.registry.bases.base import Base

METHOD = "merge"
_SOURCES = ("merging/combine.py", "merging/rules/rule.py", "methods/factors.py")


def plan_digest(name: str, parents: Sequence[Parent], recipe: Recipe) -> str:
    """The name of a merge: equal for equal parents, weights, rule, code and packages."""
    return digest_json({"name": name, **_facts(parents, recipe)})


def _facts(parents: Sequence[Parent], recipe: Recipe) -> dict[str, Any]:
    """All that determines the merged weights."""
    root = Path(__file__).parent.parent
    packages = environment().packages
    return {
        "kind": METHOD,
        "parents": [
            {"ref": parent.ref, "digest": parent.release.digest, "weight": parent.weight}
            for parent in parents
        ],
        "recipe": asdict(recipe),
        "code": {
            "version": environment().code["version"],
            "digest": digest_json({path: digest_file(root / path) for path in _SOURCES}),
            "rule": source_digest("merge_rules", recipe.method),
        },
        "packages": {name: packages[name] for name in ("peft", "torch") if name in packages},
    }


def make_report(parents: Sequence[Parent], recipe: Recipe, combined: Combined) -> dict[str, Any]:
    """`report.json`; a merge is not evaluated, so it has no rows."""
    return {
        "schema_version": 1,
        "rows": 0,
        "merge": {
            **asdict(recipe),
            "parents": {parent.ref: parent.weight for parent in parents},
            "error": combined.error,
            "from_sum": combined.from_sum,
            "modules": combined.modules,
        },
    }


def make_draft(
    name: str,
    base: Base,
    plan: str,
    parents: Sequence[Parent],
    recipe: Recipe,
    servable: Servable,
    owners: dict[str, str],
) -> Draft:
    """The record's own part; the licence is the parents' if they agree.

    Args:
        owners: whose rows the parents have learnt, with the strictest share.
    """
    licenses = {parent.release.license for parent in parents}
    facts = _facts(parents, recipe)
    return Draft(
        name=name,
        method=METHOD,
        description=_description(parents, recipe),
        license=licenses.pop() if len(licenses) == 1 else "other",
        tags=("merged",),
        created=now(),
        base=base.identity,
        servable=servable,
        plan=plan,
        parents=tuple(
            From(relation=METHOD, digest=p.release.digest, ref=p.ref, weight=p.weight)
            for p in parents
        ),
        provenance=Provenance(
            made="merged",
            version=facts["code"]["version"],
            code=facts["code"]["digest"],
            packages=digest_json(facts["packages"]),
            python=platform.python_version(),
            seed=recipe.seed,
            source=_description(parents, recipe),
        ),
        details={METHOD: facts["recipe"]} | ({RECORDED: owners} if owners else {}),
    )


def _description(parents: Sequence[Parent], recipe: Recipe) -> str:
    terms = " + ".join(f"{parent.weight:g} × {parent.ref}" for parent in parents)
    return f"merge ({recipe.method}) of {terms}"


def make_lock(base: Base, plan: str, parents: Sequence[Parent], recipe: Recipe) -> dict[str, Any]:
    """`adapter.lock`: all that is needed to merge again; `parents` is what lineage reads."""
    return {
        "schema_version": 1,
        "plan": plan,
        "base": base.identity.model_dump(mode="json"),
        "seed": recipe.seed,
        "python": platform.python_version(),
        **_facts(parents, recipe),
    }


def make_card(
    name: str,
    base: Base,
    parents: Sequence[Parent],
    recipe: Recipe,
    servable: Servable,
    report: dict[str, Any],
) -> str:
    """The model card's text."""
    merge = report["merge"]
    rows = "".join(
        f"| `{p.ref}` | {p.weight:g} | {p.release.method} | `{p.release.digest}` |\n"
        for p in parents
    )
    options = ", ".join(
        f"{key} {value:g}"
        for key, value in asdict(recipe).items()
        if key != "method" and value is not None
    )
    error = "" if merge["error"] is None else f"; relative error {merge['error']:.3g}"
    return (
        f"# {name}\n\nSeveral adapters of `{base_name(base)}` merged into one by PEFT's "
        f"`{recipe.method}`{f' ({options})' if options else ''}. It was not trained or evaluated "
        f"after the merge.\n\n"
        f"| adapter | weight | method | release |\n|---|---|---|---|\n{rows}\n"
        f"Served as LoRA of rank {servable.rank}{error}; relative distance to the weighted sum of "
        f"the weight deltas {merge['from_sum']:.3g}.\n"
    )
