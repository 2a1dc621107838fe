"""A pairwise objective, added in one file by an entry point: from the manifest to a model card."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.data.rows import Row
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.batch import padded
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.scoring import score
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.fit import largest
from adapterworks.builders.plan.plan import make_plan
from adapterworks.builders.training.batches import load_encoded, save_encoded
from adapterworks.builders.training.events import read_events
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.load import check_manifest
from tests.builders.build_support import ENVIRONMENT, MACHINE, TinyJob, identity, manifest_for
from tests.builders.objectives import formulas
from tests.builders.objectives.acme_preferences import BETA
from tests.builders.workshop import Workshop

pytestmark = pytest.mark.usefixtures("acme")
Make = Callable[..., TinyJob]


def pair(number: int) -> Row:
    """Answers of unequal length: which of the two is better can be learnt."""
    asked = {"role": "user", "content": f"case {number}" + "?" * (number % 3)}
    chosen, rejected = f"A{number % 7} yes" + "!" * (number % 4), "no"
    return Row(
        (asked, {"role": "assistant", "content": chosen}),  # type: ignore[arg-type]
        others=(({"role": "assistant", "content": rejected},),),
    )


@pytest.fixture
def job(tiny: Path, tmp_path: Path) -> Make:
    """Makes a planned training of pairs on the tiny base."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)

    def make(kind: str = "lora", name: str = "job", **changes: Any) -> TinyJob:
        given = {"objective": "acme-dpo", "epochs": 3.0, "learning_rate": 5e-3, **changes}
        manifest = manifest_for(kind, **given)
        objective = objective_of(manifest)
        splits = {
            split: objective.encode(tokenizer, [pair(n) for n in numbers], 64, "completion")
            for split, numbers in (("train", range(24)), ("validation", range(100, 106)))
        }
        folder = tmp_path / name
        folder.mkdir()
        save_encoded(folder / "encoded.safetensors", splits)
        examples = splits["train"]
        sequences = [sequence for example in examples for sequence in example.sequences]
        facts = DataFacts(
            rows={"train": 24, "validation": 6, "test": 0},
            digests={"train": "sha256:1", "validation": "sha256:2", "test": "sha256:3"},
            lengths=tuple(example.tokens for example in examples),
            supervised=tuple(example.supervised for example in examples),
            shared=common_prefix([s.input_ids for s in sequences], [s.labels for s in sequences]),
            sequences=objective.sequences,
            longest=max(len(sequence.input_ids) for sequence in sequences),
        )
        plan = make_plan(manifest, identity(kind), read_shape(tiny), MACHINE, facts, ENVIRONMENT)
        return TinyJob(plan, tiny, folder)

    return make


def events_of(job: TinyJob, name: str) -> list[dict[str, Any]]:
    return [dict(e) for e in read_events(job.folder / "events.jsonl") if e["event"] == name]


@pytest.mark.train
@pytest.mark.parametrize("kind", ["lora", "full", "prompt-tuning", "prefix-tuning"])
def test_pairs_are_learnt_from_log_two_on(job: Make, kind: str) -> None:
    """At step 0 the model is its own reference, so every pair costs ln 2."""
    trained = job(kind, learning_rate=2e-2 if kind != "full" else 1e-3)
    result = trained.run()
    steps, validations = events_of(trained, "step"), events_of(trained, "validation")
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert steps[0]["margin"] == pytest.approx(0.0, abs=1e-4)
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert (result.reported, result.unit) == ("chosen_first", "share of pairs")
    # Higher is better here: the best step is the first with the largest share.
    shares = [event["chosen_first"] for event in validations]
    assert result.best_value == max(shares)
    assert result.best_step == validations[shares.index(max(shares))]["step"]


@pytest.mark.train
def test_neither_layout_nor_accumulation_changes_a_pairs_loss(job: Make) -> None:
    changes: dict[str, dict[str, Any]] = {
        "shared": {},
        "padded": {"share_prefix": False},
        "packed": {"packing": True, "group_by_length": False},
        "unpacked": {"share_prefix": False, "group_by_length": False},
        "accumulated": {"micro_batch_size": 1},
    }
    seen = {}
    for name, change in changes.items():
        trained = job(name=name, epochs=1.0, **change)
        trained.run()
        seen[name] = [
            (e["loss"], e["gradient_norm"], e["margin"]) for e in events_of(trained, "step")
        ]
    for one, other in (
        ("shared", "padded"),
        ("shared", "accumulated"),
        ("packed", "unpacked"),
    ):
        assert np.allclose(seen[one], seen[other], rtol=2e-3, atol=2e-5), (one, other)


@pytest.mark.train
def test_a_resumed_training_has_the_reference_of_its_beginning(job: Make) -> None:
    for kind in ("lora", "full"):
        whole, interrupted = job(kind, f"{kind}-whole"), job(kind, f"{kind}-part")
        whole.run()
        interrupted.trainer().run(until=interrupted.plan.evaluate_every)
        interrupted.run()
        for name, tensor in whole.adapter().items():
            assert torch.equal(tensor, interrupted.adapter()[name]), name


def test_the_loss_and_its_gradient_are_the_papers() -> None:
    generator = np.random.default_rng(7)
    lengths = [(3, 5), (1, 4), (6, 2)]
    given = [
        [-generator.random(n) * 3 for pair in lengths for n in pair]
        for _ in ("policy", "reference")
    ]
    policy = torch.tensor(np.concatenate(given[0]), dtype=torch.float64, requires_grad=True)
    owners = torch.tensor([i for i, p in enumerate(given[0]) for _ in p])
    scores = Scores(policy, owners, 6, {"reference": torch.tensor(np.concatenate(given[1]))})
    loss = OBJECTIVES["acme-dpo"].losses(scores)
    expected = formulas.dpo(given[0][::2], given[0][1::2], given[1][::2], given[1][1::2], BETA)
    assert float(loss.sum.detach()) == pytest.approx(expected, rel=1e-12)
    assert loss.count == 3
    loss.sum.backward()
    step = 1e-6
    for token in range(len(policy)):
        moved = [value.copy() for value in given[0]]
        owner = int(owners[token])
        moved[owner][token - int((owners < owner).sum())] += step
        after = formulas.dpo(moved[::2], moved[1::2], given[1][::2], given[1][1::2], BETA)
        assert policy.grad is not None
        assert float(policy.grad[token]) == pytest.approx((after - expected) / step, abs=1e-5)


@pytest.mark.train
@pytest.mark.parametrize("kind", ["lora", "prompt-tuning", "p-tuning-v2"])
def test_the_base_as_reference_is_without_the_method(job: Make, tiny: Path, kind: str) -> None:
    """A soft prompt is there before it has learnt anything, so it begins away from the base."""
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny).eval()
    far = {"kind": "dpo", "reference": "base", "max_start_distance": 50.0}
    trainer = job(kind, objective=far).trainer()
    assert trainer.beginning is not None
    assert (trainer.beginning.max_difference > 1e-3) == (kind != "lora")
    examples = trainer.rows["train"].examples
    for sequence in (s for example in examples[:4] for s in example):
        learnt = sequence.labels != -100
        with torch.no_grad():
            expected = score(base, padded([sequence], 1)).logprobs
        reference = sequence.columns["reference"]
        torch.testing.assert_close(reference[learnt], expected, rtol=1e-4, atol=1e-5)
        assert not reference[~learnt].any()


@pytest.mark.train
def test_the_best_step_is_the_one_that_reports_the_most(job: Make) -> None:
    trainer = job(evaluations=5, early_stopping=2).trainer()
    shares = iter([0.4, 0.9, 0.9, 0.2])
    trainer._validate = lambda: {"loss": 9.0, "chosen_first": next(shares)}  # type: ignore[method-assign]
    result = trainer.run()
    assert result.best_value == 0.9
    assert result.best_step == 2 * trainer.plan.evaluate_every
    assert result.stopped_early


def test_a_micro_batch_of_pairs_is_planned_with_both_sequences() -> None:
    facts = DataFacts({}, {}, lengths=(30, 20), supervised=(6, 4), sequences=2, longest=18)
    padded_load = largest(facts, 2, shared=0, packed=False)
    assert (padded_load.rows, padded_load.tokens) == (4, 4 * 18)
    shared_load = largest(facts, 2, shared=5, packed=False)
    assert shared_load.tokens == 50 - 3 * 5
    assert facts.longest_sequence == 18


@pytest.mark.train
def test_an_objective_that_counts_otherwise_than_its_examples_is_refused(job: Make) -> None:
    with pytest.raises(Refused, match="objective `acme-miscounting` counts"):
        job(objective="acme-miscounting").run()


def test_examples_come_back_from_disk_as_they_were(job: Make) -> None:
    made = job()
    sets = load_encoded(made.folder / "encoded.safetensors")
    assert sets["train"].counts == (1.0,) * 24
    assert {len(example) for example in sets["train"].examples} == {2}
    assert sets["train"].lengths == tuple(
        sum(len(s.input_ids) for s in example) for example in sets["train"].examples
    )
    assert made.plan.steps_per_epoch == 3, "a step has eight pairs, not eight sequences"


def test_rows_of_one_answer_are_refused() -> None:
    row = Row(({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}))
    with pytest.raises(InvalidInput, match="row 1 is a conversation of one answer"):
        OBJECTIVES["acme-dpo"].require([row])


def test_the_manifest_is_checked_against_what_the_objective_takes(workshop: Workshop) -> None:
    path = workshop.manifest()
    text = Path(path).read_text()

    def faults(format: str, objective: str, more: str = "") -> list[tuple[str, str, str]]:
        changed = text.replace("[data]\n", f'[data]\nformat = "{format}"\n').replace(
            "[train]\n", f'[objective]\nkind = "{objective}"\n[train]\n{more}'
        )
        Path(path).write_text(changed)
        return [(f.key, f.message, f.hint or "") for f in check_manifest(path)[1]]

    assert faults("preference", "acme-dpo") == []
    ((key, message, hint),) = faults("preference", "sft")
    assert key == "data.format"
    assert message == "objective `sft` would ignore `rejected` of format `preference`"
    assert "`acme-dpo`" in hint
    assert 'completion = "chosen"' in hint
    ((key, message, hint),) = faults("messages", "acme-dpo")
    assert "does not take the rows of format `messages`" in message
    assert "`preference`" in hint
    ((key, message, _),) = faults("preference", "acme-dpo", 'loss_on = "all"\n')
    assert key == "train.loss_on"
    ((key, message, hint),) = faults("messages", "acme-dpq")
    assert key == "objective.kind"
    assert "acme-dpo" in message + hint


@pytest.mark.train
def test_from_manifest_to_card(workshop: Workshop) -> None:
    """A whole build, whose training runs in a process of its own."""
    for split, numbers in (
        ("train", range(24)),
        ("validation", range(100, 106)),
        ("test", range(4)),
    ):
        records = (
            {"prompt": f"code of case {n}?", "chosen": f"A{n % 7}", "rejected": "none", "ward": n}
            for n in numbers
        )
        text = "".join(json.dumps(record) + "\n" for record in records)
        (workshop.folder / f"{split}.jsonl").write_text(text)
    path = Path(workshop.manifest(epochs=2))
    text = path.read_text().replace("[data]\n", '[data]\nformat = "preference"\n')
    path.write_text(text.replace("[train]\n", '[objective]\nkind = "acme-dpo"\n[train]\n'))
    built = workshop.json(str(path))
    training = built["report"]["training"]
    assert (training["reported"], training["unit"]) == ("chosen_first", "share of pairs")
    assert 0.5 <= training["best_value"] <= 1.0
    assert training["train_loss"] < math.log(2)
    card = workshop.registry().read(built["digest"], "README.md").decode()
    assert "- preference optimization, 6 steps of 8 rows" in card
    lines = workshop.registry().read(built["digest"], "training.jsonl").decode().splitlines()
    assert any("margin" in json.loads(line) for line in lines)
