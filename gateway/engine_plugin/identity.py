"""`GET /adapterworks/base`: which base this engine serves, for gateways that have no copy of it.

It is what stands in the record beside the model's folder, written when the base was prepared
(`adapters base add`). vLLM adds the route where it is asked to: `VLLM_PLUGINS=adapterworks`.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

PATH = "/adapterworks/base"
RECORD = "base.json"


def describe(
    model: str, served_as: str, dtype: str, kind: dict[str, str] | None = None
) -> dict[str, Any] | None:
    """What is known of the base in a folder; None if no record is beside it.

    Args:
        model: folder of the weights, as vLLM was given it.
        served_as: the name that vLLM answers to.
        dtype: that it computes in, as torch writes it.
        kind: what else its numbers depend on (`kind_of`).
    """
    from adapterworks.manifests.digests import digest_bytes
    from adapterworks.registry.bases.files import chat_template

    folder = Path(model)
    records = [place / RECORD for place in (folder, folder.parent)]
    record = next((file for file in records if file.is_file()), None)
    if record is None:
        return None
    said = json.loads(record.read_text(encoding="utf-8"))
    return {
        "name": said["name"],
        "model": served_as,
        "digest": said["digest"],
        "quantization": said["quantization"],
        "template_digest": digest_bytes(chat_template(folder).encode()),
        "exact": dtype.removeprefix("torch.") == "float32",
        "kind": kind,
    }


def kind_of(args: Namespace, dtype: str) -> dict[str, str]:
    """What an engine's numbers depend on, besides the weights: alike in engines of one kind."""
    import platform
    from importlib.metadata import version

    import vllm
    from vllm.platforms import current_platform

    device = str(current_platform.device_type)
    if device == "cpu":
        device = f"cpu {platform.machine()} {_processor()}"
    else:
        device = f"{device} {current_platform.get_device_name()}"
    options = ("tensor_parallel_size", "pipeline_parallel_size", "kv_cache_dtype", "enforce_eager")
    return {
        "vllm": str(vllm.__version__),
        "plugin": version("adapterworks"),
        "device": device[:200],
        "dtype": dtype.removeprefix("torch."),
        **{name: str(getattr(args, name, "")) for name in options},
    }


def _processor() -> str:
    """The CPU's model, whose instructions decide in which order is added."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "")


async def _base(request: Request) -> Response:
    """What was read when the engine started."""
    from starlette.responses import JSONResponse

    said = getattr(request.app.state, "adapterworks_base", None)
    if said is None:
        message = "no record of a prepared base is beside the model's folder"
        return JSONResponse({"error": {"message": message}}, status_code=404)
    return JSONResponse(said)


class Identity:
    """vLLM's `EndpointPlugin`."""

    name = "adapterworks"
    required_tasks = None

    def attach_router(self, app: FastAPI) -> None:
        """Add the route."""
        # Not `app.get`: FastAPI would look for the annotation's name where it is not imported.
        app.add_route(PATH, _base, methods=["GET"])

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Read the record once."""
        config = getattr(engine_client, "model_config", None)
        served = (args.served_model_name or [args.model])[0]
        dtype = str(getattr(config, "dtype", args.dtype))
        # Quantized as it is loaded, it is another base than the one whose weights lie there.
        as_it_lies = getattr(args, "quantization", None) is None
        kind = kind_of(args, dtype)
        state.adapterworks_base = describe(args.model, served, dtype, kind) if as_it_lies else None
