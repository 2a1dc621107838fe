"""Samples of the model that is trained: its own shares, whatever its checkpoint says of answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.training.samplers import Sample, _Choosing, _draws, prompt_seed
from tests.builders.training.sampled import sampled_job

PROMPTS = [[5, 6, 7, 8, 9], [5, 6]]
SEEDS = [3 * 1024, 4 * 1024]
BENT: dict[str, Any] = {
    "min_p": 0.9,
    "typical_p": 0.2,
    "no_repeat_ngram_size": 1,
    "repetition_penalty": 9.0,
    "suppress_tokens": [*range(2, 250)],
    "min_new_tokens": 5,
    "eos_token_id": 9,
}


def samples(base: Path, folder: Path, kind: str) -> tuple[list[int], list[list[Sample]], Any]:
    trainer = sampled_job(base, folder, base.name, kind=kind, learning_rate=1e-3).trainer()
    assert trainer.rollouts is not None
    sampler: Any = trainer.rollouts.sampler
    drawn = sampler.sample(PROMPTS, 4, 6, SEEDS)
    likeliest = sampler.sample(PROMPTS, 1, 6, None)
    return sampler.ends, [*drawn, *likeliest], trainer.bare.generation_config


@pytest.mark.train
@pytest.mark.parametrize("seeds", [SEEDS, None])
def test_what_it_says_of_a_token_is_what_the_model_says(
    tiny: Path, tmp_path: Path, seeds: list[int] | None
) -> None:
    """Token by token, for answers that end early and those that do not; the logits of a whole
    answer are never kept, which for a large vocabulary would be more than the model."""
    trainer = sampled_job(tiny, tmp_path).trainer()
    assert trainer.rollouts is not None
    sampler: Any = trainer.rollouts.sampler
    sampler.ends = [1, *range(2, 60)]  # so that a few answers are short
    sampler.at_once = 16
    kept: list[bool] = []
    count = 1 if seeds is None else 8
    generate = trainer.bare.generate

    def watched(**asked: Any) -> Any:
        kept.extend(name in asked for name in ("output_logits", "output_scores"))
        return generate(**asked)

    trainer.bare.generate = watched
    found = [one for group in sampler.sample(PROMPTS, count, 6, seeds) for one in group]
    assert kept == [False, False]
    lengths = {len(one.ids) for one in found}
    assert seeds is None or (6 in lengths and min(lengths) < 6)
    trainer.bare.eval()
    for number, one in enumerate(found):
        prompt = PROMPTS[number // count]
        with torch.no_grad():
            logits = trainer.bare(input_ids=torch.tensor([[*prompt, *one.ids]])).logits[0]
        said = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        expected = said.gather(1, torch.tensor(one.ids)[:, None])[:, 0]
        torch.testing.assert_close(one.logprobs, expected, rtol=0, atol=1e-4)
        if seeds is None:
            assert list(one.ids) == said.argmax(-1).tolist()


def said_by_the_trainer(trainer: Any, prompts: list[list[int]], groups: Any) -> torch.Tensor:
    """Log-probabilities of all that was sampled, as a step's forward passes have them."""
    sequences = [
        TokenSequence(
            torch.tensor([*prompt, *one.ids]), torch.tensor([-100] * len(prompt) + [*one.ids])
        )
        for prompt, group in zip(prompts, groups, strict=True)
        for one in group
    ]
    return torch.cat([trainer.forward.plain_scores([one]).logprobs for one in sequences])


@pytest.mark.train
@pytest.mark.parametrize("kind", ["lora", "full", "prompt-tuning", "prefix-tuning", "p-tuning-v2"])
def test_prompts_of_unequal_lengths_are_answered_as_the_trainer_reads_them(
    tiny: Path, tmp_path: Path, kind: str
) -> None:
    """Padding moves nothing, a soft prompt's tokens included, which stand before it."""
    trainer = sampled_job(tiny, tmp_path, kind=kind, learning_rate=1e-3).trainer()
    assert trainer.rollouts is not None
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # so that it answers otherwise than the base does
        for parameter in trainer.bare.parameters():
            if parameter.requires_grad and kind != "full":
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    prompts = [[5, 6, 7, 8, 9, 10, 11], [5, 6, 7], [9]]
    trainer.bare.eval()
    for seeds in ([1024, 2048, 3072], None):
        groups = trainer.rollouts.sampler.sample(prompts, 1 if seeds is None else 3, 6, seeds)
        trainer.bare.eval()
        told = torch.cat([one.logprobs for group in groups for one in group])
        expected = said_by_the_trainer(trainer, prompts, groups)
        torch.testing.assert_close(told, expected, rtol=0, atol=1e-4)


@pytest.mark.train
def test_how_many_are_generated_together_changes_nothing(tiny: Path, tmp_path: Path) -> None:
    """Each answer has draws of its own, by its prompt's seed: a machine with less memory learns
    from the same answers. Prompts that are equal have not the same ones."""
    trainer = sampled_job(tiny, tmp_path).trainer()
    assert trainer.rollouts is not None
    sampler: Any = trainer.rollouts.sampler
    prompts, seeds = [PROMPTS[0], PROMPTS[1], PROMPTS[1]], [1024, 2048, 3072]
    found = []
    for together in (12, 5, 1):
        sampler.at_once = together
        asked: list[int] = []
        generate = type(trainer.bare).generate

        def watched(*given: Any, generate: Any = generate, asked: Any = asked, **more: Any) -> Any:
            asked.append(len(more["input_ids"]))
            return generate(trainer.bare, *given, **more)

        trainer.bare.generate = watched
        groups = sampler.sample(prompts, 4, 6, seeds)
        found.append([[one.ids for one in group] for group in groups])
        assert asked == [min(together, 12 - at) for at in range(0, 12, together)]
    assert found[0] == found[1] == found[2]
    assert found[0][1] != found[0][2], "equal prompts had equal draws"
    turned = sampler.sample(prompts[::-1], 4, 6, seeds[::-1])
    assert [[one.ids for one in group] for group in turned] == found[0][::-1]


def test_seeds_never_meet() -> None:
    """An engine draws answer i of a prompt with its seed + i: no other row's, no other step's."""
    seeds = [prompt_seed(42, step, row) for step in range(40) for row in range(40)]
    taken = {seed + i for seed in seeds for i in range(256)}
    assert len(taken) == 1600 * 256
    assert 0 <= min(taken) < max(taken) < 2**63
    assert prompt_seed(42, 1, 2) == prompt_seed(42, 1, 2) != prompt_seed(43, 1, 2)


def test_draws_have_the_shares() -> None:
    """A draw is the first token whose cumulated share is above it; one without a share is none."""
    scores = torch.tensor([[0.2, 0.0, 0.5, 0.3, 0.0]]).log().expand(4, 5)
    draws = torch.tensor([[0.1999], [0.2001], [0.6999], [1 - 2.0**-53]], dtype=torch.float64)
    choosing = _Choosing(draws)
    left = choosing(torch.zeros(4, 1), scores)
    assert left.argmax(-1).tolist() == [0, 2, 2, 3]
    assert (left > float("-inf")).sum(-1).tolist() == [1, 1, 1, 1]
    torch.testing.assert_close(choosing.logprobs().exp()[:, 0], torch.tensor([0.2, 0.5, 0.5, 0.3]))
    counts = torch.zeros(5)
    for seed in range(400):
        each = _Choosing(torch.tensor(_draws(seed * 1024, 0, 1))[None])
        counts[each(torch.zeros(1, 1), scores[:1]).argmax()] += 1
    torch.testing.assert_close(
        counts / 400, torch.tensor([0.2, 0.0, 0.5, 0.3, 0.0]), rtol=0, atol=0.08
    )


@pytest.mark.train
@pytest.mark.usefixtures("another_precision")
def test_it_computes_in_the_trainers_precision(tiny: Path, tmp_path: Path) -> None:
    """What `accelerate` wraps is the outer `forward`, past which PEFT's `generate` goes."""
    trainer = sampled_job(tiny, tmp_path, precision="bf16").trainer()
    assert trainer.rollouts is not None
    seen: list[bool] = []
    trainer.bare.get_base_model().model.layers[0].register_forward_hook(
        lambda *_: seen.append(torch.is_autocast_enabled("cpu"))
    )
    groups = trainer.rollouts.sampler.sample(PROMPTS, 2, 4, SEEDS)
    assert seen
    assert all(seen)
    trainer.bare.eval()
    told = torch.cat([one.logprobs for group in groups for one in group])
    apart = (told - said_by_the_trainer(trainer, PROMPTS, groups)).abs()
    assert float(apart.max()) < 0.1


@pytest.mark.train
@pytest.mark.parametrize("kind", ["lora", "prefix-tuning", "full"])
def test_a_checkpoints_settings_bend_nothing(tiny: Path, tmp_path: Path, kind: str) -> None:
    """They stay its settings; what it is stopped at beside its end of text is one that counts."""
    bent = tmp_path / "bent"
    shutil.copytree(tiny, bent)
    plain = tmp_path / "plain"
    shutil.copytree(tiny, plain)
    (plain / "generation_config.json").write_text(json.dumps({"eos_token_id": 9}))
    (bent / "generation_config.json").write_text(json.dumps(BENT))
    ends, expected, _ = samples(plain, tmp_path / kind, kind)
    own, found, settings = samples(bent, tmp_path / kind, kind)
    assert (ends, own) == ([1, 9], [1, 9])
    ids = [[one.ids for one in group] for group in found]
    assert ids == [[one.ids for one in group] for group in expected]
    assert len({one for group in ids for one in group}) > 4, "nothing would have been compared"
    assert (settings.min_p, settings.no_repeat_ngram_size) == (0.9, 1)
