"""Folders of other savers are told by their names, and refused with the way to PEFT's."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.folder import WEIGHTS, take
from tests.registry.imports.hostile.good import write_adapter


@pytest.mark.parametrize(
    ("name", "what", "how"),
    [
        ("global_step10", "a DeepSpeed checkpoint", "zero_to_fp32.py . out"),
        ("zero_to_fp32.py", "a DeepSpeed checkpoint", "zero_to_fp32.py . out"),
        ("pytorch_model_fsdp_0", "an FSDP checkpoint", "accelerate merge-weights"),
        ("pytorch_model_fsdp.bin", "an FSDP checkpoint", "accelerate merge-weights"),
        ("__0_0.distcp", "an FSDP checkpoint", "accelerate merge-weights"),
        ("adapters.safetensors", "an adapter of MLX", "transpose each `lora_a`"),
        ("0000100_adapters.safetensors", "an adapter of MLX", "transpose each `lora_a`"),
    ],
)
def test_a_saver_is_named_where_weights_are_missing(
    tmp_path: Path, name: str, what: str, how: str
) -> None:
    folder = write_adapter(tmp_path / "adapter")
    (folder / name).write_bytes(b"not opened")
    (tmp_path / "whole").mkdir()
    assert take(folder, tmp_path / "whole").ignored == (name,)  # beside PEFT's own it is left alone
    (folder / WEIGHTS).unlink()
    (tmp_path / "none").mkdir()
    with pytest.raises(ImportRefused, match=what) as refused:
        take(folder, tmp_path / "none")
    assert how in (refused.value.hint or "")
    assert list((tmp_path / "none").iterdir()) == []


def test_a_folder_of_checkpoints_names_the_last(tmp_path: Path) -> None:
    for step in (500, 1000, 90):
        write_adapter(tmp_path / "out" / f"checkpoint-{step}")
    (tmp_path / "out" / "checkpoint-best").mkdir()
    (tmp_path / "none").mkdir()
    with pytest.raises(ImportRefused, match="missing") as refused:
        take(tmp_path / "out", tmp_path / "none")
    assert "`checkpoint-1000` is the last" in (refused.value.hint or "")
