"""A registry on a tiny base with random LoRA releases to merge."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapterworks.builders.data.render import Encoded
from adapterworks.builders.evaluation.fingerprint import make_fingerprint
from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.merging.merge import Merged, run_merge
from adapterworks.builders.merging.rules.recipe import Recipe
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Draft, Servable
from adapterworks.registry.releases.types import Published
from tests.builders.build_support import make_tiny_base

IDS = [0, 17, 42, 99, 130, 7, 201, 17]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama."""
    return make_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


def make_lora(folder: Path, base: Path, seed: int, **options: Any) -> Path:
    """A LoRA folder with random weights, A and B alike."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    values: dict[str, Any] = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}
    config = LoraConfig(**{**values, **options}, init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(folder)
    (folder / "README.md").unlink()
    return folder


@dataclass
class Shelf:
    """A registry whose releases share one tiny base."""

    registry: Registry
    bases: BaseStore
    base: Base
    folder: Path

    def publish(self, name: str, seed: int, *, base: Base | None = None, **options: Any) -> str:
        """A release `NAME@1` of a random LoRA, as a build publishes one; returns its ref."""
        on, files = base or self.base, self.folder / name
        make_lora(files / "servable", on.served, seed, **options)
        servable = Servable(form="lora", origin="native", rank=options.get("r", 8))
        row = Encoded(IDS, [-100] * 5 + IDS[5:], 0)
        fingerprint = make_fingerprint(
            ServedModel(on.served, files / "servable", servable),
            AutoTokenizer.from_pretrained(on.checkpoint),
            [row],
            base_digest=on.digest,
            template_digest=on.template_digest,
        )
        (files / "fingerprint.json").write_text(json.dumps(fingerprint))
        return str(self.publish_files(name, on, servable))

    def publish_files(
        self, name: str, base: Base, servable: Servable | None, **fields: Any
    ) -> Published:
        """Publish the files of `name` with this record."""
        draft = Draft(
            name=name,
            method="lora",
            license="apache-2.0",
            created="2026-01-01T00:00:00Z",
            created_by="tester",
            base=base.identity,
            servable=servable,
            **fields,
        )
        return self.registry.publish(self.folder / name, draft, who="tester")

    def merge(self, *refs: str, name: str = "both", method: str = "cat", **options: Any) -> Merged:
        """Merge releases of this shelf; `density`, `seed` and `rank` belong to the recipe."""
        recipe = {key: options.pop(key) for key in ("density", "seed", "rank") if key in options}
        return run_merge(
            refs,
            name=name,
            registry=self.registry,
            bases=self.bases,
            scratch=self.folder / "tmp",
            who="tester",
            recipe=Recipe(method, **recipe),
            **options,
        )

    def answers(self, merged: Merged) -> torch.Tensor:
        """The log-probabilities of the merged release on `IDS`."""
        folder = self.registry.checkout(merged.published.digest, "servable")
        return ServedModel(self.base.served, folder, merged.servable).log_probabilities(IDS)


def make_shelf(folder: Path, tiny: Path) -> Shelf:
    """An empty registry with the tiny base."""
    home = folder / "home"
    registry = Registry.open(
        database=f"sqlite:///{folder / 'index.db'}", blobs=str(folder / "blobs"), home=home
    )
    bases = BaseStore(folder / "bases")
    return Shelf(registry, bases, bases.ensure(str(tiny)), folder)


def copy_shelf(stocked: Shelf, folder: Path, tiny: Path) -> Shelf:
    """The same releases in another folder, without making them again."""
    shutil.copytree(stocked.folder, folder, dirs_exist_ok=True)
    return make_shelf(folder, tiny)


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Shelf:
    """What `shelf` is a copy of."""
    shelf = make_shelf(tmp_path_factory.mktemp("stocked"), tiny)
    shelf.publish("one", 1)
    shelf.publish("two", 2, target_modules=["q_proj", "down_proj"], lora_alpha=4, use_rslora=True)
    shelf.registry.close()
    return shelf


@pytest.fixture
def shelf(tmp_path: Path, tiny: Path, stocked: Shelf) -> Shelf:
    """`one@1` and `two@1`, with different modules, scales and ranks of scale."""
    return copy_shelf(stocked, tmp_path, tiny)
