"""What `deploy/` says, and what it may refer to: variables, vLLM's options, commands."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.settings import KEYS
from docs.make.reference import OTHERS
from tests.docs.blocks import ROOT

DEPLOY = ROOT / "deploy"
# Read by what runs in the images beside us.
_OF_OTHERS = {
    *("PATH", "HOME", "PYTHONSAFEPATH", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
    *("VLLM_PLUGINS", "VLLM_API_KEY", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_NO_USAGE_STATS"),
    "AWS_SECRET_ACCESS_KEY",  # named in the line of AWS_ACCESS_KEY_ID
    "ADAPTERS_SERVABLES",  # gateway/engine_plugin/servables.py
}


def documents(name: str) -> list[dict[str, Any]]:
    """The YAML documents of a file of `deploy/`."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def variables() -> set[str]:
    """Every variable that something reads."""
    known = {f"ADAPTERS_{key.upper()}" for key in KEYS} | OTHERS.keys() | _OF_OTHERS
    return known | {f"ADAPTERS_GATEWAY_{name.upper()}" for name in GatewayConfig.model_fields}


@cache
def vllm_sources() -> str:
    """The files that hold vLLM's options, its variables, its paths and its measures."""
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.origin is not None
    home = Path(found.origin).parent
    files = (
        "engine/arg_utils.py",
        "envs.py",
        "entrypoints/launchers/cli_args.py",
        "entrypoints/serve/instrumentator/health.py",
        "v1/metrics/loggers.py",
    )
    return "\n".join((home / file).read_text(encoding="utf-8") for file in files)


@cache
def vllm_options() -> frozenset[str]:
    """vLLM's long options: the fields of its tables of arguments, and those spelt out."""
    text = vllm_sources()
    fields = re.findall(r"^    (\w+): ", text, re.MULTILINE)
    return frozenset({f"--{name.replace('_', '-')}" for name in fields}) | frozenset(
        re.findall(r'"(--[a-z0-9-]+)"', text)
    )


def unknown_options(words: list[str]) -> list[str]:
    """Those of a command line that vLLM has not."""
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert len(vllm_options()) > 100
    return sorted(options - vllm_options())


def option(words: list[str], name: str) -> int:
    """The number behind `--name=`."""
    (found,) = [word for word in words if word.startswith(f"--{name}=")]
    return int(ast.literal_eval(found.partition("=")[2]))
