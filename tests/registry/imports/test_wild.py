"""Adapters as savers leave them are imported as what they are, or refused in a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.wild.__main__ import judge_all
from bench.wild.by_hand import SHAPES
from bench.wild.make import LORAS, OTHERS


@pytest.mark.slow
def test_none_is_served_half(tmp_path: Path) -> None:
    """Of the PEFT that is installed, and of savers besides it; other versions: `bench.wild`."""
    found, skipped = judge_all([Path(sys.executable)], tmp_path)
    assert not skipped
    assert len(found) == len(LORAS) + 2 + len(OTHERS) + len(SHAPES)
    assert [each.name for each in found if each.half] == []
    imported = {each.name for each in found if each.off is not None}
    assert {"plain", "all-linears", "an-expression", "patterns", "rslora", "half", "unsloth",
            "peft-0.2", "trainer-checkpoint"} <= imported  # fmt: skip
    refused = {each.name: each.said for each in found if each.off is None}
    assert all(len(said) > 20 for said in refused.values())
    for name, words in (("pickled", "safe_serialization=True"), ("mlx", "lora_alpha"),
                        ("deepspeed-checkpoint", "zero_to_fp32.py . out"), ("shards", "as one"),
                        ("fsdp-checkpoint", "merge-weights"), ("compiled", "--rename"),
                        ("the-output", "save_embedding_layers=False")):  # fmt: skip
        assert words in refused[name], name
