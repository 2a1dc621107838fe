"""A refused adapter is told from others by what was measured, and by facts about its files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency.diagnosis import diagnose, findings
from adapterworks.gateway.residency.verdict import Answers, Proof, divergence, effect
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release, Servable
from tests.registry.releases import draft

TOKENS = 12
WEIGHTS = "servable/adapter_model.safetensors"


def answers(shift: Callable[[torch.Tensor], torch.Tensor], off_base: float = 0.0) -> Answers:
    """Positions whose built shift is drawn, and whose shift in the engine is `shift` of it."""
    draw = torch.Generator().manual_seed(0)
    base = torch.randn(5, TOKENS, generator=draw)
    built = torch.randn(5, TOKENS, generator=draw)

    def listed(values: torch.Tensor) -> list[list[tuple[int, float]]]:
        return [list(enumerate(row)) for row in values.log_softmax(-1).tolist()]

    engine = base + off_base * torch.randn(5, TOKENS, generator=draw)
    return Answers(
        expected=listed(base + built),
        expected_base=listed(base),
        got=[dict(row) for row in listed(engine + shift(built))],
        got_base=[dict(row) for row in listed(engine)],
    )


def other(built: torch.Tensor) -> torch.Tensor:
    return torch.randn(built.shape, generator=torch.Generator().manual_seed(9)) * 1.2


def half(built: torch.Tensor) -> torch.Tensor:
    """Right for some tokens, nothing or something else for others."""
    mixed = built.clone()
    mixed[:, ::2] = other(built)[:, ::2] * 0.6
    return mixed


def test_an_effect_has_a_direction_and_a_strength() -> None:
    same = effect(answers(lambda built: built))
    assert (same.similarity, same.strength) == pytest.approx((1.0, 1.0), abs=1e-5)
    assert effect(answers(torch.zeros_like)).strength == pytest.approx(0.0, abs=1e-6)
    assert effect(answers(other)).similarity < 0.5
    reverse = effect(answers(torch.neg))
    assert reverse.similarity < 0
    assert reverse.strength < 0
    weak, strong = (effect(answers(lambda built, by=by: by * built)) for by in (0.5, 2.0))
    assert weak.strength < 0.8
    assert strong.strength > 1.3


@pytest.mark.parametrize(
    ("shift", "off_base", "words"),
    [
        (torch.zeros_like, 0.0, "does nothing in the engine: its answers are the base's"),
        (lambda built: 0.03 * built, 0.0, "does next to nothing: 0.0[0-9]+ nats from its base"),
        (lambda built: 1.6 * built, 0.0, r"acts 1\.\d+ times as strongly as it was built to"),
        (lambda built: 1.25 * built, 0.0, r"acts 1\.19 times as strongly as it was built to"),
        (lambda built: 0.5 * built, 0.0, r"acts 0\.\d+ times as strongly as it was built to"),
        (half, 0.0, "is only in part what was built"),
        (lambda built: 1.1 * built, 0.0, "is only in part what was built"),
        (other, 0.0, "is not what was built: further from its fingerprint than its base is"),
        (lambda built: built, 0.3, "the engine's base is not the one it was built on"),
    ],
)
def test_each_fault_has_words_of_its_own(
    shift: Callable[[torch.Tensor], torch.Tensor], off_base: float, words: str
) -> None:
    four = answers(shift, off_base)
    base = SimpleNamespace(exact=True, model="base")
    engine = cast(Engine, SimpleNamespace(base=base))
    release = Release.from_draft(draft(1), {})
    measured = Proof(
        "proved",
        divergence=divergence(four.expected, four.got),
        separation=divergence(four.expected, [dict(row) for row in four.expected_base]),
    )
    error = diagnose(engine, release, measured, four)
    assert re.search(words, error.message), error.message
    assert error.hint
    assert error.measured is measured


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A native LoRA release's files: `servable/` is a copy of `adapter/`."""
    folder = tmp_path / "files"
    (folder / "adapter").mkdir(parents=True)
    tensors = {
        f"base_model.model.model.layers.{layer}.q_proj.lora_{side}.weight": torch.ones(2, 2) + layer
        for layer in range(4)
        for side in "AB"
    }
    save_file(tensors, folder / "adapter" / "adapter_model.safetensors")
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 4}))
    shutil.copytree(folder / "adapter", folder / "servable")
    return folder


def found(registry: Registry, files: Path, name: str, **fields: Any) -> tuple[str, ...]:
    """Publish the files; what is found in them."""
    published = registry.publish(files, draft(1, name, **fields), who="tester")
    release = registry.release(published.digest)
    return findings(registry, release, registry.checkout(published.digest, "servable"))


def edit(files: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    save_file(change(load_file(files / WEIGHTS)), files / WEIGHTS)


def test_a_sound_release_has_no_findings(registry: Registry, files: Path) -> None:
    assert found(registry, files, "good") == ()


def test_findings_name_copies_that_are_none_and_the_owner(registry: Registry, files: Path) -> None:
    trained = files / "adapter" / "adapter_model.safetensors"
    found(registry, files, "good")
    own = trained.read_bytes()
    edit(files, lambda tensors: {name: 2 * value for name, value in tensors.items()})
    shutil.copyfile(files / WEIGHTS, trained)
    assert found(registry, files, "other") == ()
    (files / "servable" / "adapter_config.json").write_text('{"r": 2, "lora_alpha": 8}')
    said = "is not the `adapter/{0}` that it is said to be"
    assert found(registry, files, "rescaled") == (
        f"`servable/adapter_config.json` {said.format('adapter_config.json')}",
    )
    shutil.copyfile(
        files / "adapter" / "adapter_config.json", files / "servable" / "adapter_config.json"
    )
    trained.write_bytes(own)
    swapped = "its weights are those of `other@1`"
    assert found(registry, files, "swapped") == (
        f"`servable/adapter_model.safetensors` {said.format('adapter_model.safetensors')}",
        swapped,
    )
    cut = Servable(form="lora", origin="approximate", rank=2)
    assert found(registry, files, "converted", servable=cut) == (swapped,)
    edit(files, lambda tensors: {name: 3 * value for name, value in tensors.items()})
    assert found(registry, files, "alone", servable=cut) == ()


def test_a_release_without_the_trained_weights_can_be_looked_at(
    registry: Registry, files: Path
) -> None:
    """As one that was imported: there is nothing to compare what is served with."""
    shutil.rmtree(files / "adapter")
    assert found(registry, files, "imported") == ()


def test_findings_count_what_is_zero_missing_or_no_number(registry: Registry, files: Path) -> None:
    edit(files, lambda tensors: {k: v * (".3." not in k) for k, v in tensors.items()})
    assert "1 of its 4 `lora_B` are zero" in found(registry, files, "zero")
    edit(files, lambda tensors: {k: v for k, v in tensors.items() if ".1." not in k})
    assert "2 of the 8 trained tensors are not in it" in found(registry, files, "missing")
    edit(files, lambda tensors: {k: v * float("nan") for k, v in tensors.items()})
    assert any("NaN or infinity" in fact for fact in found(registry, files, "nan"))
    data = (files / WEIGHTS).read_bytes()
    (files / WEIGHTS).write_bytes(data[:-9])
    assert any("more than the" in fact for fact in found(registry, files, "cut"))
