"""Relative paths of a manifest, resolved against the manifest's folder.

Invariant: a resolved manifest means the same from every working directory.
"""

from __future__ import annotations

from pathlib import Path

from adapterworks.manifests.models import DataTable, Manifest
from adapterworks.manifests.sources import FileSource, parse_base, parse_source


def resolve_paths(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest with every path made absolute; recipes, names and Hub ids stay as they are."""
    model = manifest.base.model
    if isinstance(parse_base(model), FileSource):
        model = _absolute(model, folder)
    accelerate = manifest.train.accelerate_config
    return manifest.model_copy(
        update={
            "base": manifest.base.model_copy(update={"model": model}),
            "data": _resolve_data(manifest.data, folder),
            "train": manifest.train.model_copy(
                update={"accelerate_config": accelerate and _absolute(accelerate, folder)}
            ),
        }
    )


def _resolve_data(data: DataTable, folder: Path) -> DataTable:
    def source(text: str | None) -> str | None:
        is_file = text is not None and isinstance(parse_source(text), FileSource)
        return _absolute(text, folder) if text is not None and is_file else text

    lexicon = data.augment.lexicon
    return data.model_copy(
        update={
            "train": source(data.train),
            "validation": source(data.validation),
            "test": source(data.test),
            "mix": tuple(
                mixed.model_copy(update={"source": source(mixed.source)}) for mixed in data.mix
            ),
            "replay": data.replay
            and data.replay.model_copy(update={"source": source(data.replay.source)}),
            "augment": data.augment.model_copy(
                update={"lexicon": lexicon and _absolute(lexicon, folder)}
            ),
        }
    )


def _absolute(path: str, folder: Path) -> str:
    return str((folder / Path(path).expanduser()).resolve())
