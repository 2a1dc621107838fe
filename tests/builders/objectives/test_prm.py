"""Process rewards: where a step is judged, the loss by hand, a release that rewards by steps."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterworks.builders.data.exporting import lines_of
from adapterworks.builders.data.formats.format import to_rows
from adapterworks.builders.data.rows import Row, chat, from_record, to_record
from adapterworks.builders.data.sources import Record
from adapterworks.builders.data.steps import steps_of
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.batch import TokenSequence, behind_shared, packed, padded
from adapterworks.builders.objectives.prm import Prm
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.scoring import score, score_behind_shared
from adapterworks.builders.training.judge import StepJudge, aggregated, answered_with
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.objective import objective_table
from tests.builders.training.sampled import sampled_job
from tests.builders.workshop import Workshop


def prm(**settings: Any) -> Prm:
    table = objective_table("prm").model_validate({"kind": "prm", **settings})
    made = OBJECTIVES["prm"].configured(table)
    assert isinstance(made, Prm)
    return made


def stepped(steps: list[str], labels: list[Any], prompt: str = "q", **more: Any) -> Row:
    columns = {"prompt": prompt, "completions": steps, "labels": labels, **more}
    (row,) = to_rows([Record(1, columns)], "stepwise", source="rows.jsonl")
    return row


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


@pytest.mark.parametrize(
    ("steps", "labels", "said"),
    [
        (["a"], [True, False], "1 `completions` and 2 `labels`"),
        (["a"], ["good"], "true or false"),
        (["a"], [1.5], "from 0 to 1"),
        (["a", " "], [1, 0], "step 2 of `completions` is no text"),
        ("a", [1], "must be lists"),
        ([], [], "must be lists"),
    ],
)
def test_rows_whose_steps_cannot_be_judged_are_refused(steps: Any, labels: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        stepped(steps, labels)


def test_steps_go_with_a_row() -> None:
    """Into its digest, to another process, and out again as lines."""
    row = stepped(["one", "two"], [True, 0.25], ward=3)
    assert (row.kind, row.answer) == ("stepped", "one\ntwo")
    assert row.steps == (("one", 1.0), ("two", 0.25))
    assert row.digest != stepped(["one", "two"], [True, 0.5]).digest
    assert from_record(json.loads(json.dumps(to_record(row)))) == row
    (line,) = lines_of([row]).splitlines()
    (again,) = to_rows([Record(1, json.loads(line))], "stepwise", source="rows.jsonl")
    assert again.digest == row.digest
    with pytest.raises(InvalidInput, match="an answer in judged steps, whose judgements would"):
        OBJECTIVES["sft"].require([row])
    with pytest.raises(InvalidInput, match="learns from answers in judged steps"):
        prm().require([chat("q", "a")])


def test_a_step_is_judged_behind_its_separator(tokenizer: Any) -> None:
    """`+` against `-` where the next step begins, which stands there all the same."""
    row = stepped(["ab", "c"], [True, False])
    ((sequence,),) = [e.sequences for e in prm().encode(tokenizer, [row], 64, "completion")]
    plus, minus = tokenizer("+-", add_special_tokens=False).input_ids
    text = tokenizer.decode(sequence.input_ids)
    assert text == "<s>user q</s><s>assistant ab\nc\n</s>"
    places = [at for at, label in enumerate(sequence.labels) if label != -100]
    assert [tokenizer.decode(sequence.input_ids[:at])[-3:] for at in places] == ["ab\n", "\nc\n"]
    assert [sequence.labels[at] for at in places] == [plus, plus]
    assert [sequence.columns["contrast"][at] for at in places] == [minus, minus]
    assert [sequence.columns["judgement"][at] for at in places] == [1.0, 0.0]
    assert tokenizer.decode(sequence.input_ids[places[0]]) == "c"
    other = prm(separator=" ki\n", last_only=True)
    ((last,),) = [e.sequences for e in other.encode(tokenizer, [row], 64, "completion")]
    assert tokenizer.decode(last.input_ids).endswith("assistant ab ki\nc ki\n</s>")
    assert [at for at, label in enumerate(last.labels) if label != -100] == [len(last.labels) - 1]
    assert last.columns["judgement"][-1] == 0.0


def test_what_is_beyond_the_length_is_cut_and_counted(tokenizer: Any) -> None:
    row = stepped(["ab", "c", "d" * 40], [True, False, True])
    (example,) = prm().encode(tokenizer, [row], 32, "completion")
    assert (example.count, example.sequences[0].cut) == (2.0, 1)
    assert example.sequences[0].labels[-1] != -100
    with pytest.raises(InvalidInput, match="row 1 has no step that ends within 16 tokens"):
        prm().encode(tokenizer, [row], 16, "completion")
    with pytest.raises(InvalidInput, match="no step that ends within 32"):
        prm(last_only=True).encode(tokenizer, [row], 32, "completion")


def test_judgements_of_cut_rows_are_those_of_the_first_steps(tokenizer: Any) -> None:
    row = stepped(["ab", "c", "d" * 40], [1.0, 0.5, 0.0])
    (example,) = prm().encode(tokenizer, [row], 32, "completion")
    (sequence,) = example.sequences
    kept = [at for at, label in enumerate(sequence.labels) if label != -100]
    assert [sequence.columns["judgement"][at] for at in kept] == [1.0, 0.5]


def test_the_loss_and_its_gradient_are_those_of_two_classes() -> None:
    """Beside a token classifier's cross-entropy (TRL's `PRMTrainer`), and by the formula for what
    is said with less than certainty."""
    good = torch.tensor([-0.3, -2.0, -1.1], dtype=torch.float64, requires_grad=True)
    bad = torch.tensor([-1.7, -0.4, -1.0], dtype=torch.float64)
    for judged in ([1.0, 0.0, 1.0], [1.0, 0.25, 0.5]):
        columns = {"contrast": bad, "judgement": torch.tensor(judged)}
        own = prm().losses(Scores(good, torch.tensor([0, 0, 1]), 2, columns))
        assert own.count == 3
        rewards = (good - bad).detach().numpy()
        y = np.array(judged)
        by_hand = (y * np.log1p(np.exp(-rewards)) + (1 - y) * np.log1p(np.exp(rewards))).sum()
        assert own.sum.item() == pytest.approx(by_hand, rel=1e-9)
        (gradient,) = torch.autograd.grad(own.sum, good)
        sigma = 1 / (1 + np.exp(-rewards))
        assert gradient.numpy() == pytest.approx(sigma - y, abs=1e-9)
    classes = torch.nn.functional.cross_entropy(
        torch.stack((bad, good.detach()), dim=1), torch.tensor([1, 0, 1]), reduction="sum"
    )
    columns = {"contrast": bad, "judgement": torch.tensor([1.0, 0.0, 1.0])}
    own = prm().losses(Scores(good, torch.tensor([0, 0, 1]), 2, columns))
    assert own.sum.item() == pytest.approx(classes.item(), rel=1e-9)
    assert float(own.metrics["step_accuracy"]) == 2.0, "the third is called bad, and is good"
    assert float(own.metrics["called_good"]) == pytest.approx(float(sigma.sum()))


@pytest.mark.train
def test_a_steps_reward_is_the_models_own_in_every_layout(tiny: Path, tokenizer: Any) -> None:
    """Labels that are not what stands there: read by hand from the whole prefix, alone."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    rows = [stepped(["ab", "c"], [1, 0]), stepped(["d", "efg", "h"], [0, 0, 1], prompt="qq")]
    examples = prm().encode(tokenizer, rows, 64, "completion")
    plus, minus = tokenizer("+-", add_special_tokens=False).input_ids
    by_hand = []
    sequences = []
    for example in examples:
        (one,) = example.sequences
        sequences.append(
            TokenSequence(
                torch.tensor(one.input_ids),
                torch.tensor(one.labels),
                {"contrast": torch.tensor(one.columns["contrast"])},
            )
        )
        for at, label in enumerate(one.labels):
            if label != -100:
                with torch.no_grad():
                    logits = model(input_ids=torch.tensor([one.input_ids[:at]])).logits[0, -1]
                by_hand.append(float(logits[plus] - logits[minus]))
    with torch.no_grad():
        found = [
            score(model, padded(sequences, 1)),
            score(model, packed(sequences)),
            score_behind_shared(model, behind_shared(sequences)),
        ]
    for scores in found:
        rewards = (scores.logprobs - scores.columns["contrast"]).tolist()
        assert rewards == pytest.approx(by_hand, abs=1e-4)


def test_an_answers_reward_is_one_of_its_steps() -> None:
    rewards = [0.0, math.log(3), -math.log(3)]
    assert aggregated(rewards, "min") == pytest.approx(0.25)
    assert aggregated(rewards, "last") == pytest.approx(0.25)
    assert aggregated(rewards[:2], "last") == pytest.approx(0.75)
    assert aggregated(rewards, "mean") == pytest.approx(0.5)
    assert aggregated([-800.0], "min") == pytest.approx(0.0)
    assert aggregated([800.0], "min") == pytest.approx(1.0)
    assert steps_of("a\n\n b \n", "\n") == ["a", " b "]


@pytest.mark.train
@pytest.mark.parametrize("aggregate", ["min", "mean", "last"])
def test_sampled_answers_are_judged_as_the_release_was_trained(
    tiny: Path, tmp_path: Path, tokenizer: Any, aggregate: Any
) -> None:
    """From the adapter alone, on the prefix of each step; an empty answer is worth nothing."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    made = sampled_job(tiny, tmp_path)
    trainer = made.trainer()
    with torch.no_grad():
        for name, parameter in trainer.bare.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(3))
    trainer.bare.save_pretrained(tmp_path / "reward")
    judge = StepJudge(trainer.forward, tokenizer, made.plan, tmp_path / "reward", "\n", aggregate)
    texts = ["A1\nno", "", "x"]
    rows = [answered_with(chat("q", "unread"), text) for text in texts]
    found = judge.rewards(rows, [0] * len(rows))
    base = AutoModelForCausalLM.from_pretrained(tiny)
    alone = PeftModel.from_pretrained(base, tmp_path / "reward").eval()
    plus, minus = tokenizer("+-", add_special_tokens=False).input_ids

    def share(before: str) -> float:
        ids = tokenizer(f"<s>user q</s><s>assistant {before}", add_special_tokens=False).input_ids
        with torch.no_grad():
            logits = alone(input_ids=torch.tensor([ids])).logits[0, -1]
        return float(torch.sigmoid(logits[plus] - logits[minus]))

    two = [share("A1\n"), share("A1\nno\n")]
    expected = {"min": min(two), "mean": sum(two) / 2, "last": two[1]}[aggregate]
    assert abs(two[0] - two[1]) > 1e-4
    assert found == pytest.approx([expected, 0.0, share("x\n")], abs=1e-5)


def stepped_rows(workshop: Workshop) -> None:
    """Answers of which the step `A…` is good and `B…` is not."""
    for split, count, start in (("train", 24, 1000), ("validation", 6, 2000), ("test", 8, 3000)):
        rows = (
            {
                "prompt": f"code of case {n}?",
                "completions": [f"{'AB'[n % 2]}{n % 7}", f"{'AB'[n // 2 % 2]}!"],
                "labels": [n % 2 == 0, n // 2 % 2 == 0],
            }
            for n in range(start, start + count)
        )
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (workshop.folder / f"steps-{split}.jsonl").write_text(text)


def of_steps(workshop: Workshop, table: str = "", epochs: float = 60) -> str:
    stepped_rows(workshop)
    more = f'[objective]\nkind = "prm"\n{table}\n'
    path = Path(workshop.manifest(epochs=epochs, rate=2e-2, more=more))
    text = path.read_text().replace("[data]\n", '[data]\nformat = "stepwise"\n')
    for split in ("train", "validation", "test"):
        text = text.replace(f'"{split}.jsonl"', f'"steps-{split}.jsonl"')
    text = text.replace('name = "tiny"', 'name = "tiny-steps"')
    text = text.replace('["exact_match"]', '["step_accuracy"]')
    target = workshop.folder / "steps.toml"
    target.write_text(text)
    return str(target)


GRPO = """
[objective]
kind = "grpo"
reward_release = "tiny-steps@1"
reward_aggregate = "mean"
generations = 4
max_completion = 6
"""


@pytest.mark.train
def test_a_release_of_steps_is_trained_judged_and_rewards(workshop: Workshop) -> None:
    """It tells `A` from `B` on unseen rows, the base does not; then GRPO learns from its word."""
    built = workshop.json(of_steps(workshop))
    metric = built["report"]["metrics"]["step_accuracy"]["values"]
    assert metric["candidate"] > 0.9
    assert metric["candidate"] > metric["base"]
    registry = workshop.registry()
    release = registry.release(built["digest"])
    assert release.provenance.objective == "prm"
    card = registry.read(built["digest"], "README.md").decode()
    assert "A reward of steps, not an assistant" in card
    taught = workshop.json(workshop.manifest(epochs=1, rate=5e-3, more=GRPO))
    parents = registry.release(taught["digest"]).parents
    assert [(one.relation, one.digest) for one in parents] == [("reward", built["digest"])]
    lines = registry.read(taught["digest"], "training.jsonl").decode().splitlines()
    steps = [e for e in map(json.loads, lines) if e["event"] == "step"]
    assert all(0 < step["reward"] < 1 and step["reward_deviation"] > 0 for step in steps)


@pytest.mark.train
def test_a_reward_of_whole_answers_has_no_steps_to_aggregate(workshop: Workshop) -> None:
    from adapterworks.cli.plan import command as plan
    from tests.builders.building.test_origins import pairs

    path = Path(pairs(workshop, more='[objective]\nkind = "reward"\n', epochs=1))
    text = path.read_text().replace(
        '["preference_accuracy", "preference_margin"]', '["verdict_accuracy"]'
    )
    path.write_text(text.replace("max_length = 64", "max_length = 160"))
    workshop.json(str(path))
    failed = workshop.invoke(plan, workshop.manifest(more=GRPO.replace("tiny-steps", "tiny-pairs")))
    assert "rewards whole answers, so there are no steps to aggregate" in str(failed.exception)
