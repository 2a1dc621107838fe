"""The LoRA as PEFT's folder, under the base's public name; proved by loading it with PEFT.

Invariant: tokenizer, chat template and ends of answers are read from what was written, never from
the base: a manifest may have decided another template than the public base has, and an adapter that
is asked under that answers otherwise, or does not stop.
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
from adapterworks.builders.exports.objections import no_lora
from adapterworks.builders.exports.readers.reader import Reader
from adapterworks.builders.exports.readers.reference import Reference
from adapterworks.registry.bases.causal_lm import EAGER, needs_eager
from adapterworks.registry.bases.files import GENERATION
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
        _write_texts(material, place)
        (place / "README.md").write_text(card(material), encoding="utf-8")

    @contextmanager
    def reader(
        self, material: Material, settings: Settings, place: Path, scratch: Path
    ) -> Iterator[Reader]:
        """Hugging Face and PEFT on the base's served values."""
        model = ServedModel(material.base.served, place, material.release.servable)
        yield Reference(model, place)


def _write_texts(material: Material, place: Path) -> None:
    """Tokenizer, template and generation settings, as PEFT's trainers put them beside an adapter.

    What ends an answer is always named: a folder without the base's `config.json` has it nowhere
    else.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(material.checkpoint)
    tokenizer.save_pretrained(place)
    path = material.checkpoint / GENERATION
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    settings["eos_token_id"] = list(material.ends())
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    (place / GENERATION).write_text(text, encoding="utf-8")


def card(material: Material) -> str:
    """The folder's `README.md`: of which release it is, and on which base it is that release."""
    base, model = material.base, public_name(material.release.base.model)
    four_bit = base.quantization == "nf4"
    quantized = (
        f"It was trained on the base in NF4 (double quantization: {base.double_quantization}), and "
        "is another adapter on the weights before quantization: load the base as below, or use "
        "`adapters export --to merged`, which has those values.\n\n"
        if four_bit
        else ""
    )
    options = (
        ",\n    quantization_config=BitsAndBytesConfig(\n"
        '        load_in_4bit=True, bnb_4bit_quant_type="nf4",\n'
        f"        bnb_4bit_use_double_quant={base.double_quantization},\n    ),\n"
        if four_bit
        else ""
    )
    if needs_eager(material.checkpoint):  # the reader's `transformers` would pass over a soft cap
        options = f',\n    attn_implementation="{EAGER}"' + (options or ",\n")
    classes = "AutoModelForCausalLM, AutoTokenizer" + (", BitsAndBytesConfig" if four_bit else "")
    return (
        f"# {material.ref}\n\nA LoRA for `{model}`: release `{material.release.digest}` on the "
        f"base `{base.digest}`.\n\n"
        "Tokenizer, chat template and `generation_config.json` (what ends an answer) are those "
        "that it was trained under. They may differ from the base's own, so load them from this "
        f"folder.\n\n{quantized}"
        f"```python\nfrom peft import PeftModel\nfrom transformers import {classes}\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("FOLDER")\n'
        f'base = AutoModelForCausalLM.from_pretrained("{model}"{options})\n'
        'model = PeftModel.from_pretrained(base, "FOLDER")\n```\n'
    )


EXPORT = Peft()
