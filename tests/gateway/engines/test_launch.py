"""How an engine on CPU is started: with faster libraries, unless the user chose their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.gateway.config.engines import LocalEngine
from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.gateway.engines import cpu, launch, plan
from adapterworks.gateway.engines.launch import (
    EngineSpec,
    command,
    loadable,
    without_virtual_tokens,
)
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.registry.bases.base import Base
from bench.architectures import make_base

SPEC = EngineSpec(
    id="one",
    base=ServedBase("base", "base", "sha256:" + "b" * 64),
    folder=Path("/base"),
    device="cpu",
    dtype="float32",
    max_model_len=512,
    max_num_seqs=8,
    max_lora_rank=16,
    max_loras=2,
    max_cpu_loras=4,
    kv_cache_gib=1,
    gpu_memory_utilization=0.9,
)


def _environment() -> dict[str, str]:
    return command(SPEC, Path("/socket"), "key")[1]


def test_it_gets_the_libraries_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(cpu.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(cpu, "_LIBRARY_FOLDERS", (str(tmp_path),))
    assert "LD_PRELOAD" not in _environment()
    openmp, allocator = tmp_path / "lib" / "libiomp5.so", tmp_path / "libtcmalloc_minimal.so.4"
    openmp.parent.mkdir()
    openmp.touch()
    assert _environment()["LD_PRELOAD"] == str(openmp)
    allocator.touch()
    assert _environment()["LD_PRELOAD"] == f"{openmp}:{allocator}"
    # Threads that spin for 200 ms would take the gateway's core.
    assert _environment()["KMP_BLOCKTIME"] == "1"


@pytest.mark.parametrize("double", [True, False])
def test_a_gpu_serves_the_values_that_training_saw(
    double: bool, nf4_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader of quantized kernels quantizes the block scales too, of every base."""
    monkeypatch.setattr(plan, "device", lambda: "cuda")
    base = replace(nf4_base, double_quantization=double)
    spec = plan._spec(GatewayConfig(), LocalEngine(), base, [], 0, None)
    assert spec.folder == (base.checkpoint if double else base.served)
    flags = command(spec, Path("/socket"), "key")[0]
    assert ("bitsandbytes" in flags) is double


@pytest.mark.parametrize(
    ("switch", "version", "forms"),
    [
        ("1", "0.32.0", ("lora", "prefix", "prompt")),
        ("0", "0.32.0", ("lora",)),
        ("1", "0.33.1", ("lora",)),
        ("1", "0.3.2", ("lora",)),
    ],
)
def test_virtual_tokens_are_for_engines_with_the_plugin(
    switch: str, version: str, forms: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTERS_ENGINE_PLUGIN", switch)
    monkeypatch.setattr(launch, "installed_version", lambda package: version)
    assert loadable(["prompt", "lora", "prefix", "prompt"], {}) == forms


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"speculative-config": '{"method": "eagle3", "model": "x"}'}, "a cache of its own"),
        ({"speculative_config": '{"model": "a/draft"}'}, "a cache of its own"),
        ({"speculative-config": "not JSON"}, "a cache of its own"),
        ({"spec-method": "mtp"}, "a cache of its own"),
        ({"spec-model": "a/draft"}, "a cache of its own"),
        ({"tensor-parallel-size": 2}, "`tensor-parallel-size` is 2"),
        ({"pipeline_parallel_size": "4"}, "`pipeline-parallel-size` is 4"),
        ({"spec-method": "ngram"}, None),
        ({"speculative-config": '{"method": "ngram", "num_speculative_tokens": 4}'}, None),
        ({"tensor-parallel-size": 1, "enforce-eager": True}, None),
    ],
)
def test_an_engine_that_would_not_start_with_virtual_tokens_serves_the_loras(
    options: dict[str, Any], why: str | None
) -> None:
    """Else one prefix among a base's releases would end its engine for all of them."""
    said = without_virtual_tokens(options)
    assert (said is None) if why is None else (why in str(said))
    virtual = () if why else ("prefix",)
    assert loadable(["lora", "prefix"], options) == ("lora", *virtual)


@pytest.mark.parametrize("name", ["Mixtral", "GPT-OSS", "Llama"])
def test_experts_are_served_as_training_had_them(
    name: str, tmp_path: Path, nf4_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bitsandbytes leaves them whole, and the loader of its kernels would quantize them."""
    monkeypatch.setattr(plan, "device", lambda: "cuda")
    base = replace(nf4_base, checkpoint=make_base(name, tmp_path / "base"))
    spec = plan._spec(GatewayConfig(), LocalEngine(), base, [], 0, None)
    dense = name != "Llama"
    assert spec.folder == (base.served if dense else base.checkpoint)
    assert spec.quantizes is not dense
    said: list[str] = []
    plan._say_of(spec, base, [], said.append)
    assert [("in bfloat16 at the values of NF4" in line) for line in said] == [True] * dense


def test_who_is_left_out_and_why_is_said(nf4_base: Base) -> None:
    said: list[str] = []
    base: Any = nf4_base
    releases: Any = [
        SimpleNamespace(name=name, base=base, servable=SimpleNamespace(form=form, rank=rank))
        for name, form, rank in (
            ("calm", "lora", 8),
            ("kind", "prefix", None),
            ("blunt", "prompt", None),
        )
    ]
    table = LocalEngine(options={"speculative-config": '{"method": "eagle"}'})
    spec = plan._spec(GatewayConfig(), table, base, releases, 0, None)
    assert spec.forms == ("lora",)
    plan._say_of(spec, base, releases, said.append)
    assert len(said) == 1
    assert said[0].startswith("left out: `blunt`, `kind` (")
    assert "its speculative decoding has a draft with a cache" in said[0]


def test_the_wheel_brings_openmp() -> None:
    assert "libiomp5.so" in cpu.cpu_environment()["LD_PRELOAD"]


def test_no_file_of_the_users_is_imported_by_vllm_or_what_it_starts() -> None:
    arguments, environment = command(SPEC, Path("/socket"), "key")
    assert arguments[1:3] == ["-P", "-m"]
    assert environment["PYTHONSAFEPATH"] == "1"


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("KMP_BLOCKTIME", "7")
    assert _environment()["LD_PRELOAD"] == ""
    assert _environment()["KMP_BLOCKTIME"] == "7"


@pytest.mark.parametrize(("cores", "reserved"), [(2, "0"), (7, "0"), (8, None)])
def test_a_small_machine_computes_on_all_its_cores(
    cores: int, reserved: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert _environment().get("VLLM_CPU_NUM_OF_RESERVED_CPU") == reserved


def test_what_a_layer_frees_is_kept_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """glibc gave it back to the kernel, page by page; measured by `bench.engine_settings`."""
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    # glibc ignores a larger mmap threshold, and with it would trim as before.
    assert [int(_environment()[name]) for name in names] == [1 << 30, 32 << 20]
    monkeypatch.setenv(names[0], "1")
    assert _environment()[names[0]] == "1"
