"""What a release is made of, digested by stage: equal for a manifest and for the release it gave.

    train     what is learnt from: base, training and validation rows, method, training settings
    evaluate  that, the test rows, what is asked and judged, how it is converted
    publish   that and everything else that the release says of itself

Both sides come to a `Made`: `declared` from a manifest and the rows its sources hold now, `built`
from a release's record and lock. Everything that is compared goes through the three digests.

Invariant: no digest depends on where the manifest lies (of a path only the file's name counts, its
bytes are in the rows' digests), on the machine, or on installed packages; what is only about now
(`publish.alias`, trackers) is in none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

from pydantic import ValidationError

from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.sources import FileSource, parse_base, parse_source
from adapterworks.registry.reading.diff import flatten

Stage = Literal["train", "evaluate", "publish"]
STAGES: tuple[Stage, ...] = ("train", "evaluate", "publish")

# The alias is compared where it is, in the index; trackers are told and change nothing.
_IGNORED = ("publish.alias", "train.trackers")
_CONVERSION = ("serve.conversion_rank", "serve.max_conversion_error")


@dataclass(frozen=True, slots=True)
class SourceRows:
    """One source of rows as it was read.

    Attributes:
        key: the manifest's key that names it (`data.train`, `data.mix.0.source`).
        source: what it names; of a file, its name.
        digest: of its rows, in order.
        rows: their number.
    """

    key: str
    source: str
    digest: str
    rows: int


@dataclass(frozen=True)
class Made:
    """What a release is or would be made of.

    Attributes:
        settings: the manifest's keys and values, flat (`method.rank` → 16).
        base: the digest of the base; None if it is not prepared here.
        splits: `train`, `validation` and `test` → digest of the rows; None if they were not read.
        sources: what the splits were made from.
    """

    settings: Mapping[str, Any]
    base: str | None
    splits: Mapping[str, str] | None
    sources: tuple[SourceRows, ...]

    @property
    def train_digest(self) -> str:
        """Of what is learnt from."""
        splits = self.splits or {}
        rows = {name: splits.get(name) for name in ("train", "validation")}
        return digest_json({"base": self.base, "rows": rows, "settings": self.of("train")})

    @property
    def evaluate_digest(self) -> str:
        """Of that and what is asked and judged."""
        test = (self.splits or {}).get("test")
        return digest_json(
            {"train": self.train_digest, "rows": test, "settings": self.of("evaluate")}
        )

    @property
    def publish_digest(self) -> str:
        """Of that and all that the release says of itself."""
        return digest_json({"evaluate": self.evaluate_digest, "settings": self.of("publish")})

    def of(self, stage: Stage) -> dict[str, Any]:
        """The settings that act in a stage."""
        return {key: value for key, value in self.settings.items() if stage_of(key) == stage}

    def stale(self, built: Made) -> Stage | None:
        """The earliest stage in which a release that was built is not what this would give.

        What is not known here (a base that is not prepared, rows that were not read) is taken to
        be as it was, unless the manifest names something else.
        """
        here = self._filled(built)
        for stage in STAGES:
            if getattr(here, f"{stage}_digest") != getattr(built, f"{stage}_digest"):
                return stage
        return None

    def _filled(self, built: Made) -> Made:
        base = self.base
        if base is None and _base_keys(self) == _base_keys(built):
            base = built.base
        return replace(self, base=base, splits=built.splits if self.splits is None else self.splits)


def stage_of(key: str) -> Stage | None:
    """The stage that a key of the manifest acts in; None if a digest stands for it, or nothing."""
    table = key.partition(".")[0]
    if table == "base" or key.startswith(_IGNORED):
        return None
    if table in ("method", "train"):
        return "train"
    if table == "evaluate" or key in _CONVERSION:
        return "evaluate"
    return "publish"  # `data` too: what it does to the rows is in their digests


def declared(
    manifest: Manifest,
    *,
    base: str | None,
    splits: Mapping[str, str] | None,
    datasheets: Sequence[Mapping[str, Any]],
) -> Made:
    """What a manifest comes to.

    Args:
        base: digest of its base, if that is prepared.
        splits: digests of the rows it gives now, if they were read.
        datasheets: of its sources, in the order in which they were read.
    """
    return Made(_settings(manifest), base, splits, tuple(_sources(manifest, datasheets)))


def built(manifest: Mapping[str, Any], base: str, lock: Mapping[str, Any]) -> Made:
    """What a release was made of.

    Args:
        manifest: as its record has it.
        base: the digest in its record.
        lock: its `adapter.lock`.
    """
    data = lock.get("data", {})
    try:
        # So that keys which it could not know yet have the values they had: the defaults.
        known = Manifest.model_validate_json(json.dumps(manifest))
    except ValidationError:  # of another version: every key that differs is said to
        return Made(_kept(flatten(manifest)), base, data.get("splits"), ())
    sources = tuple(_sources(known, data.get("sources", ())))
    return Made(_settings(known), base, data.get("splits"), sources)


def _settings(manifest: Manifest) -> dict[str, Any]:
    values = manifest.model_dump(mode="json")
    values["base"]["model"] = _base_name(values["base"]["model"])
    data = values["data"]
    for table, key in [
        *((data, split) for split in ("train", "validation", "test")),
        *((part, "source") for part in data["mix"]),
        *([(data["replay"], "source")] if data["replay"] else []),
    ]:
        table[key] = table[key] and source_name(table[key])
    for table, key in ((data["augment"], "lexicon"), (values["train"], "accelerate_config")):
        table[key] = table[key] and PurePath(table[key]).name
    return _kept(flatten(values))


def _kept(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flat.items() if not key.startswith(_IGNORED)}


def _sources(manifest: Manifest, datasheets: Sequence[Mapping[str, Any]]) -> Iterator[SourceRows]:
    """The datasheets with the keys that named them."""
    data = manifest.data
    named = [
        ("data.test", data.test),
        ("data.validation", data.validation),
        ("data.train", data.train),
        *((f"data.mix.{number}.source", part.source) for number, part in enumerate(data.mix)),
        ("data.replay.source", data.replay.source if data.replay else None),
    ]
    left = list(datasheets)
    for key, source in named:
        name = None if source is None else source_name(source)
        sheet = next((sheet for sheet in left if source_name(sheet["source"]) == name), None)
        if name is not None and sheet is not None:
            left.remove(sheet)
            yield SourceRows(key, name, str(sheet["digest"]), int(sheet["rows"]))


def source_name(source: str) -> str:
    """A source as it is shown and compared: of a file, only its name."""
    return PurePath(source).name if isinstance(parse_source(source), FileSource) else source


def _base_name(model: str) -> str:
    return PurePath(model).name if isinstance(parse_base(model), FileSource) else model


def _base_keys(made: Made) -> dict[str, Any]:
    return {key: value for key, value in made.settings.items() if key.startswith("base.")}
