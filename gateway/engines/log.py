"""What an engine is doing, read from the end of its log, in a person's words."""

from __future__ import annotations

import re
from pathlib import Path

_TAIL_BYTES = 16_384
# The last of these that occurs in the log says how far the start has come.
_STAGES = (
    ("Application startup complete", "opening its socket"),
    ("Started server process", "opening its socket"),
    ("Capturing CUDA graph", "capturing CUDA graphs"),
    ("Graph capturing", "capturing CUDA graphs"),
    ("Warming up", "warming up"),
    ("torch.compile", "compiling"),
    ("KV cache size", "allocating the key-value cache"),
    ("Loading weights took", "allocating the key-value cache"),
    ("Loading safetensors", "loading weights"),
    ("Starting to load model", "loading weights"),
    ("Initializing a V1 LLM engine", "starting the engine core"),
    ("non-default args", "reading the model's configuration"),
)
_FAULT = re.compile(
    r"^(?:\(\w+ pid=\d+\) )?(?:\w+ [\d-]+ [\d:]+ \[[^\]]*\] )?(\w*(?:Error|Exception): .+)"
)


def reason_from_log(path: Path) -> str:
    """The last error in the log's tail, else the stage of starting it shows, else `starting`."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            tail = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "starting"
    for line in reversed(tail.splitlines()):
        fault = _FAULT.match(line.strip())
        if fault:
            return fault.group(1)[:200]
    for marker, stage in sorted(_STAGES, key=lambda entry: tail.rfind(entry[0]), reverse=True):
        if marker in tail:
            return stage
    return "importing the engine"
