"""Distillation on a tiny random base: what a teacher is asked, that parts are the whole, that a
student comes near, and that a training that was killed ends as one that was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterworks.builders.objectives.batch import TEACHER, TokenSequence, padded
from adapterworks.builders.objectives.distillation import Distillation, generalized_jsd
from adapterworks.builders.plan.origins import Origins
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.distilled import Distilled, _bare
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.loop import Trainer
from adapterworks.builders.training.projection import ChunkedProjection
from adapterworks.builders.training.samplers import prompt_seed
from adapterworks.builders.training.sampling import prompt_of
from adapterworks.builders.training.teacher import Average, SeparateTeacher, SharedTeacher
from adapterworks.manifests.errors import Refused
from tests.builders.build_support import TinyJob, tiny_job
from tests.builders.training.sampled import sampled_job, scripted

pytestmark = pytest.mark.train
Make = Callable[..., TinyJob]
DIGEST = "sha256:" + "1" * 64
SYSTEM: dict[str, Any] = {
    "kind": "distill",
    "teacher": "base",
    "teacher_system": "All codes are A1.",
    "max_completion": 6,
}
RELEASE: dict[str, Any] = {"kind": "distill", "teacher": "tiny@1", "max_completion": 6}
SDFT: dict[str, Any] = {"kind": "sdft", "max_completion": 6}
OF_BASE, OF_RELEASE = Origins(teacher="base"), Origins(teacher=DIGEST)


@pytest.fixture
def job(tiny: Path, tmp_path: Path) -> Make:
    """Makes a planned training with a teacher."""
    return partial(sampled_job, tiny, tmp_path)


@pytest.fixture(scope="module")
def taught(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that was trained a little, of other ranks than the students'."""
    folder = tmp_path_factory.mktemp("taught")
    trained = tiny_job(
        tiny, folder / "job", "lora", epochs=2.0, learning_rate=3e-2, method={"rank": 4}
    )
    trained.run()
    return trained.folder / "adapter"


def in_parts(trainer: Trainer, most: int) -> Trainer:
    """A tiny vocabulary is compared all at once."""
    assert isinstance(trainer.forward.projection, ChunkedProjection)
    trainer.forward.projection.most = most
    return trainer


def distilled(trainer: Trainer) -> Distilled:
    assert isinstance(trainer.rollouts, Distilled)
    return trainer.rollouts


def said_by(model: Any, sequence: TokenSequence) -> torch.Tensor:
    """[labels, vocabulary] log-probabilities before each labelled token, the plain way."""
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=sequence.input_ids[None]).logits[0].float()
    return logits.log_softmax(-1)[:-1][sequence.labels[1:] != -100]


def base_of(tiny: Path, adapter: Path | None = None) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    return model if adapter is None else PeftModel.from_pretrained(model, str(adapter))


def answered(trainer: Trainer) -> tuple[list[TokenSequence], list[TokenSequence]]:
    """Answers to two prompts, as the student is shown them and as its teacher is; of several
    tokens, none like another, so that which part is which matters."""
    examples = trainer.rows["train"].chosen([0, 3])
    return [longer(student) for student, _ in examples], [longer(shown) for _, shown in examples]


def longer(sequence: TokenSequence) -> TokenSequence:
    """The same with five more tokens in its answer."""
    assert not sequence.columns
    more = torch.tensor([36, 41, 50, 37, 60])
    ids, labels = torch.cat([sequence.input_ids, more]), torch.cat([sequence.labels, more])
    return replace(sequence, input_ids=ids, labels=labels)


def moved(trainer: Trainer) -> Trainer:
    """The policy away from where it began."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trainer.bare.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return trainer


@pytest.mark.parametrize("who", ["base", "release", "apart", "average", "average-whole", "live"])
def test_a_teacher_says_what_its_model_says(job: Make, tiny: Path, taught: Path, who: str) -> None:
    """Its states, and the logits made of them, beside the model run as anybody would."""
    if who == "base":
        trainer = moved(job(objective=SYSTEM, origins=OF_BASE).trainer())
        expected = base_of(tiny)
    elif who == "release":
        trainer = moved(job(objective=RELEASE, origins=OF_RELEASE).trainer(teacher=taught))
        expected = base_of(tiny, taught)
    elif who == "apart":
        made = job(objective=RELEASE, origins=OF_RELEASE)
        trainer = moved(made.trainer(teacher=taught, teacher_model=tiny))
        expected = base_of(tiny, taught)
    else:
        rate, kind = 1.0 if who == "live" else 0.01, "full" if "whole" in who else "lora"
        trainer = moved(job(objective={**SDFT, "teacher_rate": rate}, kind=kind).trainer())
        fresh = job("fresh", objective=SDFT, kind=kind).trainer()
        expected = trainer.bare if who == "live" else fresh.bare
    kinds = {"base": SharedTeacher, "release": SharedTeacher, "apart": SeparateTeacher}
    teacher = distilled(trainer).teacher
    assert isinstance(teacher, kinds.get(who, Average))
    before = {name: p.detach().clone() for name, p in trainer.bare.named_parameters()}
    drawn = torch.get_rng_state()
    _, shown = answered(trainer)
    states = teacher.states(shown)
    assert trainer.bare.training
    for sequence, own in zip(shown, states, strict=True):
        with torch.no_grad():
            found = teacher.logits(own).log_softmax(-1)
        torch.testing.assert_close(found, said_by(expected, sequence), rtol=0, atol=2e-5)
        if who not in ("live",):
            policy = said_by(trainer.bare, sequence)
            assert float((policy - found).abs().max()) > 1e-2, "the policy has not moved"
    assert torch.equal(drawn, torch.get_rng_state())
    after = dict(trainer.bare.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("most", [3, 500])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_parts_are_the_whole(job: Make, tiny: Path, beta: float, most: int) -> None:
    """Loss and every gradient, with three positions at a time, beside both models' logits at
    once."""
    made = job(objective={**SYSTEM, "beta": beta}, origins=OF_BASE)
    trainer = in_parts(moved(made.trainer()), most)
    rollouts = distilled(trainer)
    pairs = list(zip(*answered(trainer), strict=True))
    rows = rollouts._taught(pairs)
    trainer.bare.train()
    loss = trainer.forward.loss(rows, [0, 1], packing=False)
    loss.sum.backward()
    own = {n: p.grad.clone() for n, p in trainer.bare.named_parameters() if p.grad is not None}
    trainer.bare.zero_grad()
    base, whole = base_of(tiny), torch.zeros(())
    for student, teacher in pairs:
        logits = trainer.bare(input_ids=student.input_ids[None]).logits[0]
        policy = logits.log_softmax(-1)[:-1][student.labels[1:] != -100]
        whole = whole + generalized_jsd(policy, said_by(base, teacher), beta).sum()
    torch.testing.assert_close(loss.sum, whole, rtol=1e-5, atol=1e-6)
    whole.backward()
    assert own
    for name, parameter in trainer.bare.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            torch.testing.assert_close(own[name], parameter.grad, rtol=1e-4, atol=1e-7)
    assert loss.count == sum(int((s.labels != -100).sum()) for s, _ in pairs)


def examples_of(trainer: Trainer) -> list[tuple[TokenSequence, ...]]:
    return trainer.rows["train"].chosen([0, 1, 2])


def test_no_more_than_a_part_of_the_logits_is_there_at_once(job: Make) -> None:
    """Of the student and of the teacher, and where samplers are checked."""
    trainer, _ = scripted(job(objective=SYSTEM, origins=OF_BASE), ["A0"])
    rollouts, seen = distilled(in_parts(trainer, 2)), list[int]()
    groups = rollouts.sampler.sample([prompt_of(s) for s, _ in examples_of(trainer)], 1, 6, 0)
    rollouts.sampler.sample = lambda *_: groups  # type: ignore[method-assign]
    head = trainer.bare.get_output_embeddings()  # type: ignore[operator]
    head.register_forward_hook(lambda _, given, made: seen.append(made.shape[:-1].numel()))
    rows = rollouts.collect(trainer.rows["train"], [0, 1, 2], 0).rows
    assert sum(rows.counts) == 9
    assert (max(seen), sum(seen)) == (2, 9), "where the sampler is checked, and nowhere else"
    seen.clear()
    trainer.forward.loss(rows, [0, 1, 2], packing=False).sum.backward()
    assert (max(seen), sum(seen)) == (2, 2 * 9)


def test_what_a_model_does_behind_its_projection_is_done_too() -> None:
    """Gemma caps its logits; others scale them."""
    from transformers import Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": 40,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    torch.manual_seed(0)
    for model in (
        Gemma2ForCausalLM(Gemma2Config(**sizes, final_logit_softcapping=0.05)),
        GraniteForCausalLM(GraniteConfig(**sizes, logits_scaling=8.0)),
    ):
        model.eval()
        ids = torch.tensor([[3, 4, 5, 6, 7]])
        through, kept = ChunkedProjection(model, 2), torch.ones(1, 5, dtype=torch.bool)
        with torch.no_grad():
            expected = model(input_ids=ids).logits[0]
            with through.states(kept) as seen:
                short = model(input_ids=ids).logits
            assert seen.hidden is not None
            found = through.logits(seen.hidden)
            bare = model.lm_head(seen.hidden)
        assert short.shape[1] == 0, "nobody reads them"
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert float((bare - expected).abs().max()) > 1e-3, "it does nothing"


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings")
def test_a_projection_that_is_adapted_is_refused(job: Make, tiny: Path, tmp_path: Path) -> None:
    """Student and teacher would make logits by one of two; an average has its own."""
    from peft import LoraConfig, get_peft_model

    with pytest.raises(Refused, match="the output projection is adapted"):
        job(objective=SYSTEM, origins=OF_BASE, kind="full").trainer()
    other = get_peft_model(base_of(tiny), LoraConfig(target_modules=["q_proj", "lm_head"]))
    other.save_pretrained(tmp_path / "other", save_embedding_layers=False)
    made = job("second", objective=RELEASE, origins=OF_RELEASE)
    with pytest.raises(Refused, match="the output projection is adapted"):
        made.trainer(teacher=tmp_path / "other")
    assert job("third", objective=SDFT, kind="full").trainer()


def test_what_is_sampled_is_what_the_teacher_is_asked(job: Make) -> None:
    trainer, sampler = scripted(
        job(objective={**SYSTEM, "generations": 2}, origins=OF_BASE), ["A0", "no"]
    )
    found = distilled(trainer).collect(trainer.rows["train"], [0, 1], 7)
    assert sampler.asked == [(2, 6, [prompt_seed(42, 7, row) for row in (0, 1)])]
    assert (found.metrics["sampled"], found.metrics["length"]) == (1.0, 3.0)
    assert found.metrics["mismatch"] < 1e-5
    assert found.rows.counts == (3.0,) * 4
    teacher = distilled(trainer).teacher
    for place, (sequence,) in enumerate(found.rows.examples):
        student, shown = trainer.rows["train"].examples[place // 2]
        start = int((student.labels != -100).nonzero()[0])
        assert torch.equal(sequence.input_ids[:start], student.input_ids[:start])
        assert torch.equal(sequence.labels[start:], sequence.input_ids[start:])
        ahead = int((shown.labels != -100).nonzero()[0])
        asked = TokenSequence(
            torch.cat((shown.input_ids[:ahead], sequence.input_ids[start:])),
            torch.cat((torch.full((ahead,), -100), sequence.labels[start:])),
        )
        (states,) = teacher.states([asked])
        torch.testing.assert_close(sequence.columns[TEACHER][start:], states, rtol=0, atol=1e-5)
        assert not sequence.columns[TEACHER][:start].any()
    lines = [json.loads(line) for line in distilled(trainer).samples.read_text().splitlines()]
    assert [line["answers"] for line in lines] == [["A0", "no"]] * 2


def test_of_some_rows_the_own_answer_is_learnt(job: Make) -> None:
    """A share of them, by seed and step; the same again when the step is taken again."""
    made = job(objective={**SYSTEM, "lmbda": 0.5}, origins=OF_BASE)
    trainer, _ = scripted(made, ["no"])
    own = distilled(trainer)
    shares = []
    for step in range(40):
        found = own.collect(trainer.rows["train"], [0, 1, 2, 3], step)
        again = own.collect(trainer.rows["train"], [0, 1, 2, 3], step)
        ids = [
            [tuple(s.input_ids.tolist()) for (s,) in one.rows.examples] for one in (found, again)
        ]
        assert ids[0] == ids[1]
        shares.append(found.metrics["sampled"])
        whole = {tuple(s.input_ids.tolist()) for s, _ in trainer.rows["train"].examples}
        assert sum(one in whole for one in ids[0]) == 4 - round(4 * found.metrics["sampled"])
    assert 0.35 < sum(shares) / len(shares) < 0.65
    assert len(set(shares)) > 2
    alone, asked = scripted(job("own", objective={**SYSTEM, "lmbda": 0.0}, origins=OF_BASE), ["no"])
    found = distilled(alone).collect(alone.rows["train"], [0, 1], 0)
    assert found.metrics == {"sampled": 0.0}
    assert distilled(alone).measured(alone.rows["validation"])["loss"] > 0
    assert asked.asked == []


def test_a_measurement_holds_the_states_of_a_steps_rows_and_no_more(
    job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of nine rows six at once, a step's four in whole micro batches; a mean of all tokens."""
    made = job(objective={**SYSTEM, "lmbda": 0.0}, origins=OF_BASE, micro_batch_size=3)
    trainer, _ = scripted(made, ["no"])
    own, rows = distilled(trainer), trainer.rows["train"]
    some = rows.chosen([*range(9)])
    asked: list[int] = []
    states = own.teacher.states

    def watched(sequences: Any) -> Any:
        asked.append(len(sequences))
        return states(sequences)

    monkeypatch.setattr(own.teacher, "states", watched)
    found = own.measured(EncodedSet(tuple(some), tuple(rows.counts[:9])))["loss"]
    assert asked == [6, 3]
    whole = own._taught([_bare(example) for example in some])
    assert found == pytest.approx(trainer.forward.measured(whole, 3)["loss"], rel=1e-5)
    assert found > 0


def losses(made: TinyJob) -> list[float]:
    events = read_events(made.folder / "events.jsonl")
    return [event["loss"] for event in events if event["event"] == "validation"]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        pytest.param("reverse", {}, marks=pytest.mark.slow),
        pytest.param("forward", {"beta": 0.0}, marks=pytest.mark.slow),
        ("mixed", {"beta": 0.5, "lmbda": 0.5}),
    ],
)
def test_a_student_comes_near_its_teacher(
    job: Make, taught: Path, name: str, table: dict[str, Any]
) -> None:
    """The divergence on its own likeliest answers, from the first evaluation to the last."""
    made = job(
        name,
        objective={**RELEASE, **table},
        origins=OF_RELEASE,
        epochs=8.0,
        learning_rate=2e-2,
        evaluations=8,
    )
    trainer = made.trainer(teacher=taught)
    first = distilled(trainer).measured(trainer.rows["validation"])["loss"]
    result = trainer.run()
    assert result.reported == "loss"
    assert result.best_value is not None
    assert min(losses(made)) == pytest.approx(result.best_value)
    assert result.best_value < 0.5 * first


def test_a_whole_model_is_taught_by_one_beside_it(job: Make, tiny: Path, taught: Path) -> None:
    made = job(kind="full", objective=RELEASE, origins=OF_RELEASE, learning_rate=3e-3, epochs=8.0)
    trainer = made.trainer(teacher=taught, teacher_model=tiny)
    first = distilled(trainer).measured(trainer.rows["validation"])["loss"]
    trainer.run()
    assert min(losses(made)) < 0.5 * first


def test_an_average_is_the_exponential_one(job: Make) -> None:
    """By hand: θ' ← θ' + a(θ − θ') after each step, beginning where the policy did."""
    trainer, _ = scripted(job(objective={**SDFT, "teacher_rate": 0.25}), ["A0"])
    teacher = distilled(trainer).teacher
    assert isinstance(teacher, Average)
    by_hand = {n: p.detach().clone() for n, p in trainer.bare.named_parameters() if p.requires_grad}
    began = {name: one.clone() for name, one in by_hand.items()}
    for _ in range(3):
        trainer._step([0, 1, 2])
        trainer.progress.step += 1
        for name, parameter in trainer.bare.named_parameters():
            if parameter.requires_grad:
                by_hand[name] = 0.75 * by_hand[name] + 0.25 * parameter.detach()
    assert any(not torch.equal(began[name], by_hand[name]) for name in began)
    for name, one in by_hand.items():
        torch.testing.assert_close(teacher.weights[name], one, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("rate", "kind"),
    [
        pytest.param(0.0, "lora", marks=pytest.mark.slow),
        (0.2, "lora"),
        (1.0, "lora"),
        pytest.param(0.0, "full", marks=pytest.mark.slow),
        (0.2, "full"),
        pytest.param(1.0, "full", marks=pytest.mark.slow),
    ],
)
def test_a_killed_training_ends_as_one_that_was_not(job: Make, rate: float, kind: str) -> None:
    """Samples, teacher and every weight to the bit, beyond a checkpoint too."""
    given: dict[str, Any] = {
        "objective": {**SDFT, "teacher_rate": rate},
        "kind": kind,
        "learning_rate": 1e-3 if kind == "full" else 5e-3,
    }
    whole, part = job("whole", **given), job("part", **given)
    trained = whole.trainer()
    trained.run()
    part.trainer().run(until=part.plan.evaluate_every + 1)
    resumed = part.trainer()
    resumed.run()
    for (name, one), (_, other) in zip(
        trained.bare.named_parameters(), resumed.bare.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    ours, theirs = distilled(trained).teacher, distilled(resumed).teacher
    assert isinstance(ours, Average)
    assert isinstance(theirs, Average)
    assert (ours.weights == {}) == (rate == 1.0)
    for name, tensor in ours.weights.items():
        assert torch.equal(tensor, theirs.weights[name]), name
    told = [(one.folder.parent / "samples.jsonl").read_text() for one in (whole, part)]
    assert told[0] == told[1]


@pytest.mark.parametrize("kind", ["prompt-tuning", "prefix-tuning"])
def test_soft_prompts_are_taught_too(job: Make, tiny: Path, kind: str) -> None:
    """A student's virtual tokens are not its teacher's."""
    trainer = moved(job(kind=kind, objective=SYSTEM, origins=OF_BASE).trainer())
    base, pairs = base_of(tiny), list(zip(*answered(trainer), strict=True))
    rows = distilled(trainer)._taught(pairs)
    loss = trainer.forward.loss(rows, [0, 1], packing=False)
    whole = 0.0
    for student, teacher in pairs:
        batch = padded([student], 1)
        with torch.no_grad():
            logits = trainer.bare.eval()(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask
            ).logits[0]
        policy = logits[-len(student.labels) :].log_softmax(-1)[:-1][student.labels[1:] != -100]
        whole += float(generalized_jsd(policy, said_by(base, teacher), 1.0).sum())
    assert float(loss.sum.detach()) == pytest.approx(whole, rel=1e-3)
    assert isinstance(trainer.objective, Distillation)
    assert trainer.objective.taught
