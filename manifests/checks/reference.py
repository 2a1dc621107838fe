"""Where a training begins and what its policy is compared with: refs, and alike at the start.

A policy that differs from its reference by chance (noise, dropout), or before its first step, would
be held back from what it never learnt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import load
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import BASE, START, ReferenceTable, reference_ref
from adapterworks.manifests.refs import parse_ref

# What a reference may differ by where the manifest does not say that it may.
_ALIKE = ReferenceTable.model_fields["max_start_distance"].default


@check("start", "objective")
def _refs(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """What names a release is a ref."""
    try:
        reference_ref(manifest.objective)
    except InvalidInput as error:
        yield Problem(("objective", "reference"), error.message, error.hint or "")
    try:
        if manifest.start is not None:
            parse_ref(manifest.start.ref)
    except InvalidInput as error:
        yield Problem(("start", "from"), error.message, error.hint or "")


@check("start", "objective")
def _reference_apart(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """A continued release begins away from the base, which the build would refuse."""
    reference = getattr(manifest.objective, "reference", START)
    limit = getattr(manifest.objective, "max_start_distance", None)
    if manifest.start is not None and reference == BASE and limit == _ALIKE:
        yield Problem(
            ("objective", "reference"),
            f"the training continues `{manifest.start.ref}`, which is not the base: policy and "
            "reference would differ before the first step",
            "remove it (the reference is then what the training starts from), or say by "
            "`objective.max_start_distance` how far apart they may be",
        )


def _compares_policies(objective: str) -> bool:
    try:
        return bool(getattr(load("objectives", objective), "compares", False))
    except InvalidInput:  # reported as a fault of `objective.kind`
        return False


@check("method", "objective")
def _dropout(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """With dropout the policy would differ from its reference by chance alone."""
    if getattr(manifest.method, "dropout", 0.0) and _compares_policies(manifest.objective.kind):
        yield Problem(
            ("method", "dropout"),
            f"objective `{manifest.objective.kind}` compares the policy with a reference, or with "
            "what it sampled, and dropout changes the policy by chance",
            "remove it (TRL turns dropout off for it, too)",
        )


@check("train.neftune_alpha", "objective")
def _noise(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Nor by the noise of its embeddings."""
    kind = manifest.objective.kind
    if manifest.train.neftune_alpha and _compares_policies(kind):
        yield Problem(
            ("train", "neftune_alpha"),
            f"objective `{kind}` compares the policy with a reference, or with what it sampled, "
            "and noise changes the policy by chance",
            "remove it",
        )


REFERENCE_CHECKS = (_refs, _reference_apart, _dropout, _noise)
