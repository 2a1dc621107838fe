"""ONNX of the whole model, the adapter in its weights; proved in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from adapterworks.builders.exports.export import Export, Settings
from adapterworks.builders.exports.gguf.writer import read_config
from adapterworks.builders.exports.material import Material
from adapterworks.builders.exports.objections import no_weight_delta
from adapterworks.builders.exports.onnx.folder import copy_beside, strange
from adapterworks.builders.exports.onnx.graph import OPSET, write_graph
from adapterworks.builders.exports.onnx.numbers import TYPES, finish
from adapterworks.builders.exports.readers.onnx_runtime import onnx_runtime
from adapterworks.builders.exports.readers.reader import Reader


class OnnxModel(Export):
    """A folder for ONNX Runtime, `onnxruntime-genai` and Optimum."""

    name = "onnx"
    title = "an ONNX graph with its cache, for ONNX Runtime and onnxruntime-genai"
    engine = "ONNX Runtime"
    package = "onnxruntime"
    extra = "onnx"
    writer: ClassVar[str | None] = "onnxscript"
    types: ClassVar[tuple[str, ...]] = TYPES

    def objections(self, material: Material, settings: Settings) -> Iterator[str]:
        """No weight delta, or a base of no family that was compared."""
        yield from no_weight_delta(material)
        yield from strange(read_config(material.checkpoint))

    def write(self, material: Material, settings: Settings, place: Path) -> None:
        """See `Export`."""
        config = read_config(material.checkpoint)
        place.mkdir()
        write_graph(place, material.checkpoint, config, material.weights())
        finish(place, settings.type, material.facts(), ())
        copy_beside(material.checkpoint, place, config, material.ends())

    def note(self, settings: Settings, place: Path) -> dict[str, Any]:
        """The operator set, which says what a runtime must know."""
        return {"opset": OPSET}

    @contextmanager
    def reader(
        self, material: Material, settings: Settings, place: Path, scratch: Path
    ) -> Iterator[Reader]:
        """ONNX Runtime on this machine's processor."""
        with onnx_runtime(place) as reader:
            yield reader


EXPORT = OnnxModel()
