"""The LoRA as PEFT's folder, under the base's public name; proved by loading it with PEFT."""

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
from adapterworks.builders.exports.objections import no_lora
from adapterworks.builders.exports.readers.reader import Reader
from adapterworks.builders.exports.readers.reference import Reference
from adapterworks.registry.releases.base_names import public_name


class Peft(Export):
    """`adapter_model.safetensors` and `adapter_config.json`: what `--lora-modules` names."""

    name = "peft"
    title = "a PEFT LoRA folder, which vLLM, TGI and others load beside the base"
    engine = "transformers"
    types: ClassVar[tuple[str, ...]] = ("f32",)

    def objections(self, material: Material, settings: Settings) -> Iterator[str]:
        """No LoRA."""
        yield from no_lora(material)

    def write(self, material: Material, settings: Settings, place: Path) -> None:
        """See `Export`."""
        assert material.servable is not None
        place.mkdir()
        shutil.copyfile(
            material.servable / "adapter_model.safetensors", place / "adapter_model.safetensors"
        )
        text = (material.servable / "adapter_config.json").read_text(encoding="utf-8")
        config: dict[str, Any] = json.loads(text)
        config["base_model_name_or_path"] = public_name(material.release.base.model)
        written = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (place / "adapter_config.json").write_text(written, encoding="utf-8")

    @contextmanager
    def reader(
        self, material: Material, settings: Settings, place: Path, scratch: Path
    ) -> Iterator[Reader]:
        """Hugging Face and PEFT on the base's served values."""
        model = ServedModel(material.base.served, place, material.release.servable)
        yield Reference(model, material.checkpoint)


EXPORT = Peft()
