"""Combinations in `[data]` that are impossible although each value is valid by itself.

Formats and objectives say themselves what they read and take: their modules are imported for it
(they import nothing heavy), and one that cannot be is a fault. Whether a recipe of that name exists
is not checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapterworks.manifests.builtin import Kind
from adapterworks.manifests.checking import KeyPath, Problem, check, is_written
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import load, names
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.sources import (
    DatasetSource,
    LineageSource,
    RecipeSource,
    parse_source,
)


@check("data.train", "data.validation", "data.test", "data.mix", "data.replay", "start")
def _source_grammar(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    data = manifest.data
    sources: list[tuple[KeyPath, str | None]] = [
        (("data", "train"), data.train),
        (("data", "validation"), data.validation),
        (("data", "test"), data.test),
        (("data", "replay", "source"), data.replay.source if data.replay else None),
        *((("data", "mix", i, "source"), mixed.source) for i, mixed in enumerate(data.mix)),
    ]
    for key, text in sources:
        if text is not None:
            try:
                parsed = parse_source(text)
            except InvalidInput as error:
                yield Problem(key, error.message, error.hint or "")
                continue
            if isinstance(parsed, LineageSource):
                yield from _lineage(manifest, key)


def _lineage(manifest: Manifest, key: KeyPath) -> Iterator[Problem]:
    if key != ("data", "replay", "source"):
        yield Problem(
            key, "`lineage` is what is replayed", 'say it under [data.replay]: source = "lineage"'
        )
    elif manifest.start is None:
        yield Problem(
            key,
            "a training that starts from the base has no lineage to replay",
            'name the release that it continues: [start] from = "NAME@N"',
        )


def _loaded(kind: Kind, name: str) -> Any:
    """The entry, or None where it cannot be loaded, which `_entries_load` reports."""
    try:
        return load(kind, name)
    except InvalidInput:
        return None


@check("data.format", "data.mix", "data.replay", "objective")
def _entries_load(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    named: list[tuple[KeyPath, Kind, str]] = [
        *((key, "formats", name) for key, name, _ in _formats(manifest)),
        (("objective", "kind"), "objectives", manifest.objective.kind),
    ]
    for key, kind, name in named:
        try:
            load(kind, name)
        except InvalidInput as error:
            yield Problem(key, error.message, error.hint or "")


def _formats(manifest: Manifest) -> list[tuple[KeyPath, str, tuple[str, ...]]]:
    """Every format that is named, with the sources of what is learnt that it reads."""
    data = manifest.data
    own = [text for text in (data.train, data.validation) if text is not None]
    found: list[tuple[KeyPath, str, tuple[str, ...]]] = []
    others = [(("data", "mix", i), part) for i, part in enumerate(data.mix)]
    if data.replay is not None:
        others.append((("data", "replay"), data.replay))  # type: ignore[arg-type]
    for key, part in others:
        if part.format is None:
            own.append(part.source)
        else:
            found.append(((*key, "format"), part.format, (part.source,)))
    return [(("data", "format"), data.format, tuple(own)), *found]


@check("data.train", "data.format", "data.mix", "data.replay", "objective")
def _objective_takes(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """What is not learnt is said before anything is read: an objective of one answer would pass
    over all others."""
    name = manifest.objective.kind
    objective = _loaded("objectives", name)
    for key, format_name, sources in _formats(manifest):
        format = _loaded("formats", format_name)
        if objective is None or format is None or all(_is_read(text) for text in sources):
            continue
        if format.gives in objective.takes:
            continue
        taking = [n for n in names("objectives") if _takes(n, format.gives)]
        hints = []
        if format.beside:
            ignored = ", ".join(f"`{column}`" for column in format.beside)
            message = f"objective `{name}` would ignore {ignored} of format `{format_name}`"
        else:
            message = f"objective `{name}` does not take the rows of format `{format_name}`"
            fitting = [n for n in names("formats") if _gives(n) in objective.takes]
            hints.append(f"it takes {', '.join(f'`{n}`' for n in fitting) or 'none that is known'}")
        if taking:
            hints.append(f"set `objective.kind` to {' or '.join(f'`{n}`' for n in taking)}")
        if format.instead:
            hints.append(f"to learn one answer a row, set {format.instead}")
        yield Problem(key, message, "; ".join(hints))


def _takes(objective: str, kind: str) -> bool:
    return kind in getattr(_loaded("objectives", objective), "takes", ())


def _gives(format: str) -> str:
    return str(getattr(_loaded("formats", format), "gives", ""))


@check("data.train", "data.validation", "data.test", "data.format", "data.columns", "data.mix")
def _columns(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    data = manifest.data
    sources = [text for text in (data.train, data.validation, data.test) if text is not None]
    if data.columns and all(_is_read(text) for text in sources):
        yield Problem(
            ("data", "columns"),
            "rows of a recipe or dataset are conversations already: no column would be renamed",
            "remove it; it is for files and Hub data sets",
        )
    given: list[tuple[KeyPath, str, dict[str, str]]] = [(("data",), data.format, data.columns)]
    for i, part in enumerate(data.mix):
        given.append((("data", "mix", i), part.format or data.format, part.columns or {}))
    if data.replay is not None:
        replay = data.replay
        given.append((("data", "replay"), replay.format or data.format, replay.columns or {}))
    for key, format_name, columns in given:
        format = _loaded("formats", format_name)
        known = format.columns if format is not None else tuple(columns)
        for name in columns:
            if name not in known:
                yield Problem(
                    (*key, "columns", name),
                    f"format `{format_name}` has no column `{name}`",
                    f"the names on the left are {', '.join(f'`{column}`' for column in known)}",
                )


def _is_read(text: str) -> bool:
    """Whether a source has rows, not records that a format reads."""
    try:
        return isinstance(parse_source(text), RecipeSource | DatasetSource | LineageSource)
    except InvalidInput:  # reported by its own check
        return False


@check(
    "data.validation",
    "data.validation_share",
    "data.test",
    "data.test_share",
    "data.limit_test",
)
def _splits(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    data = manifest.data
    if data.validation is None and data.validation_share in (0.0, 1.0):
        yield Problem(
            ("data", "validation_share"),
            "no rows would be left for "
            + ("validation" if data.validation_share == 0.0 else "training"),
            "name a `data.validation` source, or a share between 0 and 1",
        )
    if data.validation is not None and is_written(written, "data", "validation_share"):
        yield Problem(
            ("data", "validation_share"),
            "nothing is held out when `data.validation` is named",
            "remove one of the two",
        )
    if data.test_share == 1.0:
        yield Problem(
            ("data", "test_share"),
            "no rows would be left for training",
            "give a share below 1",
        )
    if data.test is not None and is_written(written, "data", "test_share"):
        yield Problem(
            ("data", "test_share"),
            "nothing is held out when `data.test` is named",
            "remove one of the two",
        )
    if not data.has_test and data.limit_test is not None:
        yield Problem(
            ("data", "limit_test"),
            "there are no test rows to limit",
            "name a `data.test` source or a `data.test_share`, or remove it",
        )


@check("data.augment")
def _augmentation(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    augment = manifest.data.augment
    for i, template in enumerate(augment.paraphrase_templates):
        if "{prompt}" not in template:
            yield Problem(
                ("data", "augment", "paraphrase_templates", i),
                "the template would lose the question",
                "put `{prompt}` where the question goes",
            )
    has_means = bool(augment.paraphrase_templates) or augment.lexicon is not None
    if has_means and augment.share == 0.0:
        yield Problem(
            ("data", "augment", "share"),
            "no row would be augmented: `share` is 0",
            "set `data.augment.share`, such as 0.2, or remove the table",
        )
    if augment.share > 0.0 and not has_means:
        yield Problem(
            ("data", "augment", "share"),
            "there is nothing to augment with",
            "give `paraphrase_templates` or a `lexicon`",
        )


@check("data.format", "train.loss_on", "objective")
def _loss_on(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    train = manifest.train
    format = _loaded("formats", manifest.data.format)
    objective = _loaded("objectives", manifest.objective.kind)
    if format is not None and format.learnt_whole:
        if train.loss_on != "all":
            yield Problem(
                ("train", "loss_on"),
                "rows of plain text have no completion",
                'remove it, or set `loss_on = "all"`',
            )
    elif objective is not None and train.loss_on == "all" and not objective.loss_on_all:
        yield Problem(
            ("train", "loss_on"),
            f"objective `{manifest.objective.kind}` compares answers only",
            "remove it",
        )
    elif (
        objective is not None
        and train.loss_on == "last"
        and not getattr(objective, "learns_turns", True)
    ):
        yield Problem(
            ("train", "loss_on"),
            f"objective `{manifest.objective.kind}` learns each answer whole, and nothing of the "
            "turns before it",
            "remove it",
        )


DATA_CHECKS = (
    _source_grammar,
    _entries_load,
    _objective_takes,
    _columns,
    _splits,
    _augmentation,
    _loss_on,
)
