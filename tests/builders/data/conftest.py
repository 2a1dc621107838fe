"""Fixtures of the data tests: the real tokenizer, and derived recipes kept between runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from adapterworks.registry.bases.base import Base

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "data"


@pytest.fixture(scope="session")
def tokenizer(base: Base) -> PreTrainedTokenizerBase:
    """SmolLM2's own tokenizer with its own chat template."""
    return AutoTokenizer.from_pretrained(base.checkpoint)


@pytest.fixture(scope="session")
def cache() -> Path:
    """The cache of expensive recipes; keyed by content, so it may outlive a run."""
    return CACHE
