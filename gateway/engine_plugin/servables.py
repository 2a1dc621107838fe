"""Adapters that stand in front of the prompt, found by digest in one read-only folder.

Invariant: a file is only ever found under `$ADAPTERS_SERVABLES/<hex digest>/servable/`; nothing in
a request is used as a path. What is read there was verified by whoever put it there, and never
changes: a digest is its content.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = "ADAPTERS_SERVABLES"
"""Environment variable: the folder that holds one folder a release, named by its hex digest.

Without it, it is `checkouts` in `ADAPTERS_HOME`.
"""

_HOME = "ADAPTERS_HOME"

MISSING = "no virtual tokens of adapter"
"""How a refusal begins whose reason is that the adapter is not on this host, or not any more."""

PARAMETER = "kv_transfer_params"
"""Where vLLM's API carries what its KV connector needs: {"adapter_digest": "sha256:…"}."""

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class VirtualTokens:
    """What an adapter puts in front of every prompt.

    Attributes:
        digest: hex digest of its release.
        count: how many.
        file: their keys and values: safetensors with `layers.{i}.key` and `layers.{i}.value`,
            [count, kv_heads, head_dim], the keys as the cache holds them, that is rotated.
    """

    digest: str
    count: int
    file: Path


def find(digest: object) -> VirtualTokens:
    """The adapter with this digest (`sha256:…` or its hex part).

    Raises:
        ValueError: not a digest, not there, or without virtual tokens.
    """
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise ValueError("`adapter_digest` is not a sha256 digest")
    root = os.environ.get(ROOT) or _of_home(os.environ.get(_HOME))
    file = Path(root) / match.group(1) / "servable" / "prefix.safetensors"
    if not (root and file.is_file()):  # each time: it may have made room for others
        raise ValueError(f"{MISSING} `{match.group(1)}` under `{ROOT}`")
    return _read(file, match.group(1))


def _of_home(home: str | None) -> str:
    """Where a registry of this home has its checkouts."""
    return str(Path(home).expanduser() / "checkouts") if home else ""


def virtual_count(extra: Mapping[str, Any] | None) -> int:
    """How many virtual tokens stand in front of a request with these `extra_args`."""
    wanted = (extra or {}).get(PARAMETER) or {}
    return find(wanted["adapter_digest"]).count if "adapter_digest" in wanted else 0


@lru_cache(maxsize=4096)
def _read(file: Path, digest: str) -> VirtualTokens:
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    try:
        return VirtualTokens(digest, int(header["layers.0.key"]["shape"][0]), file)
    except (KeyError, IndexError):
        raise ValueError(f"adapter `{digest}` has no keys of layer 0") from None
