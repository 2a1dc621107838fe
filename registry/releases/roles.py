"""What each file of a release is for, and which bytes may be absent.

A role is told by a file's place: the first folder (`adapter/…`, `servable/…`, `plots/…`), or the
name of a file at the top. It decides what a registry may be without:

    weights       adapter, servable, full     always here: without them there is no release
    fingerprint   the proof of what is served may stay at home (what is pulled then is unproved);
                  it is erased with the release only
    all others    may be withheld and may be erased
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from adapterworks.manifests.errors import InvalidInput

WEIGHTS = frozenset({"adapter", "servable", "full"})
PROOF = "fingerprint"
# Roles whose files hold people's texts: they stay here unless somebody asks for them by name.
PRIVATE = frozenset({"predictions", "rows", "samples"})
OTHER = "other"

# What a release without such a file cannot show, in words for whoever verifies it.
UNPROVED = {
    PROOF: "what is served cannot be proved",
    "predictions": "its scores cannot be counted again",
    "lock": "what it was built from cannot be looked up, and it cannot be built again",
}

_NAMED = {
    "README.md": "card",
    "adapter.lock": "lock",
    "fingerprint.json": PROOF,
    "manifest.json": "manifest",
    "predictions.jsonl": "predictions",
    "provenance.json": "provenance",
    "report.json": "report",
    "rows.jsonl": "rows",
    "samples.jsonl": "samples",
    "sbom.cdx.json": "sbom",
    "training.jsonl": "training",
}
_FOLDER = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def role_of(path: str) -> str:
    """The role of a release path."""
    folder, slash, _ = path.partition("/")
    if not slash:
        return _NAMED.get(path, OTHER)
    return folder if _FOLDER.fullmatch(folder) else OTHER


def may_be_withheld(path: str) -> bool:
    """Whether a release is still one where this file's bytes are not; its record ("") is needed."""
    return path != "" and role_of(path) not in WEIGHTS


def may_be_erased(path: str) -> bool:
    """Whether a release can still be served and proved when this file's bytes are gone."""
    return may_be_withheld(path) and role_of(path) != PROOF


def is_beside_weights(path: str) -> bool:
    """Whether a file says how weights are loaded and nothing of what they have learnt: releases of
    the same settings have the same one, whatever their rows are."""
    return role_of(path) in WEIGHTS and not path.endswith(".safetensors")


def is_private(path: str) -> bool:
    """Whether a file holds texts of rows, so that it leaves only when it is asked for."""
    return role_of(path) in PRIVATE


def matching(patterns: Iterable[str], paths: Iterable[str]) -> set[str]:
    """The paths that one of the patterns (`predictions.jsonl`, `plots/*`) means."""
    patterns = tuple(patterns)
    return {path for path in paths if any(fnmatchcase(path, pattern) for pattern in patterns)}


def check_withheld(paths: Iterable[str], what: str) -> None:
    """Refuse to withhold what a release cannot be without.

    Args:
        what: who asks, for the message (`[publish] withhold`).

    Raises:
        InvalidInput: one of the paths holds weights.
    """
    needed = sorted(path for path in paths if not may_be_withheld(path))
    if needed:
        raise InvalidInput(
            f"{what} means `{needed[0]}`, which no release is without",
            hint='name what holds texts of rows, such as "predictions.jsonl"',
        )
