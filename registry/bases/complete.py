"""Whether a checkpoint's files hold the model that its configuration describes.

Invariant: asked without loading a weight: `transformers` builds the model from `config.json` on the
meta device, which holds shapes and no numbers, and the files answer with their headers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from torch import nn

INDEX = "model.safetensors.index.json"
# How files of weights end, and what stands beside them and names them.
_OF_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".index.json")

# How a causal model calls the bare one that it holds, where checkpoints are of that one alone.
_BARE = {"gpt2": "transformer.", "bloom": "transformer."}


def meta_model(checkpoint: Path) -> nn.Module:
    """The model that a checkpoint's `config.json` describes, with shapes and without numbers.

    Raises:
        InvalidInput: it describes no decoder-only model that `transformers` knows.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        values = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        if "model_type" not in values:
            raise InvalidInput("`config.json` has no `model_type`")
        config = AutoConfig.from_pretrained(checkpoint)
        with init_empty_weights():
            model: nn.Module = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # whatever the libraries raise at a configuration, it says why
        reason = " ".join(str(error).split())[:300]
        raise InvalidInput(
            f"`{checkpoint}` is not a decoder-only checkpoint: {reason}",
            hint="the base needs a `config.json` of a causal language model that the installed "
            "transformers knows",
        ) from error
    model.tie_weights()
    return model


def names_in_model(checkpoint: Path, stored: Iterable[str]) -> dict[str, str]:
    """What the model calls the tensors that a checkpoint's files hold, by their names there.

    They differ where `transformers` has moved modules since a base was published (Gemma 3 with
    images is stored as `language_model.model.…`, and its modules are `model.language_model.…`), and
    where the files are of the bare model (`left_out`).
    """
    given = list(stored)
    path = checkpoint / "config.json"  # of weights alone nobody knows another name
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if "text_config" not in config and not left_out(config.get("model_type", ""), given):
        return {name: name for name in given}
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    model: Any = meta_model(checkpoint)
    held = model.state_dict()
    renamings = [
        one for one in get_model_conversion_mapping(model) if isinstance(one, WeightRenaming)
    ]
    return {
        name: name
        if name in held
        else rename_source_key(name, renamings, [], model.base_model_prefix, held)[0]
        for name in given
    }


def weight_files(checkpoint: Path) -> list[Path]:
    """The files of a checkpoint's weights: those its index names, else all in safetensors.

    What else lies in a folder is not read: publishers put the same weights there a second time
    (`consolidated.safetensors`).

    Raises:
        InvalidInput: the index cannot be read, or names a file that is not there.
    """
    index = checkpoint / INDEX
    if index.exists():
        try:
            weights = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            files = sorted({checkpoint / name for name in weights.values()})
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise InvalidInput(
                f"`{index}` is no index of weights: {error!r}", hint="fetch the base again"
            ) from error
        if lost := [path.name for path in files if not path.is_file()]:
            raise InvalidInput(
                f"`{index}` names `{lost[0]}`, which is not there", hint="fetch the base again"
            )
        return files
    single = checkpoint / "model.safetensors"
    return [single] if single.exists() else sorted(checkpoint.glob("*.safetensors"))


def stored_shapes(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a checkpoint's tensors by their names in the files, whose headers say them.

    Raises:
        InvalidInput: as `weight_files`.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path in weight_files(checkpoint):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        found |= {k: tuple(v["shape"]) for k, v in header.items() if k != "__metadata__"}
    return found


def left_out(model_type: str, names: Iterable[str]) -> str:
    """What stands before a tensor's name where the model names the module; empty for most.

    The checkpoints of GPT-2 and BLOOM on the Hub are of the bare model: they say `h.0.attn.c_attn`,
    and modules, and so adapters, say `transformer.h.0.attn.c_attn`.

    Args:
        names: of all the checkpoint's tensors.
    """
    prefix = _BARE.get(model_type, "")
    return "" if any(name.startswith(prefix) for name in names) else prefix


def beside_weights(checkpoint: Path) -> list[Path]:
    """The files of a checkpoint that are no weights: configuration, tokenizer, template, texts.

    What `weight_files` passes over is not among them: engines read every `*.safetensors` of a
    folder that has no index.
    """
    return sorted(
        path
        for path in checkpoint.iterdir()
        if path.is_file()
        and not path.name.startswith("model")
        and not path.name.endswith(_OF_WEIGHTS)
    )


def require_complete(checkpoint: Path, model: nn.Module | None = None) -> None:
    """Refuse files that hold fewer numbers than the model has, before any of it is loaded.

    `transformers` would draw the rest at random, and take the memory for it: a configuration of a
    few bytes can describe a model of any size. More are no fault (a tied output that was stored
    all the same, further heads).

    Args:
        model: what `meta_model` gave for this checkpoint, if it was asked already.

    Raises:
        InvalidInput: there are no safetensors, too few numbers in them, or `meta_model` refuses.
    """
    model = meta_model(checkpoint) if model is None else model
    shapes = stored_shapes(checkpoint)
    if not shapes:
        raise InvalidInput(
            f"`{checkpoint}` has no safetensors file",
            hint="pickled checkpoints are not read; convert the base to safetensors",
        )
    needed = sum(parameter.numel() for parameter in model.parameters())
    stored = sum(map(prod, shapes.values()))
    if stored < needed:
        raise InvalidInput(
            f"the files in `{checkpoint}` hold {stored:,} numbers, and its `config.json` describes "
            f"a model of {needed:,}",
            hint="fetch the base again; one that is quantized already is not taken",
        )
