"""Adapters that stand in front of the prompt, found by digest in one read-only folder.

Invariant: a file is only ever found under `$ADAPTERS_SERVABLES/<hex digest>/servable/`; nothing in
a request is used as a path. What is read there was verified by whoever put it there, and never
changes: a digest is its content.
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

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_KEYS, _EMBEDDINGS = "layers.0.key", "embeddings"


@dataclass(frozen=True, slots=True)
class VirtualTokens:
    """What an adapter puts in front of every prompt.

    Attributes:
        digest: hex digest of its release.
        form: `prefix` gives their keys and values (`layers.{i}.key`, `layers.{i}.value`
            [count, kv_heads, head_dim]), `prompt` their embeddings (`embeddings` [count, hidden]).
        count: how many.
        file: its tensors, safetensors.
    """

    digest: str
    form: Literal["prefix", "prompt"]
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
    return _read(os.environ.get(ROOT, ""), match.group(1))


@lru_cache(maxsize=4096)
def _read(root: str, digest: str) -> VirtualTokens:
    folder = Path(root) / digest / "servable"
    prefix, prompt = folder / "prefix.safetensors", folder / "prompt.safetensors"
    if root and prefix.is_file():
        return VirtualTokens(digest, "prefix", _rows(prefix, _KEYS), prefix)
    if root and prompt.is_file():
        return VirtualTokens(digest, "prompt", _rows(prompt, _EMBEDDINGS), prompt)
    raise ValueError(f"no virtual tokens of adapter `{digest}` under `{ROOT}`")


def _rows(file: Path, tensor: str) -> int:
    """The first dimension of a tensor, from the file's header alone."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    try:
        return int(header[tensor]["shape"][0])
    except (KeyError, IndexError):
        raise ValueError(f"`{file.name}` has no tensor `{tensor}` with rows") from None
