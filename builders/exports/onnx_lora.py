"""A LoRA as an `.onnx_adapter` beside a graph that is open to it; proved in onnxruntime-genai.

The graph is the base's: whoever has it loads any number of adapters for it, and chooses one at each
request. Of an NF4 base it has the values that are served, since the adapter was trained on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from adapterworks.builders.exports.export import Export, Settings
from adapterworks.builders.exports.gguf.writer import read_config
from adapterworks.builders.exports.material import Material
from adapterworks.builders.exports.objections import no_lora
from adapterworks.builders.exports.onnx.folder import copy_beside, strange
from adapterworks.builders.exports.onnx.graph import OPSET, factor_names, write_graph
from adapterworks.builders.exports.onnx.numbers import finish
from adapterworks.builders.exports.readers.onnx_genai import onnx_genai
from adapterworks.builders.exports.readers.reader import Reader

ADAPTER = "adapter.onnx_adapter"


class OnnxLora(Export):
    """A folder with the base's graph and the adapter beside it."""

    name = "onnx-lora"
    title = "an ONNX graph of the base and the LoRA as .onnx_adapter, for onnxruntime-genai"
    engine = "onnxruntime-genai"
    package = "onnxruntime_genai"
    extra = "onnx"
    writer: ClassVar[str | None] = "onnxscript"
    types: ClassVar[tuple[str, ...]] = ("f32", "f16")

    def objections(self, material: Material, settings: Settings) -> Iterator[str]:
        """No LoRA, or a base of no family that was compared."""
        yield from no_lora(material)
        yield from strange(read_config(material.checkpoint))

    def write(self, material: Material, settings: Settings, place: Path) -> None:
        """See `Export`."""
        config = read_config(material.checkpoint)
        modules = list(material.deltas())
        place.mkdir()
        write_graph(place, material.checkpoint, config, material.base_weights(), modules)
        optional = [name for module in modules for name in factor_names(module)]
        finish(place, settings.type, material.facts(), optional)
        _write_adapter(place / ADAPTER, material)
        copy_beside(material.checkpoint, place, config, material.ends())

    def note(self, settings: Settings, place: Path) -> dict[str, Any]:
        """The operator set, and the bytes of the adapter alone."""
        return {"opset": OPSET, "adapter_size": (place / ADAPTER).stat().st_size}

    @contextmanager
    def reader(
        self, material: Material, settings: Settings, place: Path, scratch: Path
    ) -> Iterator[Reader]:
        """onnxruntime-genai with the graph, and the adapter on it."""
        with onnx_genai(place, ADAPTER) as reader:
            yield reader


def _write_adapter(place: Path, material: Material) -> None:
    """Both factors of every module as the graph multiplies them; the scale is in B."""
    import onnxruntime

    parameters = {}
    for module, delta in material.deltas().items():
        a, b = delta.a.T, delta.scale * delta.b.T
        for name, factor in zip(factor_names(module), (a, b), strict=True):
            values = factor.contiguous().numpy()
            parameters[name] = onnxruntime.OrtValue.ortvalue_from_numpy(values)
    written = onnxruntime.AdapterFormat()
    written.set_adapter_version(material.version)
    written.set_model_version(1)
    written.set_parameters(parameters)
    written.export_adapter(str(place))


EXPORT = OnnxLora()
