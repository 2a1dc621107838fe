"""A plan for a base that is described and not there: its configuration and its tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adapterworks.cli.plan import command as plan
from adapterworks.manifests.errors import InvalidInput
from tests.builders.workshop import Workshop


@pytest.fixture
def paper(tmp_path: Path, tiny: Path) -> Workshop:
    """The tiny base's folder without its weights."""
    folder = tmp_path / "described"
    shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    return Workshop(tmp_path, folder)


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_sizes_are_those_of_the_base_with_its_weights(
    kind: str, paper: Workshop, tiny: Path
) -> None:
    path = paper.manifest(kind)
    if kind == "qlora":
        text = Path(path).read_text().replace("[method]", 'quantization = "nf4"\n[method]')
        Path(path).write_text(text)
    told = paper.invoke(plan, path, "--machine", "a10", "--json")
    assert told.exit_code == 0, told.output
    described = json.loads(told.stdout)
    assert any("has no weights" in lint["message"] for lint in described["lints"])
    if kind == "qlora":  # whose weights take a while
        assert described["memory"]["weights"] > 0
        return
    whole = Workshop(paper.folder, tiny)
    found = json.loads(
        whole.invoke(plan, whole.manifest(kind), "--machine", "a10", "--json").stdout
    )
    for key in ("memory", "parameters", "trainable", "steps", "micro_batch", "disk", "servable"):
        assert described[key] == found[key], key
    assert described["digest"] != found["digest"]
    assert not any("has no weights" in lint["message"] for lint in found["lints"])


def test_nothing_is_built_or_kept_of_it(paper: Workshop) -> None:
    path = paper.manifest()
    assert paper.invoke(plan, path).exit_code == 0
    assert paper.app.bases.list() == []
    for result in (paper.build(path), paper.invoke(plan, path, "--calibrate")):
        assert isinstance(result.exception, InvalidInput)
        assert "needs config.json and *.safetensors" in str(result.exception)
