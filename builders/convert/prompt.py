"""Prompt tuning: `prompt.safetensors` with `embeddings` [virtual_tokens, hidden], float32.

Invariant: the numbers are those PEFT concatenates before the sequence's own embeddings.
"""

from __future__ import annotations

from pathlib import Path

from builders.convert.conversion import Conversion, Source
from builders.convert.factors import read_adapter
from registry.release import Servable

FILE = "prompt.safetensors"


def convert_prompt(source: Source, folder: Path) -> Conversion:
    """Write the soft prompt."""
    from safetensors.torch import save_file

    embeddings = read_adapter(source.adapter)[0]["prompt_embeddings"].float().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"embeddings": embeddings}, folder / FILE)
    return Conversion(Servable(form="prompt", origin="exact", virtual_tokens=len(embeddings)))
