"""A manifest on disk, changed by each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MANIFEST = """\
[adapter]
name = "demo"

[base]
model = "smollm2-135m-instruct"
quantization = "nf4"

[method]
kind = "qlora"
rank = 16

[data]
train = "rows/train.jsonl"
test = "icd-10-cm:test"

[train]
epochs = 3
learning_rate = 2e-4

[evaluate]
metrics = ["exact_match", "rouge_l"]

[[evaluate.gates]]
metric = "exact_match"

[profiles.quick]
data.limit = 600
train.epochs = 1
evaluate.metrics = ["exact_match"]
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the manifest above with `old` → `new` replacements and returns its path."""

    def write(*changes: tuple[str, str], extra: str = "") -> Path:
        text = MANIFEST
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "demo.toml"
        path.write_text(text + extra, encoding="utf-8")
        return path

    return write
