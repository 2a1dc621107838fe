"""Virtual tokens of strangers: what the engine's plugin writes into its cache fits the base.

Invariant: of a release whose form is `prefix` or `prompt` every layer of the base has keys and
values, [virtual tokens, key-value heads, head size], as many as the record claims; without the
base here, all layers are alike and without a gap. A prompt's embeddings are of the hidden size.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.header import Header, read_header
from adapterworks.registry.imports.values import check_finite
from adapterworks.registry.releases.forms import PROMPT
from adapterworks.registry.releases.release import Servable

_PARTS = ("key", "value")
CACHE = "prefix.safetensors"
EMBEDDINGS = "prompt.safetensors"
# As many as a manifest may ask for: each takes its place in every request's context.
MAX_TOKENS = 1024
_FLOATS = frozenset({"F32", "F16", "BF16"})


def check_claim(servable: Servable, *, file: str) -> None:
    """Check the number of virtual tokens that a record claims.

    Raises:
        ImportRefused: none, or more than a manifest may ask for.
    """
    count = servable.virtual_tokens
    if count is None or not 0 < count <= MAX_TOKENS:
        raise ImportRefused(file, f"it claims {count} virtual tokens, {MAX_TOKENS} are the most")


def check_virtual(folder: Path, servable: Servable, checkpoint: Path | None) -> None:
    """Check the files of a prefix or a prompt.

    Args:
        folder: `servable/` of the release.
        checkpoint: of its base, if that is here.

    Raises:
        ImportRefused: naming the file and the reason.
    """
    count = servable.virtual_tokens or 0
    shape = None if checkpoint is None else _attention(checkpoint)
    cache = _read(folder, CACHE)
    pairs = {f"layers.{i}.{part}" for i in range(len(cache.tensors) // 2) for part in _PARTS}
    if not pairs or set(cache.tensors) != pairs:
        raise _refused(CACHE, "not `layers.N.key` and `layers.N.value` of layers 0, 1, 2, …")
    shapes = {info.shape for info in cache.tensors.values()}
    (first,) = shapes if len(shapes) == 1 else (None,)
    if first is None or len(first) != 3 or first[0] != count:
        told = " and ".join(str(list(shape)) for shape in sorted(shapes)[:2])
        raise _refused(CACHE, f"keys and values are {told}, its record has {count} virtual tokens")
    layers = len(pairs) // 2
    if shape is not None and (layers, *first[1:]) != shape[:3]:
        raise _refused(
            CACHE,
            f"{layers} layers of {list(first[1:])}; the base has {shape[0]} of {list(shape[1:3])} "
            "(key-value heads, head size)",
        )
    if servable.form == PROMPT:
        _check_embeddings(folder, count, None if shape is None else shape[3])


def _check_embeddings(folder: Path, count: int, hidden: int | None) -> None:
    header = _read(folder, EMBEDDINGS)
    info = header.tensors.get("embeddings")
    if info is None or len(header.tensors) != 1:
        raise _refused(EMBEDDINGS, "not one tensor, `embeddings`")
    if len(info.shape) != 2 or info.shape[0] != count or hidden not in (None, info.shape[1]):
        raise _refused(
            EMBEDDINGS,
            f"`embeddings` is {list(info.shape)}, not {[count, hidden or 'hidden size']}",
        )


def _read(folder: Path, name: str) -> Header:
    path = folder / name
    if not path.is_file():
        raise _refused(name, "it is missing")
    header = read_header(path)
    odd = next((key for key, info in header.tensors.items() if info.dtype not in _FLOATS), None)
    if odd is not None:
        raise _refused(
            name, f"`{odd}` is {header.tensors[odd].dtype}, not one of {sorted(_FLOATS)}"
        )
    if not any(check_finite(path, header, file=f"servable/{name}").values()):
        raise _refused(name, "every number is zero")
    return header


def _attention(checkpoint: Path) -> tuple[int, int, int, int]:
    """(layers, key-value heads, head size, hidden size) of a base.

    Raises:
        IntegrityError: its configuration does not say.
    """
    try:
        config: dict[str, Any] = json.loads((checkpoint / "config.json").read_bytes())
        config = config.get("text_config") or config
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        key_heads = config.get("num_key_value_heads") or heads
        return (
            config["num_hidden_layers"],
            key_heads,
            config.get("head_dim") or hidden // heads,
            hidden,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"`{checkpoint}` does not say its shape: {error}") from error


def _refused(name: str, why: str) -> ImportRefused:
    return ImportRefused(f"servable/{name}", why)
