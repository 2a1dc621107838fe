"""A base that is described and not there: a folder with a configuration and a tokenizer alone.

Invariant: it is to plan with. No store keeps a record of it, its digest is of no base that can be
prepared, and whoever would read a weight of it is refused as of any folder without one.
"""

from __future__ import annotations

from pathlib import Path

from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.files import base_digest, content_revision


def described(model: str, *, quantization: str, double_quantization: bool) -> Base | None:
    """The base that a folder describes; None where it has weights, or is no such folder.

    Args:
        model: what the manifest says, as a base store takes it.
    """
    folder = Path(model)
    if not (folder / "config.json").is_file() or any(folder.glob("*.safetensors")):
        return None
    folder = folder.absolute()
    double = double_quantization and quantization == "nf4"
    return Base(
        name=folder.name.lower(),
        model=str(folder),
        revision=content_revision(folder),
        quantization=quantization,
        double_quantization=double,
        digest=base_digest(folder, quantization, double),
        checkpoint=folder,
        served=folder,
    )
