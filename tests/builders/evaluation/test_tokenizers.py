"""Perplexities of two tokenizers are of different tokens, and are not compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.builders.data.rows import Row
from adapterworks.builders.engines.engine import Model
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation.tokenizers import require_one_tokenizer
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable

PERPLEXITY = EvaluateTable(metrics=("exact_match", "perplexity"))


ROWS = [Row(text="a b a"), Row(text="b a")]


def subject(folder: Path, name: str, *words: str) -> Subject:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: at for at, word in enumerate(("?", *words))}
    tokenizer = Tokenizer(WordLevel(vocabulary, "?"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    made.save_pretrained(folder / name)
    return Subject(Model(f"sha256:{name}", name, folder / name))


def require(
    subjects: dict[str, Subject], table: EvaluateTable = PERPLEXITY, rows: list[Row] = ROWS
) -> None:
    require_one_tokenizer(subjects, table, rows, 64)


def test_likelihoods_of_two_tokenizers_are_refused_and_answers_are_not(tmp_path: Path) -> None:
    base, same = (subject(tmp_path, name, "a", "b") for name in ("base", "same"))
    other = subject(tmp_path, "other", "a")
    require({"base": base, "candidate": same})
    require({"base": base, "prod": other}, EvaluateTable(metrics=("exact_match",)))
    require({"base": base, "prod": other}, EvaluateTable(metrics=("preference_margin",)))
    with pytest.raises(InvalidInput, match="`perplexity` is of a tokenizer's tokens, and `base`"):
        require({"base": base, "candidate": same, "prod": other})


def test_tokens_that_no_row_has_may_differ(tmp_path: Path) -> None:
    """Two versions of a base have other reserved tokens, and other ids for what comes after."""
    base = subject(tmp_path, "base", "<reserved_0>", "a", "b")
    renamed = subject(tmp_path, "renamed", "<tool>", "a", "b")
    moved = subject(tmp_path, "moved", "a", "<reserved_0>", "<reserved_1>", "b", "c")
    for other in (renamed, moved):
        require({"base": base, "prod": other})
        with pytest.raises(InvalidInput, match="different tokenizers"):
            require({"base": base, "prod": other}, rows=[*ROWS, Row(text="a <tool> c")])
