"""How the vLLM of a build is started: from its model and the adapters that it will have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.engines.engine import Adapter, Model
from adapterworks.builders.plan.generation import ENGINE_CACHE_GIB, ENGINE_SHARE
from adapterworks.manifests.errors import Refused

if TYPE_CHECKING:
    from adapterworks.gateway.engines.launch import EngineSpec

# Room for so many tokens is made at least, where the model has it: a longer question does not need
# another engine then.
_LEAST_LONGEST = 2048
# Prompts in flight; an engine on a GPU works on more of them at once.
_SEQUENCES = {"cpu": 64, "cuda": 256}


def engine_dtype(device: str) -> str:
    """Of weights and activations, on a device of this kind."""
    return "float32" if device == "cpu" else "bfloat16"


def spec_for(model: Model, adapters: Sequence[Adapter], longest: int, forms: Path) -> EngineSpec:
    """How the process is started.

    Args:
        longest: tokens that a prompt and its answer together must be allowed to have.
        forms: folder where the plugin looks for virtual tokens.

    Raises:
        Refused: the model has no room for `longest` tokens.
        InvalidInput: an adapter's rank is above what the engine has.
    """
    from adapterworks.gateway.engines.launch import (
        EngineSpec,
        allowed_rank,
        context_length,
        device,
        loadable,
    )
    from adapterworks.gateway.engines.target import ServedBase

    where = device()
    room = context_length(model.folder, max(longest, _LEAST_LONGEST))
    if longest > room:
        raise Refused(
            f"a prompt and its answer may need {longest} tokens, and `{model.name}` was made for "
            f"{room}",
            hint="shorten the rows or `evaluate.max_new_tokens`, or set `evaluate.engine = "
            '"huggingface"`',
        )
    servables = [adapter.servable for adapter in adapters if adapter.servable is not None]
    ranks = [servable.rank for servable in servables if servable.rank is not None]
    loras = max(1, len(ranks))
    return EngineSpec(
        id=f"{model.name}-build",
        # The dense values that training saw, whatever the base's quantization.
        base=ServedBase(
            name=model.name, model=model.name, digest=model.digest, exact=where == "cpu"
        ),
        folder=model.folder,
        device=where,
        dtype=engine_dtype(where),
        max_model_len=room,
        max_num_seqs=_SEQUENCES[where],
        max_lora_rank=allowed_rank(ranks),
        max_loras=loras,
        max_cpu_loras=loras,
        kv_cache_gib=ENGINE_CACHE_GIB,
        gpu_memory_utilization=ENGINE_SHARE,
        forms=loadable((one.form for one in servables), {}),
        servables=forms,
    )
