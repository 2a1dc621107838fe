"""Samples of the model that is trained: its own shares, whatever its checkpoint says of answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterworks.builders.training.samplers import Sample
from tests.builders.training.sampled import sampled_job

PROMPTS = [[5, 6, 7, 8, 9], [5, 6]]
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
    drawn = sampler.sample(PROMPTS, 4, 6, 3)
    likeliest = sampler.sample(PROMPTS, 1, 6, None)
    return sampler.ends, [*drawn, *likeliest], trainer.bare.generation_config


@pytest.mark.train
@pytest.mark.parametrize("seed", [3, None])
def test_what_it_says_of_a_token_is_what_the_model_says(
    tiny: Path, tmp_path: Path, seed: int | None
) -> None:
    """Token by token, for answers that end early and those that do not; the logits of a whole
    answer are never kept, which for a large vocabulary would be more than the model."""
    trainer = sampled_job(tiny, tmp_path).trainer()
    assert trainer.rollouts is not None
    sampler: Any = trainer.rollouts.sampler
    sampler.ends = [1, *range(2, 60)]  # so that a few answers are short
    kept: list[bool] = []
    count = 1 if seed is None else 8
    generate = trainer.bare.generate

    def watched(**asked: Any) -> Any:
        kept.extend(name in asked for name in ("output_logits", "output_scores"))
        return generate(**asked)

    trainer.bare.generate = watched
    found = [one for group in sampler.sample(PROMPTS, count, 6, seed) for one in group]
    assert kept == [False, False]
    lengths = {len(one.ids) for one in found}
    assert seed is None or (6 in lengths and min(lengths) < 6)
    trainer.bare.eval()
    for number, one in enumerate(found):
        prompt = PROMPTS[number // count]
        with torch.no_grad():
            logits = trainer.bare(input_ids=torch.tensor([[*prompt, *one.ids]])).logits[0]
        said = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        expected = said.gather(1, torch.tensor(one.ids)[:, None])[:, 0]
        torch.testing.assert_close(one.logprobs, expected, rtol=0, atol=1e-4)
        if seed is None:
            assert list(one.ids) == said.argmax(-1).tolist()


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
