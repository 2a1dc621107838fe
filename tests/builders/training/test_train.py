"""Real trainings of every method on a tiny base: learn, keep the best, resume, never diverge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterworks.builders.training.abilities import require_packing
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.events import read_events
from adapterworks.manifests.errors import Refused
from tests.builders.build_support import KINDS, TinyJob

pytestmark = pytest.mark.train
Make = Callable[..., TinyJob]


@pytest.fixture(scope="module")
def dropping(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with dropout of its own."""
    folder = tmp_path_factory.mktemp("bases") / "dropping"
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.2}))
    return folder


def losses(job: TinyJob) -> list[float]:
    events = read_events(job.folder / "events.jsonl")
    return [event["loss"] for event in events if event["event"] == "step"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_lowers_its_training_loss(job: Make, kind: str) -> None:
    trained = job(kind, epochs=6.0, learning_rate=2e-2 if kind != "full" else 2e-3)
    result = trained.run()
    seen = losses(trained)
    assert len(seen) == result.steps == trained.plan.steps
    assert sum(seen[-4:]) < sum(seen[:4]), "it did not learn"
    assert result.tokens_per_second > 0


@pytest.mark.parametrize("kind", KINDS)
def test_resume_gives_the_weights_of_an_uninterrupted_training(
    job: Make, dropping: Path, kind: str
) -> None:
    """Axolotl #2568, ms-swift #3396: resume breaks. Here the weights are equal to the bit, random
    numbers drawn in every step: the base has dropout, whatever the method has."""
    whole = replace(job(kind, "whole"), base=dropping)
    whole.run()
    interrupted = replace(job(kind, "interrupted"), base=dropping)
    first = interrupted.trainer()
    # It dies without a word, two steps after its last checkpoint.
    with pytest.raises(KeyboardInterrupt):
        _dying(first, after=interrupted.plan.evaluate_every * 2 + 2)
    assert not (interrupted.folder / "adapter").exists()
    torch.manual_seed(1234)
    interrupted.run()
    events = [event["event"] for event in read_events(interrupted.folder / "events.jsonl")]
    assert "resumed" in events
    expected, got = whole.adapter(), interrupted.adapter()
    assert expected.keys() == got.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, got[name]), name


def _dying(trainer: object, after: int) -> None:
    step, done = trainer._step, 0  # type: ignore[attr-defined]

    def dying(indices: list[int]) -> object:
        nonlocal done
        done += 1
        if done > after:
            raise KeyboardInterrupt
        return step(indices)

    trainer._step = dying  # type: ignore[attr-defined]
    trainer.run()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_peft_2256_best_checkpoint_is_written_for_every_method(job: Make, kind: str) -> None:
    """PEFT #2256: load_best_model_at_end fails for prefix tuning. Here: what is written at the end
    is the best evaluation's weights, not the last one's."""
    trained = job(kind, epochs=4.0, learning_rate=1e-2)
    trainer = trained.trainer()
    best_from = trainer.technique.best_from(trained.plan.manifest.method, trained.plan.steps)
    kept: dict[int, dict[str, torch.Tensor]] = {}
    scores = iter([3.0, 1.0, 2.0, 2.5, 2.6, 2.7, 2.8])

    def scripted() -> dict[str, float]:
        step = trainer.progress.step
        if step >= best_from:
            kept[step] = {n: p.detach().clone() for p, n in trainer.checkpoints.names.items()}
            return {"loss": next(scores)}
        return {"loss": 9.0}

    trainer._validate = scripted  # type: ignore[method-assign]
    result = trainer.run()
    assert result.best_value == min([3.0, 1.0][: len(kept)])
    final = {n: p.detach() for p, n in trainer.checkpoints.names.items()}
    for name, tensor in kept[result.best_step].items():
        assert torch.equal(final[name], tensor), name
    assert list((trained.folder / "adapter").glob("*.safetensors"))


def test_early_stopping_ends_after_its_patience(job: Make) -> None:
    trained = job("lora", epochs=8.0, early_stopping=1, evaluations=8)
    trainer = trained.trainer()
    scores = iter([1.0, 2.0, 3.0])
    trainer._validate = lambda: {"loss": next(scores)}  # type: ignore[method-assign]
    result = trainer.run()
    assert result.stopped_early
    assert result.steps == 2 * trained.plan.evaluate_every
    assert result.best_step == trained.plan.evaluate_every


def test_divergence_is_refused_with_its_step_and_the_usual_rate(job: Make) -> None:
    with pytest.raises(Refused, match="training stopped at step") as caught:
        job("full", learning_rate=50.0, epochs=8.0).run()
    assert "2e-05" in str(caught.value.hint)


@pytest.mark.parametrize("kind", ["lora", "full", "prompt-tuning"])
def test_accumulation_does_not_change_the_gradient(job: Make, kind: str) -> None:
    """Rows of 1 to 5 labels under plain SGD: a mean of means would differ (transformers'
    accumulation bug), and AdamW would hide a factor."""
    changes = []
    for name, micro_batch in (("whole", 8), ("pairs", 2), ("threes", 3)):
        trainer = job(kind, name).with_plan(micro_batch=micro_batch).trainer()
        stepper = trainer.stepper
        stepper.rows = _unequal(stepper.rows)
        stepper.optimizer = torch.optim.SGD(stepper.parameters)
        before = [p.detach().clone() for p in stepper.parameters]
        step = stepper.take([*range(8)], trainer.plan.steps // 2)
        changes.append(
            [step.loss, step.norm]
            + [p.detach() - b for p, b in zip(stepper.parameters, before, strict=True)]
        )
    assert any(change.abs().max() > 0 for change in changes[0][2:])
    for other in changes[1:]:
        assert other[:2] == pytest.approx(changes[0][:2], rel=1e-4)
        for tensor, expected in zip(other[2:], changes[0][2:], strict=True):
            torch.testing.assert_close(tensor, expected, rtol=1e-3, atol=1e-7)


def _unequal(rows: EncodedSet) -> EncodedSet:
    """The same rows, of which the last 1, 3, 5, 2, 4, 1, … tokens are learnt."""
    examples = []
    for number, (sequence,) in enumerate(rows.examples):
        learnt = 1 + 2 * number % 5
        labels = sequence.input_ids.clone()
        labels[:-learnt] = -100
        examples.append((replace(sequence, labels=labels),))
    return EncodedSet(tuple(examples), tuple(float(1 + 2 * n % 5) for n in range(len(examples))))


def test_packing_does_not_mix_sequences(job: Make) -> None:
    """Packed rows must not see one another: same losses as padded rows."""
    padded = job("lora", "padded", group_by_length=False, share_prefix=False, epochs=1.0)
    packed = job("lora", "packed", packing=True, group_by_length=False, epochs=1.0)
    padded.run()
    packed.run()
    assert losses(packed) == pytest.approx(losses(padded), rel=1e-4)


@pytest.mark.parametrize("micro", [1, 4])
def test_rows_that_fill_sequences_are_learnt_as_they_are_alone(job: Make, micro: int) -> None:
    """All of an epoch in one step: losses and norms are those of the same rows side by side."""
    common = {"group_by_length": False, "share_prefix": False, "epochs": 4.0, "max_length": 64}
    alone = job("lora", "alone", batch_size=32, **common)
    filled = {"packing": True, "packing_strategy": "bfd", "micro_batch_size": micro}
    packed = job("lora", "packed", batch_size=12, **filled, **common)
    trainer = packed.trainer()
    assert trainer.forward.side_by_side
    packs = trainer.rows["train"].examples
    assert max(len(pack) for pack in packs) > 1
    assert len(packs) <= 12 < sum(len(pack) for pack in packs) == 32
    alone.run()
    trainer.run()
    assert losses(packed) == pytest.approx(losses(alone), rel=1e-4)
    validated = [
        [e["loss"] for e in read_events(of.folder / "events.jsonl") if e["event"] == "validation"]
        for of in (alone, packed)
    ]
    assert validated[1] == pytest.approx(validated[0], rel=1e-4)


def test_rows_that_see_each_other_in_this_base_are_not_put_together(job: Make) -> None:
    """What is asked is the layout that is trained: the first row's tokens change, and the others'
    scores must not."""
    filled = {"packing": True, "packing_strategy": "bfd", "group_by_length": False}
    trainer = job("lora", **filled).trainer()

    class Blind(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = trainer.bare

        def forward(self, **inputs: Any) -> Any:
            inputs.pop("position_ids", None)
            return self.inner(**inputs)

    forward, plan = replace(trainer.forward, model=Blind()), trainer.plan
    with pytest.raises(Refused, match="packed rows would learn from one another"):
        require_packing(forward, trainer.rows["train"], plan)
    packs = trainer.rows["train"].in_packs(1000)
    alone = replace(packs, examples=[one[:1] for one in packs.examples])
    require_packing(forward, alone, plan)


def test_checkpoints_hold_no_pickle(job: Make) -> None:
    trained = job("adalora")
    trainer = trained.trainer()
    trainer.run(until=trained.plan.evaluate_every)
    files = [path for path in (trained.folder / "checkpoints").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}
    state = next(path for path in files if path.name == "state.json" and "step" in str(path))
    assert json.loads(state.read_text())["progress"]["step"] == trained.plan.evaluate_every
