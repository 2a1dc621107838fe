"""Tensors ↔ modules ↔ config: every tensor has a place in the base, every place its pair.

    base_model.model.{module}.lora_A.weight   (rank, in)
    base_model.model.{module}.lora_B.weight   (out, rank)
    base_model.model.{module}.lora_magnitude_vector   (out)      DoRA only

Invariant: an adapter that passes changes exactly the modules listed, in PEFT and in the engine
alike. A name that fits no module is never skipped: that is how an adapter comes to do nothing
while every answer is a 200 (vLLM #34186, #48019, #55193).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapterworks.registry.imports.config import LoraConfig
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.folder import CONFIG, WEIGHTS
from adapterworks.registry.imports.header import Header, TensorInfo
from adapterworks.registry.imports.modules import BaseModules

PREFIX = "base_model.model."
DTYPES = ("F32", "F16", "BF16")
_PART = re.compile(r"(?P<path>.+)\.(?P<part>lora_A|lora_B|lora_magnitude_vector)(?P<rest>(\.\w+)*)")
# Wrappers that trainers leave in front of names, and where a text model sits in a larger one.
_WRAPPERS = ("base_model", "model", "module", "_orig_mod", "_fsdp_wrapped_module", "language_model")


@dataclass(frozen=True, slots=True)
class Layout:
    """The adapter's structure, checked against the base.

    Attributes:
        modules: adapted module → its rank.
        names: tensor name in the file → the name PEFT and the engine expect.
    """

    modules: Mapping[str, int]
    names: Mapping[str, str]
    renamed: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Module:
    parts: dict[str, tuple[str, TensorInfo]] = field(default_factory=dict)


def check_dtypes(header: Header) -> None:
    """Every tensor is of a floating type that the engine loads.

    Raises:
        ImportRefused: one is not.
    """
    for name, info in header.tensors.items():
        if info.dtype not in DTYPES:
            raise ImportRefused(
                WEIGHTS, f"tensor `{name}` is {info.dtype}; {', '.join(DTYPES)} are taken"
            )


def match(header: Header, config: LoraConfig, base: BaseModules, *, rename: bool) -> Layout:
    """Assign every tensor to a module of the base and check ranks, shapes and pairs.

    Args:
        rename: accept names with a known wrong prefix, mapped as the refusal would show.

    Raises:
        ImportRefused: a tensor without a place, a pair without its half, a wrong shape or dtype.
    """
    modules: dict[str, _Module] = {}
    prefixes: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, info in header.tensors.items():
        path, part = _split(name, config)
        module = _place(name, path, base)
        if module is None:
            raise _unplaced(name, path, base)
        expected = f"{PREFIX}{module}.{part}" + ("" if part.endswith("vector") else ".weight")
        if expected != name:
            prefixes.setdefault(*_difference(name, expected))
        slot = modules.setdefault(module, _Module())
        if part in slot.parts:
            raise ImportRefused(
                WEIGHTS, f"tensors `{slot.parts[part][0]}` and `{name}` are for the same place"
            )
        slot.parts[part] = (name, info)
        names[name] = expected
    if prefixes and not rename:
        raise ImportRefused(
            WEIGHTS,
            "its tensor names are not the ones PEFT loads, so it would silently do nothing: "
            + ", ".join(f"`{old}` should be `{new}`" for old, new in sorted(prefixes.items())),
            hint="pass `--rename` to import it under the right names",
        )
    ranks = {
        module: _check_module(module, slot, config, base)
        for module, slot in sorted(modules.items())
    }
    if prefixes:
        _check_patterns(config, ranks)
    notes = _check_targets(config, ranks, base)
    return Layout(ranks, names, tuple(sorted(prefixes.items())), tuple(notes))


def _split(name: str, config: LoraConfig) -> tuple[str, str]:
    found = _PART.fullmatch(name)
    if found is None:
        if ".modules_to_save" in name or ".original_module" in name:
            raise ImportRefused(WEIGHTS, f"tensor `{name}` replaces a whole layer of the base")
        if "lora_embedding_" in name:
            raise ImportRefused(WEIGHTS, f"tensor `{name}` adapts an embedding; only linear layers")
        if name.endswith(".bias"):
            raise ImportRefused(WEIGHTS, f"tensor `{name}` is a bias, which the engine cannot load")
        if name.endswith(
            ("embed_tokens.weight", "lm_head.weight", "wte.weight", ".base_layer.weight")
        ):
            raise ImportRefused(
                WEIGHTS,
                f"tensor `{name}` is a whole embedding of the base, which PEFT wrote beside the "
                "LoRA; the engine cannot load it",
                hint="save it without: `model.save_pretrained(…, save_embedding_layers=False)`",
            )
        raise ImportRefused(WEIGHTS, f"tensor `{name}` is no part of a LoRA")
    part = found["part"]
    if part == "lora_magnitude_vector" and not config.use_dora:
        raise ImportRefused(WEIGHTS, f"tensor `{name}` belongs to DoRA, the config does not say so")
    if found["rest"].endswith(".bias"):
        raise ImportRefused(WEIGHTS, f"tensor `{name}` is a bias, which the engine cannot load")
    return found["path"], part


def _place(name: str, path: str, base: BaseModules) -> str | None:
    """The module a path means: as PEFT writes it, or after known wrappers are taken off."""
    if name.startswith(PREFIX) and path.removeprefix(PREFIX) in base.shapes:
        return path.removeprefix(PREFIX)
    parts = path.split(".")
    while True:
        tail = ".".join(parts)
        for before in ("", "model.", "model.language_model."):
            if before + tail in base.linear:
                return before + tail
        if parts[0] not in _WRAPPERS or len(parts) == 1:
            return None
        parts = parts[1:]


def _difference(name: str, expected: str) -> tuple[str, str]:
    """The two names without their common tail, cut at a dot: what is wrong, once per kind."""
    old, new = name.split("."), expected.split(".")
    digits = [i for i, part in enumerate(old) if part.isdigit()]
    if digits and old[digits[0] :] == new[-(len(old) - digits[0]) :]:
        cut = len(old) - digits[0]
        return ".".join(old[:-cut]) + ".*", ".".join(new[:-cut]) + ".*"
    return name, expected


def _unplaced(name: str, path: str, base: BaseModules) -> ImportRefused:
    tail = path.rpartition(".")[2]
    alike = sorted(base.by_suffix().get(tail, ()), key=lambda m: (len(m), m))
    have = f"its modules are named like `{alike[0]}`" if alike else f"it has no `{tail}`"
    return ImportRefused(
        WEIGHTS,
        f"tensor `{name}` fits no module of the base ({have}); "
        "loaded anyway, it would silently do nothing",
        hint="name the base it was trained on with `--base`",
    )


def _check_module(module: str, slot: _Module, config: LoraConfig, base: BaseModules) -> int:
    if module not in base.linear:
        raise ImportRefused(
            WEIGHTS, f"`{module}` is not a linear layer of a block; the engine would not adapt it"
        )
    wanted = {"lora_A", "lora_B"} | ({"lora_magnitude_vector"} if config.use_dora else set())
    for part in sorted(wanted - slot.parts.keys()):
        raise ImportRefused(WEIGHTS, f"module `{module}` has no `{part}`")
    size_in, size_out = base.in_out(module)
    rank = config.rank_of(module)
    shapes = {
        "lora_A": (rank, size_in),
        "lora_B": (size_out, rank),
        "lora_magnitude_vector": (size_out,),
    }
    for part, (name, info) in slot.parts.items():
        if info.shape != shapes[part]:
            raise ImportRefused(
                WEIGHTS,
                f"tensor `{name}` has the shape {list(info.shape)}, the config and the base "
                f"say {list(shapes[part])}",
                hint="check `r` and `rank_pattern`, and that `--base` is the base it was "
                "trained on",
            )
    return rank


def _check_targets(config: LoraConfig, modules: Mapping[str, int], base: BaseModules) -> list[str]:
    """Every target that the base has must be there: PEFT would create the missing ones anew.

    Returns what to say of targets that the base does not have, which PEFT passes over: lists for
    several architectures are common.
    """
    if isinstance(config.target_modules, str):
        return []
    absent = [
        target
        for target in config.target_modules
        if target != "all-linear" and not any(_targets(target, module) for module in modules)
    ]
    for target in absent:
        if any(_targets(target, module) for module in base.shapes):
            raise ImportRefused(
                WEIGHTS, f"the config targets `{target}`, no tensor is for such a module"
            )
    for module in modules:
        if "all-linear" not in config.target_modules and not any(
            module == target or module.endswith(f".{target}") for target in config.target_modules
        ):
            raise ImportRefused(
                WEIGHTS, f"module `{module}` has tensors, the config does not target it"
            )
    named = ", ".join(f"`{target}`" for target in absent)
    return [f"its config targets {named} too, which the base does not have"] if absent else []


def _check_patterns(config: LoraConfig, modules: Mapping[str, int]) -> None:
    """Patterns that name modules as its tensors did would be of none, and its scales others."""
    for key in {**config.rank_pattern, **config.alpha_pattern}:
        if not any(_targets(key, module) for module in modules):
            raise ImportRefused(
                CONFIG,
                f"`rank_pattern` or `alpha_pattern` names `{key}`, which is no module once its "
                "tensors are renamed",
                hint="name it there as the base does",
            )


def _targets(target: str, module: str) -> bool:
    return module == target or module.endswith(f".{target}")


def minimal_targets(modules: Mapping[str, int], base: BaseModules) -> list[str]:
    """The shortest `target_modules` that makes PEFT adapt exactly these modules."""
    targets: list[str] = []
    for suffix, all_of_it in sorted(base.by_suffix().items()):
        adapted = sorted(all_of_it & modules.keys())
        targets += [suffix] if len(adapted) == len(all_of_it) else adapted
    return targets
