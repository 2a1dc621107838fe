"""What an engine said before it ended is still there when the next one has begun."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from adapterworks.gateway.config.tables import SupervisorTable
from adapterworks.gateway.engines import local
from adapterworks.gateway.engines.launch import EngineSpec
from adapterworks.gateway.engines.target import ServedBase


async def test_the_log_of_the_run_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = EngineSpec(
        id="qwen2.5-0", base=ServedBase("tiny", "tiny", "sha256:" + "b" * 64), folder=tmp_path,
        device="cpu", dtype="float32", max_model_len=64, max_num_seqs=1, max_lora_rank=8,
        max_loras=1, max_cpu_loras=1, kv_cache_gib=1, gpu_memory_utilization=0.5,
    )  # fmt: skip
    engine = local.LocalEngine(
        spec, run=tmp_path, supervisor=SupervisorTable(), request_seconds=5.0
    )
    engine.log.parent.mkdir(parents=True, exist_ok=True)
    for word in ("first", "second"):
        said = f"print('ValueError: the {word} one'); raise SystemExit(3)"
        begun = ([sys.executable, "-c", said], dict(os.environ))
        monkeypatch.setattr(local, "command", lambda *_, begun=begun: begun)
        assert f"the {word} one" in await engine._run_once()
        await engine._end()
    assert "the second one" in engine.log.read_text()
    assert "the first one" in (tmp_path / "engine-qwen2.5-0.log.1").read_text()
