"""The plugin is found by vLLM, can be switched off, and leaves unknown versions alone."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

PROBE = """
import os, sys
import vllm.version
if len(sys.argv) > 1:
    vllm.version.__version__ = sys.argv[1]
    vllm.version.__version_tuple__ = tuple(int(part) for part in sys.argv[1].split("."))
from vllm.plugins import load_general_plugins
load_general_plugins()
from vllm.platforms.cpu import CpuPlatform
print(CpuPlatform.get_punica_wrapper())
"""


def wrapper(*arguments: str, **environment: str) -> tuple[str, str]:
    import os

    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout.strip().splitlines()[-1], done.stdout + done.stderr


def test_vllm_finds_the_plugin_by_its_entry_point() -> None:
    (found,) = entry_points(group="vllm.general_plugins", name="adapterworks")
    assert found.value == "gateway.engine_plugin:register"
    name, _ = wrapper()
    assert name == "gateway.engine_plugin.cpu_lora.GroupedPunicaWrapper"


def test_switched_off_by_the_environment() -> None:
    name, _ = wrapper(ADAPTERS_ENGINE_PLUGIN="0")
    assert name.startswith("vllm.")


def test_an_untested_version_keeps_the_stock_path_and_says_so() -> None:
    name, output = wrapper("0.33.1")
    assert name.startswith("vllm.")
    assert output.count("tested with vLLM 0.32, this is 0.33.1") == 1
