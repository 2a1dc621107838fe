"""GGUF of the whole model, the adapter in its weights; proved in llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from adapterworks.builders.exports.export import Export, Settings
from adapterworks.builders.exports.gguf.families import family_of
from adapterworks.builders.exports.gguf.quantize import missing
from adapterworks.builders.exports.gguf.types import K_QUANTS
from adapterworks.builders.exports.gguf.writer import read_config, write_model
from adapterworks.builders.exports.material import Material
from adapterworks.builders.exports.objections import no_weight_delta
from adapterworks.builders.exports.readers.llama_cpp import llama_cpp
from adapterworks.builders.exports.readers.reader import Reader
from adapterworks.manifests.errors import Refused


class GgufModel(Export):
    """One `.gguf` for llama.cpp, Ollama, LM Studio and others."""

    name = "gguf"
    title = "a GGUF file of the whole model, for llama.cpp, Ollama, LM Studio"
    engine = "llama.cpp"
    package = "xllamacpp"
    types: ClassVar[tuple[str, ...]] = (
        *("f16", "f32", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"),
    )
    suffix = ".gguf"

    def objections(self, material: Material, settings: Settings) -> Iterator[str]:
        """No weight delta, a base of no family that is known, or K-quants without llama.cpp."""
        yield from no_weight_delta(material)
        yield from unknown_family(material)
        if settings.type in K_QUANTS and (why := missing()) is not None:
            yield why

    def write(self, material: Material, settings: Settings, place: Path) -> None:
        """See `Export`."""
        facts = {
            "general.name": material.ref,
            "general.description": material.release.description,
            "general.license": material.release.license,
            **material.facts(),
        }
        write_model(
            place,
            material.checkpoint,
            material.shapes(),
            material.weights(),
            settings.type,
            facts,
        )

    @contextmanager
    def reader(
        self, material: Material, settings: Settings, place: Path, scratch: Path
    ) -> Iterator[Reader]:
        """llama.cpp with the file."""
        with llama_cpp(place, log=scratch / "llama.cpp.log") as reader:
            yield reader


def unknown_family(material: Material) -> Iterator[str]:
    """Why a base cannot be GGUF, if it cannot."""
    try:
        family_of(read_config(material.checkpoint))
    except Refused as error:
        yield str(error)


EXPORT = GgufModel()
