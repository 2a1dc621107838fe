"""Perplexities of two tokenizers are of different tokens, and are not compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.builders.engines.engine import Model
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation.tokenizers import require_one_tokenizer
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable

PERPLEXITY = EvaluateTable(metrics=("exact_match", "perplexity"))


def subject(folder: Path, name: str, *words: str) -> Subject:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: at for at, word in enumerate(("?", *words))}
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(vocabulary, "?")))
    made.save_pretrained(folder / name)
    return Subject(Model(f"sha256:{name}", name, folder / name))


def test_likelihoods_of_two_tokenizers_are_refused_and_answers_are_not(tmp_path: Path) -> None:
    base, same = (subject(tmp_path, name, "a", "b") for name in ("base", "same"))
    other = subject(tmp_path, "other", "a", "b", "ab")
    require_one_tokenizer({"base": base, "candidate": same}, PERPLEXITY)
    require_one_tokenizer({"base": base, "prod": other}, EvaluateTable(metrics=("exact_match",)))
    require_one_tokenizer(
        {"base": base, "prod": other}, EvaluateTable(metrics=("preference_margin",))
    )
    with pytest.raises(InvalidInput, match="`perplexity` is of a tokenizer's tokens, and `base`"):
        require_one_tokenizer({"base": base, "candidate": same, "prod": other}, PERPLEXITY)
