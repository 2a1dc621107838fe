"""Soft prompts under evaluation: a padded batch answers as the served form answers each row."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapterworks.builders.data.render import Encoded, render_prompt
from adapterworks.builders.evaluation.asking import Asked
from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.methods.soft_prompts import SoftPromptKeys, initial_tokens
from tests.builders.build_support import encoded_rows, manifest_for
from tests.builders.evaluation.asked import ask_reference

pytestmark = pytest.mark.train
KINDS = ("prompt-tuning", "prefix-tuning", "p-tuning-v2")
QUESTIONS = ("a", "Rather long, so that the others are padded", "Short?", "In the middle of it")
TOKENS = 6


@pytest.fixture(scope="module")
def steep(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with weights so large that its answers depend on every position."""
    folder = tmp_path_factory.mktemp("steep")
    model = AutoModelForCausalLM.from_pretrained(tiny)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(12)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return folder


@pytest.fixture(params=KINDS)
def both(request: pytest.FixtureRequest, steep: Path, tmp_path: Path) -> tuple[Asked, ServedModel]:
    """A soft prompt of random numbers: as PEFT loads it, and as it is served."""
    manifest = manifest_for(request.param, method={"virtual_tokens": 5})
    model = METHODS[request.param].attach(
        AutoModelForCausalLM.from_pretrained(steep), manifest.method, 1
    )
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    model.save_pretrained(tmp_path / "adapter")
    source = Source(tmp_path / "adapter", steep, read_shape(steep), manifest)
    conversion = METHODS[request.param].convert(source, tmp_path / "servable")
    served = ServedModel(steep, tmp_path / "servable", conversion.servable)
    return ask_reference(steep, tmp_path / "adapter"), served


def test_a_padded_batch_answers_as_each_row_is_served(
    both: tuple[Asked, ServedModel],
) -> None:
    generator, served = both
    prompts = [({"role": "user", "content": question},) for question in QUESTIONS]
    expected = []
    for prompt in prompts:
        ids = render_prompt(generator.tokenizer, prompt)
        start = len(ids)
        while len(ids) < start + TOKENS and ids[start:][-1:] != [1]:
            ids.append(int(served.log_probabilities(ids)[-1].argmax()))
        expected.append(generator.tokenizer.decode(ids[start:], skip_special_tokens=True))
    assert len(set(expected)) == len(expected), "the rows' answers must differ"
    assert generator.generate(prompts, max_new_tokens=TOKENS, batch_size=4) == expected
    assert generator.generate(prompts, max_new_tokens=TOKENS, batch_size=1) == expected


def test_a_padded_batch_scores_as_each_row_is_served(
    both: tuple[Asked, ServedModel],
) -> None:
    generator, served = both
    rows: list[Encoded] = encoded_rows(6)
    assert len({len(row.input_ids) for row in rows}) > 3
    scored = generator.likelihood(rows, batch_size=6)
    for row, (nll, _) in zip(rows, scored, strict=True):
        log_probabilities = served.log_probabilities(row.input_ids)
        expected = -sum(
            float(log_probabilities[index - 1, label])
            for index, label in enumerate(row.labels)
            if label != -100
        )
        np.testing.assert_allclose(nll, expected, atol=1e-4)


def test_rows_are_counted_without_the_virtual_tokens(both: tuple[Asked, ServedModel]) -> None:
    ids = encoded_rows(1)[0].input_ids
    some, whole = both[1].log_probabilities(ids, [5, 2]), both[1].log_probabilities(ids)
    assert some.shape == (2, whole.shape[1])
    assert len(whole) == len(ids)
    torch.testing.assert_close(some, whole[[5, 2]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["prompt-tuning", "prefix-tuning"])
def test_a_training_starts_from_real_tokens(steep: Path, kind: str) -> None:
    """Li & Liang 2021, §7.4: before the first step the virtual tokens do what real ones do."""
    text = "Start from here"
    manifest = manifest_for(kind, method={"virtual_tokens": 5, "init_text": text})
    base = AutoModelForCausalLM.from_pretrained(steep).eval()
    start = initial_tokens(base, cast(SoftPromptKeys, manifest.method))[None]
    ids = torch.tensor([encoded_rows(1)[0].input_ids])
    with torch.no_grad():
        expected = base(input_ids=torch.cat((start, ids), dim=1)).logits[:, start.shape[1] :]
    model = METHODS[kind].attach(base, manifest.method, 1).eval()
    with torch.no_grad():
        logits = model(input_ids=ids).logits[:, -ids.shape[1] :]
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-3)
    tokenizer = AutoTokenizer.from_pretrained(steep)
    assert start[0].tolist() == tokenizer(text, add_special_tokens=False)["input_ids"][:5]
