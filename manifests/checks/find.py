"""All checks of a manifest, each left out when one of its keys is faulty already.

What only one method or objective asks is among its own checks. Whether a base or metric of that
name exists is not checked here: those tables belong to the builders.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from adapterworks.manifests.checking import Check, KeyPath, Problem
from adapterworks.manifests.checks.base import BASE_CHECKS
from adapterworks.manifests.checks.data import DATA_CHECKS
from adapterworks.manifests.checks.data_gates import DATA_GATE_CHECKS
from adapterworks.manifests.checks.evaluate import EVALUATE_CHECKS
from adapterworks.manifests.checks.publish import PUBLISH_CHECKS
from adapterworks.manifests.checks.reference import REFERENCE_CHECKS
from adapterworks.manifests.checks.train import TRAIN_CHECKS
from adapterworks.manifests.extensions import load
from adapterworks.manifests.models import Manifest

_CHECKS = (
    *REFERENCE_CHECKS,
    *BASE_CHECKS,
    *TRAIN_CHECKS,
    *EVALUATE_CHECKS,
    *PUBLISH_CHECKS,
    *DATA_CHECKS,
    *DATA_GATE_CHECKS,
)


def find_problems(
    manifest: Manifest, written: dict[str, Any], faulty: Collection[KeyPath] = ()
) -> Iterator[Problem]:
    """Run every check whose keys are not faulty.

    Args:
        manifest: the validated values.
        written: the merged tables as written, to tell a given value from a default.
        faulty: key paths that have a fault already.
    """
    for entry in (*_of_method(manifest, faulty), *_of_objective(manifest, faulty), *_CHECKS):
        if not any(_overlap(fault, key) for fault in faulty for key in entry.reads):
            yield from entry.find(manifest, written)


def _of_method(manifest: Manifest, faulty: Collection[KeyPath]) -> tuple[Check, ...]:
    """The method's own checks, which all read its table."""
    if any(fault[0] == "method" for fault in faulty):
        return ()
    checks: tuple[Check, ...] = load("methods", manifest.method.kind).checks
    return checks


def _of_objective(manifest: Manifest, faulty: Collection[KeyPath]) -> tuple[Check, ...]:
    """The objective's own checks, which all read its table."""
    if any(fault[0] == "objective" for fault in faulty):
        return ()
    checks: tuple[Check, ...] = getattr(load("objectives", manifest.objective.kind), "checks", ())
    return checks


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))
