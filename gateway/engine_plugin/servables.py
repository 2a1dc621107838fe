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

TOKENS = "adapter_tokens"
"""Beside the digest there, written by the front end: how many virtual tokens the adapter has."""

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
    """The adapter with this digest (`sha256:…` or its hex part), whose file is there now.

    Raises:
        ValueError: not a digest, not there, or without virtual tokens.
    """
    name, file = _place(digest)
    if file is None or not file.is_file():  # each time: it may have made room for others
        raise ValueError(f"{MISSING} `{name}` under `{ROOT}`")
    return _read(file, name)


def admitted(wanted: Mapping[str, Any]) -> VirtualTokens | None:
    """The adapter that a request names, as the front end found it; None if it names none.

    Nothing is looked up on the disk: an error here would end the engine for everybody, and the
    file may have gone since. Whoever reads it notices that, and fails this request alone.

    Args:
        wanted: what the request has under `PARAMETER`.

    Raises:
        ValueError: no front end of ours has let it in, and it is not there.
    """
    if "adapter_digest" not in wanted:
        return None
    name, file = _place(wanted["adapter_digest"])
    if file is None or TOKENS not in wanted:
        return find(wanted["adapter_digest"])
    return VirtualTokens(name, wanted[TOKENS], file)


def _place(digest: object) -> tuple[str, Path | None]:
    """The hex part of a digest and where its file would be; None without a folder."""
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise ValueError("`adapter_digest` is not a sha256 digest")
    root = os.environ.get(ROOT) or _of_home(os.environ.get(_HOME))
    name = match.group(1)
    return name, Path(root) / name / "servable" / "prefix.safetensors" if root else None


def _of_home(home: str | None) -> str:
    """Where a registry of this home has its checkouts."""
    return str(Path(home).expanduser() / "checkouts") if home else ""


def virtual_count(extra: Mapping[str, Any] | None) -> int:
    """How many virtual tokens stand in front of a request with these `extra_args`."""
    adapter = admitted((extra or {}).get(PARAMETER) or {})
    return adapter.count if adapter is not None else 0


@lru_cache(maxsize=4096)
def _read(file: Path, digest: str) -> VirtualTokens:
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    try:
        return VirtualTokens(digest, int(header["layers.0.key"]["shape"][0]), file)
    except (KeyError, IndexError):
        raise ValueError(f"adapter `{digest}` has no keys of layer 0") from None
