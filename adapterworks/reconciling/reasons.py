"""Why a release is not what its manifest declares, in words: what differs, stage by stage.

Pure, as `differences.py` is.

Invariant: whatever makes a stage stale has a finding here; a release is never built again without
a reason that a person can read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from adapterworks.reconciling.build_inputs import (
    ORIGINS,
    STAGES,
    TEST_ROWS,
    BuildInputs,
    Stage,
    stage_of,
)
from adapterworks.reconciling.entries import Finding
from adapterworks.registry.reading.diff import Change, changes

RowsChanged = Callable[[str, str], str | None]
"""Digests of a source's rows before and after → what changed, None if it is not known."""

# What a stale stage is called.
_STALE: dict[Stage, str] = {
    "train": "training changed",
    "convert": "conversion stale",
    "ask": "answers stale",
    "evaluate": "evaluation stale",
    "publish": "card stale",
}


def reasons(here: BuildInputs, there: BuildInputs, rows_changed: RowsChanged) -> Iterator[Finding]:
    """What differs between a manifest and a release, first what costs most to make again.

    Args:
        here: what the manifest would be made of.
        there: what the release was made of.
        rows_changed: what changed between two digests of a source's rows, in words.
    """
    here, there = here.comparable(there)
    found = list(changes(there.settings, here.settings))
    base = [change for change in found if change.key.startswith("base.")]
    if here.base != there.base:
        yield Finding("base changed", _listed(base) or "the same name has other values now")
        found = [change for change in found if change not in base]
    read = {source.key for source in here.sources}
    data = [c for c in found if c.key.startswith("data.") and c.key not in read]
    sources = "; ".join(_data(here, there, rows_changed))
    if sources:
        yield Finding("data changed", sources)
    if data:
        yield Finding("data settings changed", _listed(data))
    if not sources and not data and here.splits != there.splits:
        old, new = there.splits or {}, here.splits or {}
        names = " and ".join(name for name in new if new[name] != old.get(name))
        why = f"the {names} rows come out otherwise: the code that makes rows has changed"
        yield Finding("data changed", why)
    train = changes(there.code.get("train", {}), here.code.get("train", {}))
    origins = {change.key for change in train}
    for stage in STAGES:
        own = [
            change
            for change in found
            if stage_of(change.key) == stage
            and not change.key.startswith("data.")
            and ORIGINS.get(change.key) not in origins  # which is the training's, not the card's
        ]
        method = [change for change in own if change.key.startswith("method.")]
        if method:
            yield Finding("method changed", _listed(method))
        rest = [change for change in own if change not in method]
        code = [
            change
            for change in changes(there.code.get(stage, {}), here.code.get(stage, {}))
            if change.key != TEST_ROWS or here.splits == there.splits  # else it is said by source
        ]
        if rest or code:
            yield Finding(_STALE[stage], _listed([*rest, *code]))


def _data(here: BuildInputs, there: BuildInputs, rows_changed: RowsChanged) -> Iterator[str]:
    """Every source that differs."""
    before = {source.key: source for source in there.sources}
    after = {source.key: source for source in here.sources}
    if here.splits is None or not before:
        return
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is None and new is not None:
            yield f"`{key}` is new: {new.source}, {new.rows} rows"
        elif new is None and old is not None:
            yield f"`{key}` is gone: {old.source}, {old.rows} rows"
        elif old is not None and new is not None and old.digest != new.digest:
            name = new.source if old.source == new.source else f"{old.source} → {new.source}"
            count = f"{new.rows} rows" if old.rows == new.rows else f"{old.rows} → {new.rows} rows"
            detail = rows_changed(old.digest, new.digest) or "they were read elsewhere before"
            yield f"`{key}` {name}: {count}, {detail}"


def _listed(found: Sequence[Change], shown: int = 4) -> str:
    lines = []
    for change in found[:shown]:
        values = (change.before, change.after)
        if any(isinstance(value, list | dict) or _is_digest(value) for value in values):
            lines.append(f"`{change.key}` differs")
        else:
            lines.append(f"`{change.key}` {_value(values[0])} → {_value(values[1])}")
    more = [f"{len(found) - shown} more"] if len(found) > shown else []
    return ", ".join([*lines, *more])


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and value.startswith("sha256:")


def _value(value: object) -> str:
    if value is None:
        return "unset"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"
