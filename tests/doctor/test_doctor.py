"""`adapters doctor`: advice follows from what is found."""

from __future__ import annotations

import pytest

from adapterworks.doctor import check, doctor, machine
from adapterworks.doctor.check import Check
from adapterworks.manifests.installing import install


def cpuinfo(flags: str) -> str:
    return f"model name\t: Some CPU\nflags\t\t: fpu {flags}\n"


@pytest.mark.parametrize(
    ("check", "level", "words"),
    [
        (machine.cpu(cpuinfo("avx2")), "slow", "float32"),
        (machine.cpu(cpuinfo("avx2 avx512f")), "slow", "float32"),
        (machine.cpu(cpuinfo("avx2 avx512f avx512_bf16")), "info", "AMX"),
        (machine.cpu(cpuinfo("avx2 avx512f avx512_bf16 amx_bf16")), "ok", ""),
        (machine.threads("8", usable=4, physical=2), "slow", "at most 2"),
        (machine.threads("1", usable=4, physical=2), "slow", "set it to 2"),
        (machine.threads("2", usable=4, physical=2), "ok", ""),
        (machine.threads(None, usable=4, physical=2), "ok", ""),
    ],
)
def test_advice_follows_from_what_is_found(check: Check, level: str, words: str) -> None:
    assert check.level == level
    assert words in check.hint


def test_doctor_knows_a_wrong_version_and_a_missing_module(monkeypatch: pytest.MonkeyPatch) -> None:
    real = check.installed
    monkeypatch.setattr(
        doctor, "installed", lambda name: {"peft": "0.1", "triton": "3.0"}.get(name, real(name))
    )
    seams = {"peft": ("json.decoder", "json.gone"), "triton": ("nowhere.at_all",), "vllm": ("x",)}
    monkeypatch.setattr(doctor, "SEAMS", seams)
    found = [*doctor.packages(), *doctor.seams()]
    failed = {check.name: check.finding for check in found if check.level == "fail"}
    assert "peft 0.1 is not ==0.21.2" in failed["build"]
    assert failed["torch"].startswith("triton beside the CPU build")
    assert failed["seams"] == "not found: json.gone, nowhere.at_all"


def test_doctor_says_which_extras_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    core = {"click", "pydantic", "rich"}
    monkeypatch.setattr(
        doctor, "installed", lambda name: check.installed(name) if name in core else None
    )
    monkeypatch.setattr(doctor, "MODULES", {"build": ("gone", "json"), "serve": ("gone",)})
    found = {check.name: check for check in doctor.packages()}
    assert found["packages"].level == "fail"  # the rest of the core
    assert found["build"].level == found["serve"].level == found["engine"].level == "info"
    assert found["build"].hint == install("build")
    assert next(iter(doctor.seams())).finding.startswith("0 modules")
