"""A checkpoint, with a PEFT folder on it or without, asked of the reference implementation."""

from __future__ import annotations

from pathlib import Path

from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.engines.engine import Adapter, Model
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation.asking import Asked, asked

BASE = "sha256:" + "b" * 64
ADAPTER = "sha256:" + "a" * 64


def subject_of(checkpoint: Path, adapter: Path | None = None) -> Subject:
    """Who is asked; the digests are made up."""
    model = Model(BASE, "base", checkpoint)
    return Subject(model, None if adapter is None else Adapter(ADAPTER, adapter))


def ask_reference(checkpoint: Path, adapter: Path | None = None) -> Asked:
    """The subject as evaluation asks it; nothing is kept."""
    subject = subject_of(checkpoint, adapter)
    session = Engines().session("huggingface", [subject], tokens=0)
    return asked(session, {"it": subject})["it"]()
