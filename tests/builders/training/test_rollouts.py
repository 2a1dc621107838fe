"""Sampling while training: what comes of a prompt, what is refused, and that a resume is exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterworks.builders.data.rows import Row, chat, from_record, to_record
from adapterworks.builders.plan import fitted
from adapterworks.builders.plan.apart import rows_apart
from adapterworks.builders.training import layout
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.samplers import prompt_seed
from adapterworks.manifests.errors import Refused
from tests.builders.build_support import TinyJob
from tests.builders.training.sampled import GRPO, row, sampled_job, scripted
from tests.builders.workshop import Workshop

Make = Callable[..., TinyJob]


@pytest.fixture
def job(tiny: Path, tmp_path: Path) -> Make:
    """Makes a planned training on sampled answers; its rewards are of exact answers."""
    return partial(sampled_job, tiny, tmp_path)


@pytest.mark.train
def test_answers_become_examples_with_their_advantage(job: Make) -> None:
    """Rows 0 and 2 are to be answered `A0`, row 1 `A1`: of four answers one is right each time."""
    trainer, sampler = scripted(job(), ["A0", "A1", "no", "nothing"])
    assert trainer.rollouts is not None
    found = trainer.rollouts.collect(trainer.rows["train"], [0, 1, 2], 7)
    assert sampler.asked == [(4, 6, [prompt_seed(42, 7, row) for row in (0, 1, 2)])]
    assert found.metrics["reward"] == pytest.approx(0.25)
    assert found.metrics["skipped_groups"] == 0
    assert found.metrics["finished"] == 1.0
    assert found.metrics["length"] == pytest.approx((3 + 3 + 3 + 8) / 4)
    assert found.metrics["mismatch"] < 1e-5
    high, low = 0.75 / (0.5 + 1e-4), -0.25 / (0.5 + 1e-4)
    values = [example[0].values["advantage"] for example in found.rows.examples]
    assert values == pytest.approx([high, low, low, low, low, high, low, low, high, low, low, low])
    assert found.rows.counts == (3.0, 3.0, 3.0, 8.0) * 3, "DAPO divides by tokens"
    for example, index in zip(found.rows.examples, [0] * 4 + [1] * 4 + [2] * 4, strict=True):
        (sequence,) = example
        (asked,) = trainer.rows["train"].examples[index]
        start = int((asked.labels != -100).nonzero()[0])
        assert torch.equal(sequence.input_ids[:start], asked.input_ids[:start])
        assert (sequence.labels[:start] == -100).all()
        assert torch.equal(sequence.labels[start:], sequence.input_ids[start:])
        for name in ("old", "drawn"):
            assert (sequence.columns[name][start:] < 0).all()
            assert not sequence.columns[name][:start].any()


@pytest.mark.train
def test_validation_rows_are_sampled_as_many_at_once_as_a_steps_answers(job: Make) -> None:
    """Four rows, of which a step of one prompt has four answers, and its engine asks four."""
    trainer, sampler = scripted(job(batch_size=1), ["A0"])
    together: list[int] = []
    own = sampler.sample

    def noted(prompts: Any, *given: Any) -> Any:
        together.append(len(prompts))
        return own(prompts, *given)

    sampler.sample = noted  # type: ignore[method-assign]
    assert trainer.rollouts is not None
    assert trainer.rollouts.measured(trainer.rows["validation"]) == {"reward": 0.5}
    assert together == [4]


@pytest.mark.train
@pytest.mark.parametrize("kind", ["grpo", "rloo"])
def test_answers_behind_their_prompt_are_learnt_as_alone(
    job: Make, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several steps, a wrong gradient would part them; the first token of an answer counts."""
    monkeypatch.setattr(fitted, "sharing_pays", lambda *_: True)
    steps, computed = [], []
    for share in (False, True):
        table = {**GRPO, "kind": kind, "beta": 0.1}
        made = job(f"shared-{share}", objective=table, share_prefix=share, epochs=4.0)
        trainer, _ = scripted(made, ["A0", "A1", "no", "nothing"])
        assert trainer.forward.shares_prefix == share
        seen = 0

        def count(module: Any, given: Any) -> None:
            nonlocal seen
            seen += given[0].numel()

        found = trainer.rollouts.collect(trainer.rows["train"], [0, 1, 2], 3)
        hook = trainer.bare.get_input_embeddings().register_forward_pre_hook(count)
        columns = trainer.rollouts._columns([one for (one,) in found.rows.examples])
        hook.remove()
        taken = [trainer._step([0, 1, 2]) for _ in range(4)]
        steps.append([(one.loss, one.norm, one.metrics["kl"]) for one in taken])
        computed.append((seen, torch.cat([one["old"] for one in columns])))
    alone, shared = steps
    assert shared[0][1] > 0
    for one, other in zip(alone, shared, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-6)
    torch.testing.assert_close(computed[1][1], computed[0][1], rtol=0, atol=1e-4)
    assert computed[1][0] < 0.6 * computed[0][0]


@pytest.mark.train
def test_a_base_that_cannot_share_a_prompt_has_fewer_rows_at_once(
    job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more tokens than the memory was planned for; and what is learnt is the same."""
    monkeypatch.setattr(fitted, "sharing_pays", lambda *_: True)
    taken = []
    for able in (True, False):
        monkeypatch.setattr(layout, "prefix_can_be_shared", lambda *_, able=able, **__: able)
        trainer, _ = scripted(job(f"able-{able}"), ["A0", "A1", "no", "nothing"])
        assert trainer.rollouts is not None
        assert (trainer.forward.shares_prefix, trainer.plan.micro_batch) == (able, 4)
        rows: list[int] = []
        found = trainer.rollouts.collect(trainer.rows["train"], [0, 1, 2], 3)
        hook = trainer.bare.get_input_embeddings().register_forward_pre_hook(
            lambda _, given, rows=rows: rows.append(given[0].shape[0])
        )
        trainer.rollouts._columns([one for (one,) in found.rows.examples])
        trainer.stepper.rows = found.rows
        step = trainer.stepper.take([*range(len(found.rows))], 0)
        hook.remove()
        taken.append((step.loss, step.norm))
        expected = 1 if able else rows_apart(trainer.plan)
        assert max(rows) == expected < 4
        assert sum(rows) == 2 * (3 if able else 12)
    assert taken[1] == pytest.approx(taken[0], rel=1e-3, abs=1e-6)


@pytest.mark.train
def test_a_group_of_equal_rewards_is_skipped_and_counted(job: Make) -> None:
    """All right, or all wrong: nothing is learnt of it, and nothing moves."""
    trainer, _ = scripted(job(), ["A0"] * 4)
    assert trainer.rollouts is not None
    found = trainer.rollouts.collect(trainer.rows["train"], [0, 1], 0)
    assert (len(found.rows), found.metrics["skipped_groups"]) == (0, 2.0)
    before = [p.detach().clone() for p in trainer.bare.parameters() if p.requires_grad]
    step = trainer._step([0, 1])
    assert (step.tokens, step.loss, step.metrics["reward"]) == (0, 0.0, 0.5)
    after = [p for p in trainer.bare.parameters() if p.requires_grad]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.train
@pytest.mark.parametrize("kind", ["grpo", "rloo"])
def test_a_group_of_equal_rewards_holds_the_policy_near_its_reference(job: Make, kind: str) -> None:
    """A policy that has drifted, and whose answers are all wrong, is pulled back; and `kl` is
    measured, which an alarm may look at."""
    trainer, _ = scripted(job(objective={**GRPO, "kind": kind, "beta": 0.5}), ["no", "nothing"] * 2)
    assert trainer.rollouts is not None
    with torch.no_grad():
        for one in trainer.bare.parameters():
            if one.requires_grad:
                one += 0.1 * torch.randn(one.shape, generator=torch.Generator().manual_seed(1))
    found = trainer.rollouts.collect(trainer.rows["train"], [0, 1], 0)
    assert (len(found.rows), found.metrics["skipped_groups"]) == (8, 0.0)
    assert {example[0].values["advantage"] for example in found.rows.examples} == {0.0}
    apart = [trainer._step([0, 1]).metrics["kl"] for _ in range(4)]
    assert apart[0] > 1e-4
    assert apart[-1] < apart[0]


@pytest.mark.train
@pytest.mark.parametrize("off", [2e-3, -2e-3, float("nan")])
def test_a_sampler_that_disagrees_with_the_trainer_is_refused(job: Make, off: float) -> None:
    trainer, _ = scripted(job(), ["A0", "A1", "no", "no"], off)
    assert trainer.rollouts is not None
    with pytest.raises(Refused, match="sampler and trainer differ by"):
        trainer.rollouts.collect(trainer.rows["train"], [0], 0)


@pytest.mark.train
@pytest.mark.usefixtures("another_precision")
@pytest.mark.parametrize(("off", "said"), [(0.3, None), (0.7, None), (0.4, 0.2)])
def test_in_half_precision_the_bound_is_for_what_is_wrong(
    tiny: Path, tmp_path: Path, off: float, said: float | None
) -> None:
    """What bfloat16 rounds is within it by itself, and is weighted; what was said holds."""
    given = {} if said is None else {"max_mismatch": said}
    made = sampled_job(tiny, tmp_path, precision="bf16", objective=given)
    trainer, _ = scripted(made, ["A0", "A1", "no", "no"], off)
    assert trainer.rollouts is not None
    if off > (said or 0.5):
        with pytest.raises(Refused, match="sampler and trainer differ by"):
            trainer.rollouts.collect(trainer.rows["train"], [0], 0)
        return
    found = trainer.rollouts.collect(trainer.rows["train"], [0], 0)
    assert found.metrics["mismatch"] == pytest.approx(off, abs=0.1)
    ((sequence,), *_) = found.rows.examples
    learnt = sequence.labels != -100
    apart = (sequence.columns["drawn"] - sequence.columns["old"])[learnt]
    torch.testing.assert_close(apart, torch.full_like(apart, off), rtol=0, atol=0.1)


@pytest.mark.train
def test_a_reward_that_is_no_number_is_refused(job: Make) -> None:
    trainer, _ = scripted(job(), ["A0", "A1", "no", "no"])
    assert trainer.rollouts is not None
    name, _, weight = trainer.rollouts.rewards[0]

    class Broken:
        def scores(self, answers: list[str], rows: list[Row]) -> list[float]:
            return [float("nan") if answer == "no" else 1.0 for answer in answers]

    trainer.rollouts.rewards = [(name, Broken(), weight)]
    with pytest.raises(Refused, match=r"`exact_match` of train row 4 is nan.*'no'"):
        trainer.rollouts.collect(trainer.rows["train"], [3], 0)


@pytest.mark.train
def test_a_reward_that_fails_is_refused_by_name(job: Make) -> None:
    trainer, _ = scripted(job(), ["A0", "A1", "no", "no"])
    assert trainer.rollouts is not None
    name, _, weight = trainer.rollouts.rewards[0]

    class Broken:
        def scores(self, answers: list[str], rows: list[Row]) -> list[float]:
            return [self.score(answer, row) for answer, row in zip(answers, rows, strict=True)]

        def score(self, answer: str, row: Row) -> float:
            if answer == "A1":
                raise RecursionError("too deep")
            return 0.5

    trainer.rollouts.rewards = [(name, Broken(), weight)]
    named = r"`exact_match` of train row 4 ended in RecursionError \(too deep\).*'A1'"
    with pytest.raises(Refused, match=named):
        trainer.rollouts.collect(trainer.rows["train"], [3], 0)


@pytest.mark.train
def test_a_verifier_is_asked_once_a_step_and_gives_what_it_gives_to_one(job: Make) -> None:
    """So that one that runs programs runs them side by side, in the order of the answers."""
    trainer, _ = scripted(job(), ["A0", "A1", "no", "nothing"])
    assert trainer.rollouts is not None
    name, metric, weight = trainer.rollouts.rewards[0]
    asked: list[tuple[list[str], list[Row]]] = []

    class Watched:
        def scores(self, answers: list[str], rows: list[Row]) -> list[float]:
            asked.append((answers, rows))
            return metric.scores(answers, rows)

    trainer.rollouts.rewards = [(name, Watched(), weight)]
    found = trainer.rollouts.collect(trainer.rows["train"], [0, 1, 2], 7)
    ((answers, rows),) = asked
    assert len(answers) == 12
    own = [metric.score(answer, row) for answer, row in zip(answers, rows, strict=True)]
    assert own == [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    assert [one[0].values["reward"] for one in found.rows.examples] == own
    assert metric.scores([], []) == []


@pytest.mark.train
def test_an_answer_that_a_formula_has_no_value_for_is_worth_nothing_and_counted(job: Make) -> None:
    alike = {"type": "text_similarity", "name": "alike", "evaluation_metric": "rouge_1"}
    alike |= {"input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
    formula = {"type": "multi", "name": "m", "calculate_output": "3 + log(alike)"}
    graders = [{**formula, "graders": {"alike": alike}}]
    trainer, _ = scripted(job(objective={"graders": graders}), ["A0", "A1", "no", "no"])
    assert trainer.rollouts is not None
    found = trainer.rollouts.collect(trainer.rows["train"], [0], 0)
    # The right one is exact, and has the formula's 3; of the three others none has a logarithm.
    assert found.metrics["reward"] == pytest.approx((1 + 3) / 4)
    assert found.metrics["graders_without_value"] == 3


@pytest.mark.train
@pytest.mark.parametrize("kind", ["dapo", "grpo", "dr_grpo", "gspo"])
def test_what_is_rewarded_becomes_likelier(job: Make, kind: str) -> None:
    """On the scripted answers, of which the first is right for every second row."""
    trainer, _ = scripted(job(objective={"loss": kind}), ["A0", "A1", "no", "nothing"])
    batch = [n for n in range(12) if n % 2 == 0][:4]

    def likelihood() -> float:
        assert trainer.rollouts is not None
        rows = trainer.rollouts.collect(trainer.rows["train"], batch, 0).rows
        own = rows.examples[0][0]
        return float(own.columns["old"].sum())

    before = likelihood()
    for _ in range(3):
        trainer._step(batch)
    assert likelihood() > before + 0.01


@pytest.mark.train
def test_a_killed_training_samples_the_same_again(job: Make) -> None:
    """What it samples, and so every weight, is what an uninterrupted training has."""
    given: dict[str, Any] = {"objective": {"rewards": ["chrf"]}}
    whole, part = job("whole", **given), job("part", **given)
    whole.run()
    part.trainer().run(until=part.plan.evaluate_every + 1)  # beyond the checkpoint: taken again
    part.run()
    for name, tensor in whole.adapter().items():
        assert torch.equal(tensor, part.adapter()[name]), name
    told = [(one.folder.parent / "samples.jsonl").read_text() for one in (whole, part)]
    assert told[0] == told[1]
    lines = [json.loads(line) for line in told[0].splitlines()]
    assert [line["step"] for line in lines] == [n for n in range(1, 7) for _ in range(4)]
    assert {len(line["answers"]) for line in lines} == {4}
    steps = [e for e in read_events(whole.folder / "events.jsonl") if e["event"] == "step"]
    learnt = [step for step in steps if step["skipped_groups"] < 4]
    assert learnt, "nothing would have been compared"
    assert all(0 <= step["mismatch"] <= 1e-3 and step["entropy"] > 0 for step in learnt)


@pytest.mark.train
def test_what_was_sampled_is_read_again_whatever_its_letters(job: Make) -> None:
    """A training that is resumed reads what it told: separators that JSON writes as they are, and a
    line that a kill tore off in the middle of a letter."""
    made = job()
    trainer, _ = scripted(made, ["A0", "\u2028\u2029", "\x85", "no"])
    assert trainer.rollouts is not None
    for step in range(2):
        trainer.rollouts.collect(trainer.rows["train"], [0, 1], step)
    path = trainer.rollouts.samples
    whole = path.read_bytes()
    assert "\u2028\u2029".encode() in whole
    path.write_bytes(whole + whole[: whole.index("\u2028".encode()) + 1])
    trainer.rollouts.forget_from(2)
    assert path.read_bytes() == whole
    trainer.rollouts.forget_from(1)
    lines = [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]
    assert [line["step"] for line in lines] == [1, 1]
    assert lines[0]["answers"] == ["A0", "\u2028\u2029", "\x85", "no"]


@pytest.mark.train
def test_generated_answers_have_the_trainers_log_probabilities(job: Make) -> None:
    """The real sampler, on prompts of unequal lengths; a seed decides everything."""
    trainer = job().trainer()
    assert trainer.rollouts is not None
    sampler = trainer.rollouts.sampler
    prompts = [[5, 6, 7, 8, 9], [5, 6], [4, 4, 4]]
    seeds = ([1024, 2048, 3072], [1024, 2048, 3072], [4096, 5120, 6144])
    one, again, other = (sampler.sample(prompts, 3, 5, some) for some in seeds)
    assert [[s.ids for s in group] for group in one] == [[s.ids for s in g] for g in again]
    assert [[s.ids for s in group] for group in one] != [[s.ids for s in g] for g in other]
    for prompt, group in zip(prompts, one, strict=True):
        for sample in group:
            with torch.no_grad():
                ids = torch.tensor([[*prompt, *sample.ids]])
                logits = trainer.bare.eval()(input_ids=ids).logits[0].log_softmax(-1)
            expected = logits[len(prompt) - 1 : -1].gather(1, torch.tensor([sample.ids]).T)[:, 0]
            torch.testing.assert_close(sample.logprobs, expected, rtol=0, atol=1e-5)
            assert sample.finished == (sample.ids[-1] == 1)
            assert 1 not in sample.ids[:-1]
    likeliest = sampler.sample(prompts, 1, 5, None)
    assert likeliest[0][0].ids == sampler.sample(prompts, 1, 5, None)[0][0].ids


def test_rows_come_back_from_another_process() -> None:
    pair = Row(
        chat("q", "a", label="A", row=3).messages,
        {"label": "A"},
        others=(({"role": "assistant", "content": "b"},),),
        tools=({"name": "f"},),
        scores=(1.0, 0.0),
    )
    for given in (pair, row(1), Row(text="plain")):
        back = from_record(json.loads(json.dumps(to_record(given))))
        assert back == given
        assert back.digest == given.digest


@pytest.mark.train
def test_from_manifest_to_card(workshop: Workshop) -> None:
    """A whole build whose training samples; the best step is the one of the highest reward."""
    table = '[objective]\nkind = "rloo"\nrewards = ["chrf"]\ngenerations = 3\nmax_completion = 4\n'
    built = workshop.json(workshop.manifest(epochs=2, rate=5e-3, more=table))
    training = built["report"]["training"]
    assert (training["reported"], training["unit"]) == ("reward", "mean reward")
    lines = workshop.registry().read(built["digest"], "training.jsonl").decode().splitlines()
    events = [json.loads(line) for line in lines]
    steps = [event for event in events if event["event"] == "step"]
    assert {"reward", "length", "entropy", "skipped_groups"} <= steps[0].keys()
    values = [event["reward"] for event in events if event["event"] == "validation"]
    assert training["best_value"] == max(values)
    lock = json.loads(workshop.registry().read(built["digest"], "adapter.lock"))
    assert lock["data"]["files"].keys() == {"train.reward.chrf"}
