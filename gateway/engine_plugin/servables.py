"""Adapters that stand in front of the prompt, found by digest in one read-only folder.

Invariant: a file is only ever found under `$ADAPTERS_SERVABLES/<hex digest>/servable/`; nothing in
a request is used as a path. What is read there was verified by whoever put it there.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

ROOT = "ADAPTERS_SERVABLES"
"""Environment variable: the folder that holds one folder a release, named by its hex digest."""

KEPT = 64
"""Adapters whose tensors stay in memory (a prefix of 20 tokens of a 135M model takes 0.9 MB)."""

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class VirtualTokens:
    """What an adapter puts in front of every prompt.

    Attributes:
        digest: hex digest of its release.
        form: `prefix` gives their keys and values, `prompt` their embeddings.
        count: how many.
        folder: its `servable` folder.
    """

    digest: str
    form: Literal["prefix", "prompt"]
    count: int
    folder: Path


def find(digest: object) -> VirtualTokens:
    """The adapter with this digest (`sha256:…` or its hex part).

    Raises:
        ValueError: not a digest, not there, or not a form that has virtual tokens.
    """
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise ValueError("`adapter_digest` is not a sha256 digest")
    return _read(os.environ.get(ROOT, ""), match.group(1))


@lru_cache(maxsize=4096)
def _read(root: str, digest: str) -> VirtualTokens:
    folder = Path(root) / digest / "servable"
    try:
        record = json.loads((folder / "servable.json").read_bytes())
    except OSError:
        raise ValueError(f"no servable files for adapter `{digest}` in `{ROOT}`") from None
    form, count = record.get("form"), record.get("virtual_tokens")
    if form not in ("prefix", "prompt") or not isinstance(count, int) or count < 1:
        raise ValueError(f"adapter `{digest}` has no virtual tokens")
    return VirtualTokens(digest, form, count, folder)
