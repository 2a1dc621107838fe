"""Every command of the README is typed, in its order, in one home, with a real vLLM.

As it is written, with the changes that `tests/docs/scene.py` names; in `make docs-typed` the base
has two layers.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.registry.bases.store import BaseStore
from tests.docs.blocks import ROOT, blocks
from tests.docs.scene import Scene, environment
from tests.hub_standin import Account, HubStandin
from tests.registry.remotes.hub.machine import OWNER
from tests.small_base import MODEL, WHOLE_BASES
from tests.warm.python import warm_python

README = ROOT / "README.md"


def typed() -> list[str]:
    """The lines that a reader types."""
    found = [block for block in blocks(README) if block.language == "console"]
    return [command.text for block in found for command in block.commands()]


@pytest.fixture
def hub() -> Iterator[str]:
    """The stand-in's URL; `org` belongs to the token's account."""
    with HubStandin({OWNER: Account("org")}) as standin:
        yield standin.url


def test_the_readme_names_what_it_should() -> None:
    lines = typed()
    for word in ("init", "plan", "build", "promote", "push", "serve", "chat", "ps", "tenant"):
        assert any(line.startswith(f"adapters {word}") for line in lines), word
    assert [line for line in lines if line.startswith("make ")] == ["make demo", "make test"]


@pytest.mark.engine
@pytest.mark.train
@pytest.mark.slow
def test_every_command_of_the_readme_runs(
    tmp_path: Path, hub: str, either_bases: BaseStore
) -> None:
    either_bases.ensure(MODEL, quantization="nf4")
    variables = {
        "ADAPTERS_BASES": str(either_bases.root),
        "HF_ENDPOINT": hub,
        "HF_TOKEN": OWNER,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "ADAPTERS_GATEWAY_RESIDENCY__COLD_WAIT_SECONDS": "300",  # loading, on a busy machine
    }
    quick = either_bases.root != WHOLE_BASES
    if quick:  # two layers find no end, and write until there is no room
        variables["ADAPTERS_GATEWAY_ENGINES"] = '[{quantization = "nf4", max_model_len = 384}]'
    folder = tmp_path / "checkout"
    (folder / "docs" / "tutorials").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "tutorials" / "tickets.csv", folder / "docs" / "tutorials")
    python = warm_python() if quick else sys.executable
    scene = Scene(folder, environment(tmp_path, python, **variables), quick=quick)
    try:
        scene.page(README)
    finally:
        scene.close()
