"""Samples of the model that is trained: its own shares, whatever its checkpoint says of answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

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
