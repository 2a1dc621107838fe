"""A checkpoint of Hugging Face's with the adapter in the weights; proved by loading it again.

Of an NF4 base it has the values that are served, de-quantized: the adapter was trained on them, and
is another one on the weights before quantization.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.exports.export import Export, Settings
from adapterworks.builders.exports.material import Material
from adapterworks.builders.exports.objections import no_weight_delta
from adapterworks.builders.exports.readers.reader import Reader
from adapterworks.builders.exports.readers.reference import Reference
from adapterworks.registry.bases.complete import beside_weights

SHARD = 4 * 10**9


class Merged(Export):
    """Safetensors, configuration, tokenizer and template in a folder."""

    name = "merged"
    title = "a Hugging Face checkpoint with the adapter in its weights"
    engine = "transformers"
    types: ClassVar[tuple[str, ...]] = ("bf16", "f16", "f32")

    def objections(self, material: Material, settings: Settings) -> Iterator[str]:
        """No weight delta."""
        yield from no_weight_delta(material)

    def write(self, material: Material, settings: Settings, place: Path) -> None:
        """See `Export`."""
        import torch

        dtype = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[settings.type]
        place.mkdir()
        for path in beside_weights(material.checkpoint):
            shutil.copyfile(path, place / path.name)
        config: dict[str, Any] = json.loads((place / "config.json").read_text("utf-8"))
        config.pop("quantization_config", None)
        # `torch_dtype` is what older readers go by, and the Hub's checkpoints still have.
        config |= {
            key: str(dtype).removeprefix("torch.")
            for key in ("dtype", "torch_dtype")
            if key == "dtype" or key in config
        }
        (place / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        _write_shards(place, material, dtype)

    @contextmanager
    def reader(
        self, material: Material, settings: Settings, place: Path, scratch: Path
    ) -> Iterator[Reader]:
        """Hugging Face, in float32 on the written values."""
        yield Reference(ServedModel(place), place)


def _write_shards(place: Path, material: Material, dtype: Any) -> None:
    """Files of at most `SHARD` bytes, and their index where there are several."""
    import torch
    from safetensors.torch import save_file

    facts = {"format": "pt", **material.facts()}
    shards: list[dict[str, torch.Tensor]] = [{}]
    names: list[list[str]] = [[]]
    size = total = 0
    for name, tensor in material.weights():
        written = tensor.to(dtype) if tensor.is_floating_point() else tensor
        if size and size + written.nbytes > SHARD:
            save_file(shards[-1], place / f"part-{len(names)}.safetensors", metadata=facts)
            shards[-1] = {}
            names.append([])
            size = 0
        shards[-1][name] = written
        names[-1].append(name)
        size += written.nbytes
        total += written.nbytes
    save_file(shards[-1], place / f"part-{len(names)}.safetensors", metadata=facts)
    if len(names) == 1:
        (place / "part-1.safetensors").rename(place / "model.safetensors")
        return
    of: dict[str, str] = {}
    for index, held in enumerate(names, start=1):
        file = f"model-{index:05d}-of-{len(names):05d}.safetensors"
        (place / f"part-{index}.safetensors").rename(place / file)
        of |= dict.fromkeys(held, file)
    table = {"metadata": {"total_size": total}, "weight_map": of}
    text = json.dumps(table, indent=2) + "\n"
    (place / "model.safetensors.index.json").write_text(text, encoding="utf-8")


EXPORT = Merged()
