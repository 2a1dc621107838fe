"""`adapters verify --rebuild`: a release trained again from its own manifest and lock."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

import adapterworks.builders.rebuilding.rebuild as module
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.publishing.adapter_lock import environment
from adapterworks.builders.rebuilding.as_built import manifest_of
from adapterworks.builders.rebuilding.weights import distance
from adapterworks.cli.verify import command as verify
from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound
from adapterworks.manifests.models import Manifest
from tests.builders.build_support import make_tiny_base
from tests.builders.workshop import Workshop

pytestmark = pytest.mark.train
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A release, on a base and rows of its own that the last tests change."""
    folder = tmp_path_factory.mktemp("rebuild")
    workshop = Workshop(folder, make_tiny_base(folder / "base"))
    workshop.json(workshop.manifest())
    return workshop


def rebuilt(workshop: Workshop, *arguments: str) -> Result:
    return workshop.invoke(verify, "tiny@1", "--rebuild", *arguments)


def test_the_same_base_rows_and_code_give_the_same_bits(workshop: Workshop) -> None:
    result = rebuilt(workshop, "--json")
    assert result.exit_code == 0, result.output or result.exception
    values = json.loads(result.stdout)["rebuild"]
    assert values["differences"] == []
    assert values["weights"]["bit_equal"]
    assert (values["weights"]["largest"], values["weights"]["relative"]) == (0.0, 0.0)
    assert values["weights"]["parameters"] > 1000
    assert values["scores"]["exact_match"]["difference"] == 0.0
    assert (values["rows"], values["changed"]) == (6, 0)
    # Nothing was published, and nothing is left.
    assert [row.version for row in workshop.registry().versions("tiny")] == [1]
    assert list((workshop.home / "tmp").iterdir()) == []


def test_what_differs_is_said_and_its_distance_measured(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, evaluated = manifest_of, module._with_evaluations

    def of_before(lock: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
        """The lock of a version that did not say how often it evaluated: after 70 of 70."""
        train = plan.manifest.train.model_copy(update={"evaluations": 1})
        manifest = plan.manifest.model_copy(update={"train": train})
        then = {name: value for name, value in lock.items() if name != "evaluate_every"}
        assert len(then) == len(lock) - 1
        return evaluated(then, plan.model_copy(update={"steps": 70, "manifest": manifest}))

    monkeypatch.setattr(module, "_with_evaluations", of_before)

    def other_seed(*arguments: Any) -> Manifest:
        manifest = read(*arguments)
        train = manifest.train.model_copy(update={"seed": 7})
        return manifest.model_copy(update={"train": train})

    other = replace(environment(), packages={**environment().packages, "torch": "1.0"})
    monkeypatch.setattr(module, "manifest_of", other_seed)
    monkeypatch.setattr("adapterworks.builders.building.surroundings.environment", lambda: other)
    result = rebuilt(workshop)
    assert result.exit_code == 0, result.output or result.exception
    said = result.stderr.splitlines()
    (line,) = [index for index, text in enumerate(said) if "packages.torch was" in text]
    assert "is `1.0`" in said[line]
    assert line < next(index for index, text in enumerate(said) if text.startswith("step"))
    assert "equal to the bit" not in result.stdout
    assert "largest difference" in result.stdout
    assert "differs from the lock: evaluate_every, packages.torch" in result.stdout
    assert "differs from the lock: evaluate_every was `70`" in result.stderr


def test_changed_rows_are_refused_before_anything_is_trained(workshop: Workshop) -> None:
    path = workshop.folder / "train.jsonl"
    before = path.read_text()
    path.write_text(before.replace("A3", "A4"))
    result = rebuilt(workshop)
    path.write_text(before)
    assert isinstance(result.exception, IntegrityError)
    assert "`train.jsonl` is not the file that `tiny@1` was built from" in result.exception.message
    assert "--data-dir" in str(result.exception.hint)
    assert list((workshop.home / "tmp").iterdir()) == []


def test_another_base_under_the_same_name_is_refused(workshop: Workshop) -> None:
    path = workshop.base / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"][0] += 1
    save_file(weights, path, metadata={"format": "pt"})
    shutil.rmtree(workshop.home / "bases")
    unknown = rebuilt(workshop)
    assert isinstance(unknown.exception, NotFound)
    assert "a base in the folder `base`" in unknown.exception.message
    result = rebuilt(workshop, "--data-dir", str(workshop.folder))
    assert isinstance(result.exception, IntegrityError)
    assert "`tiny@1` was built on base sha256:" in result.exception.message


def test_rebuild_is_of_one_release(workshop: Workshop) -> None:
    result = CliRunner().invoke(verify, ["--all", "--rebuild"], obj=workshop.app)
    assert isinstance(result.exception, InvalidInput)


@pytest.fixture
def folders(tmp_path: Path) -> Callable[[Tensors, Tensors], tuple[Path, Path]]:
    def write(one: Tensors, other: Tensors) -> tuple[Path, Path]:
        for name, tensors in (("one", one), ("other", other)):
            (tmp_path / name).mkdir()
            save_file(tensors, tmp_path / name / "adapter_model.safetensors")
        return tmp_path / "one", tmp_path / "other"

    return write


def test_distance_is_relative_over_all_tensors(folders: Any) -> None:
    one = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[4.0]])}
    other = {"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([[4.0]])}
    found = distance(*folders(one, other))
    assert (found.tensors, found.parameters) == (2, 3)
    assert not found.bit_equal
    assert (found.largest, found.relative) == (1.0, 0.2)


def test_equal_values_of_another_type_are_not_bit_equal(folders: Any) -> None:
    found = distance(*folders({"a": torch.ones(2)}, {"a": torch.ones(2).bfloat16()}))
    assert (found.bit_equal, found.largest) == (False, 0.0)


def test_other_tensors_have_no_distance(folders: Any) -> None:
    with pytest.raises(IntegrityError, match="in one of the two only, such as `a`"):
        distance(*folders({"a": torch.ones(1)}, {"b": torch.ones(1)}))
