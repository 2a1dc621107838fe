"""A base that takes images too: what text passes through is trained, and nothing else."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.exports.material import Material
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.methods.factors import read_weights
from adapterworks.builders.methods.linears import adapted_linears, takes_text_alone
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.plan.attached import check_attached
from adapterworks.registry.bases.complete import meta_model
from adapterworks.registry.imports.adapter import Checked, check_adapter
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.modules import read_modules
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import Servable
from bench.architectures import make_base
from tests.builders.build_support import manifest_for, tiny_job
from tests.builders.training.test_sharding import run

pytestmark = pytest.mark.train
TEXT = "model.language_model."
IDS = [2, 3, 4, 5]


@pytest.fixture(scope="module")
def gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base("Gemma3-images", tmp_path_factory.mktemp("gemma3"))


def test_no_linear_of_the_tower_gets_an_adapter(gemma3: Path, tiny: Path) -> None:
    model = meta_model(gemma3)
    names = [linear.name for linear in adapted_linears(model)]
    assert len(names) == 2 * 7
    assert all(name.startswith(TEXT) for name in names)
    assert not takes_text_alone(model)
    assert takes_text_alone(meta_model(tiny))
    shape = read_shape(gemma3)
    towers = ("model.vision_tower.", "model.multi_modal_projector.")
    beside = [p for name, p in model.named_parameters() if name.startswith(towers)]
    assert shape.beside == sum(parameter.numel() for parameter in beside) > 0
    assert read_shape(tiny).beside == 0


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("lora", {}),
        # The tower's attention has the same names, and its layers the same numbers.
        ("lora", {"target_modules": ["q_proj", "v_proj"]}),
        ("lora", {"layers_to_transform": [1]}),
        ("adalora", {}),
        ("ia3", {}),
        ("vera", {}),
        ("full", {}),
    ],
)
def test_what_is_planned_is_attached_and_of_text(
    gemma3: Path, kind: str, method: dict[str, Any]
) -> None:
    manifest, shape = manifest_for(kind, method=method), read_shape(gemma3)
    technique = METHODS[kind]
    planned = technique.trainable(shape, manifest.method)
    check_attached(manifest, gemma3, planned=planned, steps=100)
    model = meta_model(gemma3)
    model.requires_grad_(False)
    adapted = technique.attach(model, technique.unset(manifest.method), 100)
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert trained
    assert [name for name in trained if "vision" in name or "projector" in name] == []


def test_what_its_files_hold_is_named_as_its_modules_are(gemma3: Path, tiny: Path) -> None:
    """It is stored as it was published, and deltas and starts are those of modules."""
    assert any(name.startswith("language_model.") for name in stored(gemma3))
    for base in (gemma3, tiny):
        found, model = read_weights(base), meta_model(base)
        shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        assert {name: found[name].shape for name in shapes} == shapes
        assert len(found) == len(stored(base))


@pytest.mark.parametrize(
    ("prefix", "rename"),
    [(TEXT, False), ("language_model.model.", True), ("model.", True)],
    ids=["as-modules-are", "before-they-moved", "of-the-text-model"],
)
def test_an_adapter_of_others_is_imported_by_its_modules_names(
    gemma3: Path, tmp_path: Path, prefix: str, rename: bool
) -> None:
    """PEFT writes the names of modules, which a checkpoint of before 4.52 does not have."""
    weights = read_weights(gemma3)
    tensors = {}
    for layer in range(2):
        module = f"layers.{layer}.self_attn.q_proj"
        size_out, size_in = weights[f"{TEXT}{module}.weight"].shape
        path = f"base_model.model.{prefix}{module}"
        tensors[f"{path}.lora_A.weight"] = torch.ones(4, size_in)
        tensors[f"{path}.lora_B.weight"] = torch.ones(size_out, 4)
    (tmp_path / "given").mkdir()
    (tmp_path / "clean").mkdir()
    save_file(tensors, tmp_path / "given" / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (tmp_path / "given" / "adapter_config.json").write_text(json.dumps(config))

    def check(**how: Any) -> Checked:
        modules = partial(read_modules, gemma3)
        return check_adapter(
            tmp_path / "given", tmp_path / "clean", modules=modules, base_name="tiny", **how
        )

    if rename:
        with pytest.raises(ImportRefused, match="silently do nothing"):
            check()
    targets = check(rename=rename).target_modules
    assert targets == tuple(f"{TEXT}layers.{layer}.self_attn.q_proj" for layer in range(2))
    form = ServedModel(gemma3, tmp_path / "clean", Servable(form=LORA, origin="native", rank=4))
    moved = form.log_probabilities(IDS) - form.log_probabilities(IDS, adapter=False)
    assert float(moved.abs().max()) > 0


def stored(base: Path) -> list[str]:
    """The names in a checkpoint's file."""
    return list(load_file(base / "model.safetensors"))


@pytest.mark.parametrize("kind", ["full", "ia3", "dora"])
def test_what_is_served_names_no_module_of_a_tower(gemma3: Path, tmp_path: Path, kind: str) -> None:
    """PEFT reads the last name of a module as every module of that name."""
    job = tiny_job(gemma3, tmp_path / kind, kind, rows=8, epochs=1.0, learning_rate=1e-2)
    job.run()
    source = Source(job.folder / "adapter", gemma3, read_shape(gemma3), job.plan.manifest)
    done = METHODS[kind].convert(source, tmp_path / "servable")
    form = ServedModel(gemma3, tmp_path / "servable", done.servable)
    moved = form.log_probabilities(IDS) - form.log_probabilities(IDS, adapter=False)
    assert float(moved.abs().max()) > 0
    written = json.loads((tmp_path / "servable" / "adapter_config.json").read_text())
    assert all(name.startswith(TEXT) for name in written["target_modules"])


@pytest.mark.parametrize("init", ["kaiming", "loftq"])
def test_a_start_reads_the_tensor_of_its_module(gemma3: Path, tmp_path: Path, init: str) -> None:
    job = tiny_job(gemma3, tmp_path / init, "qlora", rows=8, epochs=1.0, method={"init": init})
    job.run()
    assert all(".language_model." in name for name in job.adapter())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "sharding"), [("lora", "none"), ("full", "none"), ("lora", "fsdp")]
)
def test_two_processes_train_it(gemma3: Path, tmp_path: Path, kind: str, sharding: str) -> None:
    """A tower's parameters would never get a gradient, and the second step wait for them."""
    job = tiny_job(gemma3, tmp_path / kind, kind, rows=16, epochs=1.0)
    assert job.plan.steps > 1
    run(job, 2, sharding)
    assert list((job.folder / "train/adapter").glob("*.safetensors"))


def test_what_it_learnt_is_merged_by_the_names_of_modules(gemma3: Path, tmp_path: Path) -> None:
    """The files hold tensors as they were published; a model of its own has what was learnt."""
    job = tiny_job(gemma3, tmp_path / "lora", "lora", rows=8, epochs=1.0, learning_rate=1e-2)
    job.run()
    source = Source(job.folder / "adapter", gemma3, read_shape(gemma3), job.plan.manifest)
    METHODS["lora"].convert(source, tmp_path / "servable")
    base: Any = SimpleNamespace(served=gemma3)
    nothing: Any = None
    material = Material("a@1", "a", 1, nothing, base, tmp_path / "servable", None, None)
    held = load_file(gemma3 / "model.safetensors")
    changed = [name for name, tensor in material.weights() if not tensor.equal(held[name].float())]
    assert len(changed) == len(material.deltas()) > 0
    assert all(name.startswith("language_model.") for name in changed)


def test_a_training_of_the_whole_model_is_another(gemma3: Path, tiny: Path, tmp_path: Path) -> None:
    """One that began with its tower, as before, is not gone on with."""
    plan = tiny_job(gemma3, tmp_path / "gemma3", "lora", rows=8).plan
    assert plan.text_alone
    before = plan.model_copy(update={"text_alone": False})
    assert plan.digests.train != before.digests.train
    assert not tiny_job(tiny, tmp_path / "tiny", "lora", rows=8).plan.text_alone
