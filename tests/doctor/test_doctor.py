"""`adapters doctor`: advice follows from what is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapterworks.cli.main import cli
from adapterworks.doctor import doctor, machine
from adapterworks.doctor.check import Check
from adapterworks.manifests.installing import install, installed_version


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
    real = installed_version
    monkeypatch.setattr(
        doctor,
        "installed_version",
        lambda name: {"peft": "0.1", "triton": "3.0"}.get(name, real(name)),
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
        doctor, "installed_version", lambda name: installed_version(name) if name in core else None
    )
    monkeypatch.setattr(doctor, "MODULES", {"build": ("gone", "json"), "serve": ("gone",)})
    found = {check.name: check for check in doctor.packages()}
    assert found["packages"].level == "fail"  # the rest of the core
    assert found["build"].level == found["serve"].level == found["engine"].level == "info"
    assert found["build"].hint == install("build")
    assert next(iter(doctor.seams())).finding.startswith("0 modules")


LOOKED_AT = [
    *("packages", "seams", "cpu", "threads", "memory", "shm", "allocator", "gpu", "files"),
    *("disk", "index", "blobs", "hub"),
]


def examined() -> dict[str, Check]:
    told = CliRunner().invoke(cli, ["doctor", "--json"])
    found = [Check(**one) for one in json.loads(told.stdout)]
    assert [name for name in LOOKED_AT if name in {one.name for one in found}] == LOOKED_AT
    assert told.exit_code == int(any(one.level == "fail" for one in found))
    return {one.name: one for one in found}


def test_a_home_that_may_not_be_entered_is_a_finding(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the tests may enter every folder: what the system says is put in its mouth."""
    real = Path.exists

    def exists(path: Path) -> bool:
        if path.is_relative_to(home):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "exists", exists)
    disk = examined()["disk"]
    assert disk.level == "fail"
    assert "Permission denied" in disk.finding
    assert "ADAPTERS_HOME" in disk.hint


def test_a_home_that_is_a_file_is_a_finding(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.parent / "file").write_text("")
    monkeypatch.setenv("ADAPTERS_HOME", str(home.parent / "file"))
    found = examined()
    assert (found["disk"].level, found["index"].level) == ("fail", "fail")


def test_what_ends_one_look_ends_no_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Check:
        raise ValueError("MemTotal: ?")

    monkeypatch.setattr(machine, "memory", broken)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror:99999")
    found = examined()
    assert found["memory"] == Check("memory", "fail", "ValueError: MemTotal: ?")
    assert "Port out of range" in found["hub"].finding
    assert found["hub"].hint == "check HF_ENDPOINT and HF_HOME"
