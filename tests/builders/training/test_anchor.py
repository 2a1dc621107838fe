"""Anchors: the penalty and the Fisher information by hand, and what they do to a training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adapterworks.builders.building.prepare import prepare
from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.objectives.sft import OBJECTIVE as SFT
from adapterworks.builders.training.anchor import Anchor, fisher
from adapterworks.builders.training.batches import EncodedSet, load_encoded, save_encoded
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.forward import Forward
from adapterworks.builders.training.loop import Trainer
from adapterworks.manifests.load import check_manifest, load_manifest
from tests.builders.build_support import TinyJob, encoded_rows, examples_of, tiny_job
from tests.builders.workshop import Workshop

EWC = {"kind": "ewc", "weight": 0.5}


def test_the_penalty_and_its_gradient_by_hand() -> None:
    """½·3·(2·0.1² + 0.5·0.2²) = 0.06, and 3·F·Δ by number."""
    model = nn.ParameterDict({"one": nn.Parameter(torch.tensor([1.0, 2.0]))})
    anchor = Anchor(model, 3.0, {"one": torch.tensor([2.0, 0.5])})
    assert anchor.penalty().item() == 0.0
    with torch.no_grad():
        model["one"].add_(torch.tensor([0.1, -0.2]))
    penalty = anchor.penalty()
    assert penalty.item() == pytest.approx(0.06, rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, [model["one"]])
    assert gradient.tolist() == pytest.approx([0.6, -0.3], rel=1e-5)
    alike = Anchor(model, 3.0, None)
    with torch.no_grad():
        model["one"].add_(torch.tensor([0.3, 0.4]))
    assert alike.penalty().item() == pytest.approx(0.5 * 3 * 0.25, rel=1e-5)


class Words(nn.Module):
    """A model that says one distribution, whatever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.5, -1.0, 0.25]))
        self.idle = nn.Parameter(torch.ones(2))

    def forward(self, input_ids: torch.Tensor, logits_to_keep: torch.Tensor, **_: Any) -> Any:
        shape = (len(input_ids), len(logits_to_keep), 3)
        return SimpleNamespace(logits=self.bias.expand(shape))


def test_the_fisher_information_by_hand() -> None:
    """∂ log p(w)/∂b = e_w − p. Two rows: words 0 and 1, and word 2; three tokens."""
    model = Words()
    model.train()
    rows = [[0, 0, 1], [0, 2]]
    examples = tuple(
        (TokenSequence(torch.tensor(ids), torch.tensor([-100, *ids[1:]])),) for ids in rows
    )
    forward = Forward(SFT, model, model, False, 0, pad=0)
    found = fisher(forward, EncodedSet(examples, (2.0, 1.0)))
    p = np.exp([0.5, -1.0, 0.25]) / np.exp([0.5, -1.0, 0.25]).sum()
    first, second = np.array([1, 1, 0]) - 2 * p, np.array([0, 0, 1]) - p
    assert found["bias"].tolist() == pytest.approx(((first**2 + second**2) / 3).tolist(), rel=1e-5)
    assert found["idle"].tolist() == [0.0, 0.0]
    assert model.training
    assert model.bias.grad is None


def anchored(tiny: Path, folder: Path, kind: str = "lora", **train: Any) -> TinyJob:
    """A planned training with earlier rows beside its own."""
    made = tiny_job(tiny, folder, kind, **{"epochs": 1.0, "learning_rate": 1e-2, **train})
    own = load_encoded(folder / "encoded.safetensors")
    assert own.keys() == {"train", "validation"}
    splits = {
        "train": examples_of(encoded_rows(32)),
        "validation": examples_of(encoded_rows(8, seed=1)),
        "anchor": examples_of(encoded_rows(6, seed=2)),
    }
    save_encoded(folder / "encoded.safetensors", splits)
    return made


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    named = trainer.bare.named_parameters()
    return {name: p.detach().clone() for name, p in named if p.requires_grad}


@pytest.mark.train
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_step_pays_for_where_it_is(tiny: Path, tmp_path: Path, kind: str) -> None:
    """The first one nothing, so it is that of a training without an anchor; the next one for the
    first one's way, as the equation says, and its gradient too."""
    free = tiny_job(tiny, tmp_path / "free", kind, epochs=1.0, learning_rate=1e-2).trainer()
    held = anchored(tiny, tmp_path / "held", kind, anchor=EWC).trainer()
    began, importance = weights(held), fisher(held.forward, load_rows(tmp_path / "held"))
    assert all(bool((one >= 0).all()) for one in importance.values())
    batch = [*range(8)]
    first = [trainer._step(batch) for trainer in (free, held)]
    assert first[1].metrics["anchor"] == 0.0
    assert first[0].loss == first[1].loss
    at = weights(held)
    for name, tensor in weights(free).items():
        assert torch.equal(tensor, at[name]), name
    by_hand = 0.5 * 0.5 * sum(float((importance[n] * (at[n] - began[n]) ** 2).sum()) for n in at)
    assert by_hand > 0
    for trainer in (free, held):
        trainer.progress.step += 1
    free.stepper._backward(batch, 24.0)
    sums = held.stepper._backward(batch, 24.0)
    assert sums["anchor"] / 24 == pytest.approx(by_hand, rel=1e-4)
    gradients = {n: p.grad for n, p in free.bare.named_parameters() if p.grad is not None}
    for name, parameter in held.bare.named_parameters():
        if parameter.grad is not None:
            expected = gradients[name] + 0.5 * importance[name] * (at[name] - began[name])
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-7)


def load_rows(folder: Path) -> EncodedSet:
    return load_encoded(folder / "encoded.safetensors")["anchor"]


def distance(job: TinyJob, trainer: Trainer, began: dict[str, torch.Tensor]) -> float:
    return sum(float((one - began[name]).square().sum()) for name, one in weights(trainer).items())


@pytest.mark.train
def test_a_heavy_anchor_holds_and_a_light_one_does_not(tiny: Path, tmp_path: Path) -> None:
    far = {}
    for name, table in (
        ("none", None),
        ("light", {"kind": "l2", "weight": 1e-6}),
        ("heavy", {"kind": "l2", "weight": 1e3}),
    ):
        made = tiny_job(tiny, tmp_path / name, "full", epochs=2.0, learning_rate=1e-3, anchor=table)
        trainer = made.trainer()
        began = weights(trainer)
        trainer.run()
        far[name] = distance(made, trainer, began)
    assert far["light"] == pytest.approx(far["none"], rel=0.05)
    assert far["heavy"] < 0.05 * far["none"]


@pytest.mark.train
def test_a_killed_training_is_held_at_its_beginning(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every weight to the bit; what a number counts is read back, not found again."""
    whole, part = (anchored(tiny, tmp_path / n, anchor={**EWC, "weight": 50.0}) for n in "ab")
    whole.run()
    part.trainer().run(until=part.plan.evaluate_every + 1)

    def again(*_: Any) -> dict[str, torch.Tensor]:
        raise AssertionError("the model is not where it began")

    monkeypatch.setattr("adapterworks.builders.training.anchor.fisher", again)
    part.run()
    for name, tensor in whole.adapter().items():
        assert torch.equal(tensor, part.adapter()[name]), name
    told = [e for e in read_events(whole.folder / "events.jsonl") if e["event"] == "step"]
    assert told[0]["anchor"] == 0.0
    assert told[-1]["anchor"] > 0


@pytest.mark.train
def test_a_value_head_is_not_held_where_it_began(tiny: Path, tmp_path: Path) -> None:
    from adapterworks.builders.training.anchor import anchored as those
    from tests.builders.training.sampled import sampled_job

    table = {"kind": "ppo", "rewards": ["exact_match"], "max_completion": 6}
    trainer = sampled_job(tiny, tmp_path, objective=table).trainer()
    names = {name for name, _ in those(trainer.bare)}
    assert names
    assert not [name for name in names if "value_head" in name]
    assert len(names) + 2 == sum(p.requires_grad for p in trainer.bare.parameters())


@pytest.mark.parametrize(
    ("train", "more", "key", "said"),
    [
        ('{kind = "ewc", weight = 1.0}', "", "train.anchor", "continues no release"),
        ('{kind = "l2", weight = 1.0}', "", "train.anchor", "continues no release"),
        (
            '{kind = "l2", weight = 1.0, rows = 9}',
            '[start]\nfrom = "tiny@1"\n',
            "train.anchor.rows",
            "looks at no rows",
        ),
        ('{kind = "ewc"}', '[start]\nfrom = "tiny@1"\n', "train.anchor.weight", "missing"),
        (
            '{kind = "ewc", weight = 1.0}\nsharding = "fsdp"',
            '[start]\nfrom = "tiny@1"\n',
            "train.sharding",
            "are not anchored",
        ),
    ],
)
def test_an_anchor_that_holds_nothing_is_a_fault(
    workshop: Workshop, train: str, more: str, key: str, said: str
) -> None:
    path = Path(workshop.manifest(more=more))
    path.write_text(path.read_text().replace("[train]\n", f"[train]\nanchor = {train}\n"))
    ((found, message),) = [(fault.key, fault.message) for fault in check_manifest(path)[1]]
    assert found == key
    assert said in message


def continued(workshop: Workshop, anchor: str) -> str:
    """A manifest that goes on from `tiny@1` with rows of its own."""
    rows = (workshop.folder / "train.jsonl").read_text().replace("code of", "letter of")
    (workshop.folder / "others.jsonl").write_text(rows)
    path = Path(workshop.manifest(epochs=1, rate=1e-2, more='[start]\nfrom = "tiny@1"\n'))
    text = path.read_text().replace('train = "train.jsonl"', 'train = "others.jsonl"')
    text = text.replace('name = "tiny"', 'name = "tiny-on"')
    text = text.replace("[train]\n", f"[train]\nanchor = {anchor}\n")
    target = workshop.folder / "on.toml"
    target.write_text(text)
    return str(target)


@pytest.mark.train
def test_from_manifest_to_release(workshop: Workshop) -> None:
    """The rows that the parent learnt, by which it is held; others are another training."""
    workshop.json(workshop.manifest(epochs=1))
    path = continued(workshop, '{ kind = "ewc", weight = 0.5, rows = 10 }')
    app = workshop.app
    prepared = prepare(
        load_manifest(path), app.bases, registry=app.registry, cache=workshop.home / "cache"
    )
    earlier = [prepared.tokenizer.decode(one.input_ids) for one in prepared.sequences("anchor")]
    assert len(earlier) == 10
    assert all("code of case" in text for text in earlier)
    assert prepared.plan.memory["held"] == 8 * prepared.plan.trainable
    built = workshop.json(path)
    lines = workshop.registry().read(built["digest"], "training.jsonl").decode().splitlines()
    assert any('"anchor":' in line for line in lines)
    other = continued(workshop, '{ kind = "ewc", weight = 0.5, rows = 9 }')
    again = prepare(
        load_manifest(other), app.bases, registry=app.registry, cache=workshop.home / "cache"
    )
    assert again.plan.digests.train != prepared.plan.digests.train
