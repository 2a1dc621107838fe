"""What a build's result depends on beside its rows: files, code and packages.

Invariant: what is found here goes into the plan, so that a changed file or version is another plan.
"""

from __future__ import annotations

from dataclasses import replace

from adapterworks.builders.evaluation.retention import PACKAGE as RETAINED
from adapterworks.builders.evaluation.scorers import installed, versions
from adapterworks.builders.plan.environment import Environment
from adapterworks.builders.publishing.adapter_lock import environment
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.extensions import source_digest
from adapterworks.manifests.graders import GRADER, GraderMetric
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import place


def environment_for(manifest: Manifest) -> Environment:
    """What is installed here, with what this manifest's answers are scored by."""
    objective = manifest.objective
    graders = [GraderMetric(f"{GRADER}{g.name}", g) for g in getattr(objective, "graders", ())]
    here = environment()
    rewarding = versions([*getattr(objective, "rewards", ()), *graders])
    return replace(
        here,
        packages={**here.packages, **rewarding},
        metrics=metric_code(manifest),
        scorers=versions(_measured_by(manifest)),
        rewarding=rewarding,
        asking=installed([RETAINED]) if manifest.evaluate.retention.on else {},
    )


def named_files(manifest: Manifest) -> dict[str, str]:
    """Digests of the files that a manifest names beside its rows, and of the code of its rewards.

    By the manifest's key, as `train.accelerate_config`; rewards are under `train.reward.NAME`,
    since what judges sampled answers decides what is learnt.
    """
    named = {
        "train.accelerate_config": manifest.train.accelerate_config,
        "data.augment.lexicon": manifest.data.augment.lexicon,
    }
    files = {key: digest_file(place(path, manifest.folder)) for key, path in named.items() if path}
    rewards = getattr(manifest.objective, "rewards", ())
    return files | {f"train.reward.{name}": source_digest("metrics", name) for name in rewards}


def metric_code(manifest: Manifest) -> dict[str, str]:
    """The digest of the file of each metric that is used, of those that only gates name too."""
    return {name: source_digest("metrics", name) for name in _measured_by(manifest)}


def _measured_by(manifest: Manifest) -> list[str]:
    table = manifest.evaluate
    return sorted({*table.metrics, *(gate.metric for gate in table.gates)})
