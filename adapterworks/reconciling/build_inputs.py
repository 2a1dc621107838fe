"""What a release is made of, digested by stage: equal for a manifest and for the release it gave.

Both sides come to a `BuildInputs`: `declared` from a manifest, the rows that its sources hold now
and what is installed; `built` from a release's record and lock. They are compared by the stages of
a build, under the decisions of `builders/plan/digests.py`: which stage reads which key is said
there.

These digests are made for comparing, without tokenizer, model or torch: where those of a build have
encoded rows and what the plan resolves, these have the rows' digests and the keys themselves. A
build has the last word: what it finds unchanged after all, it does not do again.

Invariant: no digest depends on where the manifest lies, on the machine or its kind of device; what
one side does not know (a base that is not prepared, an older lock) is taken to be equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal, cast, get_args

from pydantic import ValidationError

from adapterworks.builders.plan.decisions import ADDED, decision, leaves
from adapterworks.manifests.builtin import Kind
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.naming import of_record
from adapterworks.manifests.paths import by_file_name
from adapterworks.manifests.sources import FileSource, parse_source

Stage = Literal["train", "convert", "ask", "evaluate", "publish"]
STAGES: tuple[Stage, ...] = get_args(Stage)
# Test rows with what only metrics read of them, which is not among what a model sees.
TEST_ROWS = "what metrics read of the test rows"
ORIGINS = {
    "start": "start",
    "objective.reference": "reference",
    "objective.reward_release": "reward",
    "objective.teacher": "teacher",
    "objective.teacher_base": "teacher",
}
"""The manifest's keys that name what a training begins from, is held near or is taught by → what
that is called among what computes the training."""
# The rows that a stage reads, by split.
_ROWS: dict[Stage, tuple[str, ...]] = {"train": ("train", "validation"), "ask": ("test",)}


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
class BuildInputs:
    """What a release is or would be made of.

    Attributes:
        settings: the manifest's keys and values (`method.rank` → 16).
        base: the digest of the base; None if it is not prepared here.
        splits: `train`, `validation` and `test` → digest of the rows; None if they were not read.
        sources: what the splits were made from.
        code: stage → what computes it (`torch` → 2.13.0, `metric exact_match` → digest of its
            file, `semantics` → number).
    """

    settings: Mapping[str, Any]
    base: str | None
    splits: Mapping[str, str] | None
    sources: tuple[SourceRows, ...]
    code: Mapping[str, Mapping[str, Any]]

    def digest(self, stage: Stage) -> str:
        """Of what the stage reads, the stages before it included."""
        before = STAGES.index(stage)
        splits = self.splits or {}
        return digest_json(
            {
                "before": self.digest(STAGES[before - 1]) if before else self.base,
                "settings": self.of(stage),
                "rows": {split: splits.get(split) for split in _ROWS.get(stage, ())},
                "code": dict(self.code.get(stage, {})),
            }
        )

    def of(self, stage: Stage) -> dict[str, Any]:
        """The settings that a stage reads."""
        return {key: value for key, value in self.settings.items() if stage_of(key) == stage}

    def stale(self, built: BuildInputs) -> Stage | None:
        """The earliest stage in which a release that was built is not what this would give."""
        here, there = self.comparable(built)
        return next((s for s in STAGES if here.digest(s) != there.digest(s)), None)

    def comparable(self, built: BuildInputs) -> tuple[BuildInputs, BuildInputs]:
        """Both sides, with what one of them does not know as the other has it."""
        same_name = _base_keys(self) == _base_keys(built)
        base = built.base if self.base is None and same_name else self.base
        known = self.splits is not None and built.splits is not None
        splits = (self.splits, built.splits) if known else (None, None)
        code = {
            stage: {key: value for key, value in built.code.get(stage, {}).items() if key in known}
            for stage, known in self.code.items()
        }
        own = {
            stage: {key: value for key, value in known.items() if key in code[stage]}
            for stage, known in self.code.items()
        }
        here = replace(self, base=base, splits=splits[0], code=own)
        return here, replace(built, splits=splits[1], code=code)


def stage_of(key: str) -> Stage | None:
    """The first stage that reads a key of the manifest; None if none does."""
    part = decision(key)
    if part is None or part == "resolved":
        return "train"
    return None if part == "nothing" else part


def pinned(pin: Mapping[str, str]) -> tuple[str, str]:
    """What somebody else added to a table, as it is compared: its name and its source's digest."""
    return f"{pin['table']}:{pin['name']}", pin["digest"]


def no_origins() -> dict[str, Any]:
    """What computes a training that begins from nothing: known to have no origin, which is not the
    same as not knowing it."""
    return dict.fromkeys(ORIGINS.values())


def added_in(table: str) -> Stage:
    """The stage that runs what others add to a table."""
    part = ADDED.get(cast(Kind, table), "publish")
    return part if part in STAGES else "publish"


def declared(
    manifest: Manifest,
    *,
    base: str | None,
    splits: Mapping[str, str] | None,
    datasheets: Sequence[Mapping[str, Any]],
    code: Mapping[str, Mapping[str, Any]],
) -> BuildInputs:
    """What a manifest comes to.

    Args:
        base: digest of its base, if that is prepared.
        splits: digests of the rows it gives now, if they were read.
        datasheets: of its sources, in the order in which they were read.
        code: as `BuildInputs` has it.
    """
    return BuildInputs(
        _settings(manifest), base, splits, tuple(_sources(manifest, datasheets)), code
    )


def built(manifest: Mapping[str, Any], base: str, lock: Mapping[str, Any]) -> BuildInputs:
    """What a release was made of.

    Args:
        manifest: as its record has it.
        base: the digest in its record.
        lock: its `adapter.lock`.
    """
    data = lock.get("data", {})
    code: dict[str, dict[str, Any]] = {
        stage: {"semantics": number} for stage, number in lock.get("semantics", {}).items()
    }
    packages = {name: text.partition("+")[0] for name, text in lock.get("packages", {}).items()}
    code["train"] = code.get("train", {}) | packages | data.get("files", {})
    code["evaluate"] = code.get("evaluate", {}) | lock.get("metrics", {})
    if "asked" in lock:
        code["ask"] = code.get("ask", {}) | {TEST_ROWS: lock["asked"]}
    if "origins" in lock:
        code["train"] |= no_origins() | lock["origins"]
    for pin in lock.get("extensions", ()):
        key, digest = pinned(pin)
        code.setdefault(added_in(pin["table"]), {})[key] = digest
    try:
        # So that keys which it could not know yet have the values they had: the defaults.
        known = of_record(manifest)
    except ValidationError:  # of another version: every key that differs is said to
        return BuildInputs(dict(leaves(manifest)), base, data.get("splits"), (), code)
    sources = tuple(_sources(known, data.get("sources", ())))
    return BuildInputs(_settings(known), base, data.get("splits"), sources, code)


def _settings(manifest: Manifest) -> dict[str, Any]:
    return dict(leaves(by_file_name(manifest).model_dump(mode="json")))


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
        name = None if source is None else _name(source)
        sheet = next((sheet for sheet in left if _name(sheet["source"]) == name), None)
        if name is not None and sheet is not None:
            left.remove(sheet)
            yield SourceRows(key, name, str(sheet["digest"]), int(sheet["rows"]))


def _name(source: str) -> str:
    return PurePath(source).name if isinstance(parse_source(source), FileSource) else source


def _base_keys(made: BuildInputs) -> dict[str, Any]:
    return {key: value for key, value in made.settings.items() if key.startswith("base.")}
