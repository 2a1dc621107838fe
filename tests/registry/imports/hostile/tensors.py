"""Well-formed files whose tensors do not fit the base, the config, or each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.registry.imports.hostile import header
from tests.registry.imports.hostile.cases import WEIGHTS, case
from tests.registry.imports.hostile.good import HIDDEN, RANK, VOCAB, good_tensors, write_adapter

LAYER = "base_model.model.model.layers.0"
Q = f"{LAYER}.self_attn.q_proj"


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def changed(folder: Path, name: str, value: np.ndarray | None) -> None:
    tensors = good_tensors()
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value
    write_adapter(folder, tensors=tensors)


@case(WEIGHTS, "`model.layers.*` should be `base_model.model.model.layers.*`")
def names_without_prefix(folder: Path) -> None:
    write_adapter(folder, tensors=good_tensors(prefix=""))


@case(WEIGHTS, "`base_model.model.language_model.model.layers.*` should be")
def names_of_a_larger_model(folder: Path) -> None:
    write_adapter(folder, tensors=good_tensors(prefix="base_model.model.language_model."))


@case(WEIGHTS, "fits no module of the base (its modules are named like")
def names_of_another_architecture(folder: Path) -> None:
    tensors = {
        name.replace("model.layers", "transformer.h"): value
        for name, value in good_tensors().items()
    }
    write_adapter(folder, tensors=tensors)


@case(WEIGHTS, "it has no `qkv_proj`")
def module_the_base_has_not(folder: Path) -> None:
    tensors = {k.replace("q_proj", "qkv_proj"): v for k, v in good_tensors().items()}
    write_adapter(folder, tensors=tensors)


@case(WEIGHTS, "fits no module of the base")
def layer_the_base_has_not(folder: Path) -> None:
    tensors = {k.replace("layers.1", "layers.99"): v for k, v in good_tensors().items()}
    write_adapter(folder, tensors=tensors)


@case(WEIGHTS, "has no `lora_B`")
def half_a_pair(folder: Path) -> None:
    changed(folder, f"{Q}.lora_B.weight", None)


@case(WEIGHTS, "has the shape [4, 17], the config and the base say [4, 16]")
def wrong_input_size(folder: Path) -> None:
    changed(folder, f"{Q}.lora_A.weight", ones(RANK, HIDDEN + 1))


@case(WEIGHTS, "has the shape [8, 16], the config and the base say [4, 16]")
def rank_other_than_declared(folder: Path) -> None:
    write_adapter(folder, tensors=good_tensors(rank=8))


@case(WEIGHTS, "has the shape [16, 4], the config and the base say [4, 16]")
def transposed_pair(folder: Path) -> None:
    changed(folder, f"{Q}.lora_A.weight", ones(HIDDEN, RANK))


@case(WEIGHTS, "adapts an embedding")
def embedding_adapted(folder: Path) -> None:
    write_adapter(
        folder,
        tensors={
            **good_tensors(),
            "base_model.model.model.embed_tokens.lora_embedding_A": ones(RANK, VOCAB),
        },
    )


@case(WEIGHTS, "`lm_head` is not a linear layer of a block")
def output_layer_adapted(folder: Path) -> None:
    write_adapter(
        folder,
        tensors={
            **good_tensors(),
            "base_model.model.lm_head.lora_A.weight": ones(RANK, HIDDEN),
            "base_model.model.lm_head.lora_B.weight": ones(VOCAB, RANK),
        },
    )


@case(WEIGHTS, "replaces a whole layer of the base")
def whole_layer_smuggled_in(folder: Path) -> None:
    write_adapter(
        folder,
        tensors={
            **good_tensors(),
            "base_model.model.lm_head.modules_to_save.weight": ones(VOCAB, HIDDEN),
        },
    )


@case(WEIGHTS, "is no part of a LoRA")
def base_weight_smuggled_in(folder: Path) -> None:
    write_adapter(folder, tensors={**good_tensors(), f"{Q}.weight": ones(HIDDEN, HIDDEN)})


@case(WEIGHTS, "is a bias")
def bias_smuggled_in(folder: Path) -> None:
    write_adapter(folder, tensors={**good_tensors(), f"{Q}.lora_B.bias": ones(HIDDEN)})


@case(WEIGHTS, "belongs to DoRA, the config does not say so")
def undeclared_dora(folder: Path) -> None:
    write_adapter(folder, tensors={**good_tensors(), f"{Q}.lora_magnitude_vector": ones(HIDDEN)})


@case(WEIGHTS, "has no `lora_magnitude_vector`")
def dora_without_magnitudes(folder: Path) -> None:
    write_adapter(folder, config={"use_dora": True})


@case(WEIGHTS, "are for the same place")
def two_tensors_for_one_place(folder: Path) -> None:
    write_adapter(
        folder, tensors={**good_tensors(), f"{Q}.lora_A.default.weight": ones(RANK, HIDDEN)}
    )


@case(WEIGHTS, "the config targets `up_proj`, no tensor")
def target_without_tensors(folder: Path) -> None:
    write_adapter(folder, config={"target_modules": ["q_proj", "v_proj", "up_proj"]})


@case(WEIGHTS, "has tensors, the config does not target it")
def tensors_without_target(folder: Path) -> None:
    write_adapter(folder, config={"target_modules": ["q_proj"]})


@case(WEIGHTS, f"tensor `{Q}.lora_B.weight` has NaN or infinity at element 5")
def nan_in_float32(folder: Path) -> None:
    value = ones(HIDDEN, RANK)
    value[1, 1] = np.nan
    changed(folder, f"{Q}.lora_B.weight", value)


@case(WEIGHTS, "has NaN or infinity at element 3")
def infinity_in_float16(folder: Path) -> None:
    value = np.ones((RANK, HIDDEN), np.float16)
    value[0, 3] = np.inf
    changed(folder, f"{Q}.lora_A.weight", value)


@case(WEIGHTS, "has NaN or infinity at element 1")
def nan_in_bfloat16(folder: Path) -> None:
    data = np.array([0x3F80, 0x7FC0, 0x3F80, 0x3F80], "<u2").tobytes()
    entry = {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}
    header.write(folder, {"x.lora_A.weight": entry}, data)


@case(WEIGHTS, "every `lora_B` is zero: the adapter changes nothing")
def update_of_zeros(folder: Path) -> None:
    tensors = {k: v * 0 if "lora_B" in k else v for k, v in good_tensors().items()}
    write_adapter(folder, tensors=tensors)
