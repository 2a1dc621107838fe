"""LoRA-GGUF: the adapter alone, for a GGUF of its base; proved in llama.cpp on the served values.

The base that it is proved on is written with the values that are served: an adapter of an NF4 base
is another one on the weights before quantization, as on a base that llama.cpp quantizes by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from adapterworks.builders.exports.export import Export, Settings
from adapterworks.builders.exports.gguf.writer import write_adapter, write_model
from adapterworks.builders.exports.gguf_model import unknown_family
from adapterworks.builders.exports.material import Material
from adapterworks.builders.exports.objections import no_lora
from adapterworks.builders.exports.readers.llama_cpp import llama_cpp
from adapterworks.builders.exports.readers.reader import Reader
from adapterworks.registry.bases.files import chat_template


class GgufLora(Export):
    """One `.gguf` for `llama-server --lora`."""

    name = "gguf-lora"
    title = "a GGUF file of the LoRA alone, for llama.cpp's --lora"
    engine = "llama.cpp"
    package = "xllamacpp"
    types: ClassVar[tuple[str, ...]] = ("f16", "f32")
    suffix = ".gguf"
    beside = True

    def objections(self, material: Material, settings: Settings) -> Iterator[str]:
        """No LoRA, or a base of no family that is known."""
        yield from no_lora(material)
        yield from unknown_family(material)

    def write(self, material: Material, settings: Settings, place: Path) -> None:
        """See `Export`."""
        facts = {"general.name": material.ref, **material.facts()}
        # Of the template that it was trained under llama.cpp reads the base's; who has another
        # base gives this one to `--chat-template-file`.
        if template := chat_template(material.checkpoint):
            facts["tokenizer.chat_template"] = template
        write_adapter(place, material.checkpoint, material.deltas(), settings.type, facts)

    @contextmanager
    def reader(
        self, material: Material, settings: Settings, place: Path, scratch: Path
    ) -> Iterator[Reader]:
        """llama.cpp with the base, and the file on it."""
        assert settings.base_file is not None
        with llama_cpp(settings.base_file, lora=place, log=scratch / "llama.cpp.log") as reader:
            yield reader

    def write_base(self, material: Material, settings: Settings, place: Path) -> None:
        """GGUF of the base without the adapter, from the values that are served."""
        facts = {
            "general.name": material.base.name,
            "adapterworks.base": material.base.digest,
            "adapterworks.base_model": material.release.base.model,
        }
        write_model(
            place,
            material.checkpoint,
            material.shapes(),
            material.base_weights(),
            settings.type,
            facts,
        )


EXPORT = GgufLora()
