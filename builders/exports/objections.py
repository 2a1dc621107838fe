"""The objections that every form shares."""

from __future__ import annotations

from collections.abc import Iterator

from adapterworks.builders.exports.material import Material
from adapterworks.registry.releases.forms import LORA


def no_weight_delta(material: Material) -> Iterator[str]:
    """A release that cannot be added to the weights of its base."""
    servable = material.release.servable
    if material.full is not None:
        return
    if servable is None:
        yield "it has no form that is served"
    elif servable.form != LORA:
        yield (
            f"it is served as {servable.form}: virtual tokens have no weight delta, so only an "
            "engine that takes them at each request can have them"
        )


def no_lora(material: Material) -> Iterator[str]:
    """A release that is no LoRA beside its base."""
    if material.full is not None:
        yield "it is a model of its own; export it whole (`--to merged` or `--to gguf`)"
    else:
        yield from no_weight_delta(material)
