"""The plugin is found by vLLM, can be switched off, and leaves unknown versions alone."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import entry_points

from tests.warm.python import warm_python

# One process for all cases; the hooks come last.
PROBE = """
import json, os, sys
import vllm.version
from vllm.platforms.cpu import CpuPlatform
from adapterworks.gateway.engine_plugin import register

found = {}
os.environ["ADAPTERS_ENGINE_PLUGIN"] = "0"
register()
found["off"] = CpuPlatform.get_punica_wrapper()
del os.environ["ADAPTERS_ENGINE_PLUGIN"]

real = vllm.version.__version__, vllm.version.__version_tuple__
vllm.version.__version__, vllm.version.__version_tuple__ = "0.33.1", (0, 33, 1)
register()
found["unknown"] = CpuPlatform.get_punica_wrapper()
vllm.version.__version__, vllm.version.__version_tuple__ = real

from vllm.plugins import load_general_plugins
load_general_plugins()
register()
found["on"] = CpuPlatform.get_punica_wrapper()
found["numba"] = "numba" in sys.modules
print(json.dumps(found))
"""


def test_on_by_vllms_entry_point_off_by_environment_and_by_unknown_version() -> None:
    done = subprocess.run(
        [warm_python("engine"), "-c", PROBE],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ADAPTERS_ENGINE_PLUGIN": "1"},
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["off"].startswith("vllm.")
    assert found["unknown"].startswith("vllm.")
    assert found["on"] == "adapterworks.gateway.engine_plugin.cpu_lora.GroupedPunicaWrapper"
    # vLLM 0.32 looks through all modules as its worker starts, and fails at an object of Numba's.
    assert not found["numba"]
    assert (done.stdout + done.stderr).count("tested with vLLM 0.32, this is 0.33.1") == 1


def test_the_entry_point_is_declared() -> None:
    (found,) = entry_points(group="vllm.general_plugins", name="adapterworks")
    assert found.value == "adapterworks.gateway.engine_plugin:register"
