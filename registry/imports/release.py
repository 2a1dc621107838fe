"""Safety checks of a release that came from outside, record and all.

Invariant: as for an import, nothing in it can run, no weight is NaN, a LoRA does something and has
the rank that its record claims, virtual tokens are as many as it claims, what is served fits a base
that is here, and neither a file nor all of them are larger than such a release can be. What the
record alone can show is checked before anything is fetched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import category

from adapterworks.registry.bases.base import Base
from adapterworks.registry.imports import strictjson
from adapterworks.registry.imports.config import (
    MAX_DEPTH,
    MAX_RANK,
    is_plain_mapping,
    parse_config,
)
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.folder import CONFIG, LIMITS, WEIGHTS, check_names
from adapterworks.registry.imports.header import read_header
from adapterworks.registry.imports.modules import read_modules
from adapterworks.registry.imports.probes import FINGERPRINT, check_fingerprint
from adapterworks.registry.imports.tensors import check_dtypes, match
from adapterworks.registry.imports.values import check_finite, check_values
from adapterworks.registry.imports.virtual import check_claim, check_virtual
from adapterworks.registry.reading.records import told_at
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import FULL, SERVABLE, Release, Servable

RECORD = "the record"
_SUFFIXES = {
    ".safetensors", ".json", ".jsonl", ".md", ".lock", ".png", ".svg", ".txt", ".jinja", ".model",
    ".csv", ".sig", ".toml", ".html", ".parquet", ".yaml",
}  # fmt: skip


# Bytes. Weights of an adapter are bounded as an import's, which are there twice (`adapter/` and
# `servable/`); a whole model is a model. What is not of a model is bounded together as well.
_MOST_WEIGHTS = LIMITS[WEIGHTS]
_MOST_OF_A_MODEL = 256 << 30
_MOST_OTHER = 1 << 30
_MOST_TOGETHER = 32 << 30
# A whole model against its base: one in eight bits may come back in 32, with its tables beside it.
_WIDEST, _BESIDE = 4, 1 << 30
_TABLES = {"adapter.lock": 64 << 20, "report.json": 64 << 20, "manifest.json": 8 << 20,
           "provenance.json": 64 << 20, "sbom.cdx.json": 64 << 20,
           FINGERPRINT: 64 << 20}  # fmt: skip
_TABLE_DEPTH = 32


def _texts(value: Any) -> Iterator[str]:
    """Every text of a table, keys too."""
    match value:
        case str():
            yield value
        case Mapping():
            for key, inner in value.items():
                yield str(key)
                yield from _texts(inner)
        case list() | tuple():
            for inner in value:
                yield from _texts(inner)


def _unshowable(text: str) -> str | None:
    """A character that no terminal shows and no index keeps: NUL, escapes, half of a pair."""
    if text.isprintable():
        return None
    kinds = ((character, category(character)) for character in text if character not in "\n\r\t")
    return next((character for character, kind in kinds if kind in ("Cc", "Cs")), None)


def check_named(release: Release, base: Base | None = None) -> None:
    """Check what a record names, before a byte of it is fetched: kinds of files, sizes, rank.

    Args:
        base: its base, if it is prepared here: a whole model is not many times as large.

    Raises:
        ImportRefused: naming the file and the reason.
    """
    for text in _texts(release.to_json()):
        if (found := _unshowable(text)) is not None:
            raise ImportRefused(RECORD, f"has the character {found!a} in {text[:40]!a}")
    most_of_a_model = _MOST_OF_A_MODEL
    if base is not None:
        most_of_a_model = min(most_of_a_model, _WIDEST * _weights(base.checkpoint) + _BESIDE)
    adapter = model = others = 0
    for path, entry in sorted(release.files.items()):
        check_names(list(PurePosixPath(path).parts))
        if PurePosixPath(path).suffix.lower() not in _SUFFIXES:
            raise ImportRefused(path, "a release has no such kind of file")
        limit = _TABLES.get(path, _MOST_OTHER)
        if path.startswith(f"{FULL}/"):
            limit = most_of_a_model
            model += entry.size
        elif path.endswith(".safetensors"):
            limit = _MOST_WEIGHTS
            adapter += entry.size
        if entry.size > limit or adapter > 2 * _MOST_WEIGHTS:
            raise ImportRefused(path, f"{entry.size} bytes, {limit} are the limit")
        if model > most_of_a_model:
            why = f"with it the model has {model} bytes, {most_of_a_model} are the limit"
            raise ImportRefused(path, why)
        others += 0 if path.startswith(f"{FULL}/") else entry.size
        if others > _MOST_TOGETHER:
            why = f"with it the release has {others} bytes, {_MOST_TOGETHER} are the limit"
            raise ImportRefused(path, why)
    rank = release.servable.rank if release.servable is not None else None
    if rank is not None and not 0 < rank <= MAX_RANK:
        raise ImportRefused(
            RECORD, f"it claims rank {rank}, {MAX_RANK} is the largest of an engine"
        )
    if release.servable is not None and release.servable.form != LORA:
        check_claim(release.servable, file=RECORD)


def check_release(
    folder: Path, release: Release, base: Base | None, absent: Collection[str] = ()
) -> None:
    """Check every file of a release that was put together in `folder`.

    Args:
        base: its base, if it is prepared here.
        absent: the files that did not come; of those only the names are checked.

    Raises:
        ImportRefused: naming the file and the reason.
    """
    check_named(release, base)
    for path in sorted(release.files):
        if path in absent:
            continue
        if told_at(folder / path) is not None:  # gc and `rebuild-index` believe a store's own
            raise ImportRefused(path, "a record of a registry, which no file of a release is")
        if path.endswith(".safetensors"):
            check_finite(folder / path, read_header(folder / path), file=path)
        if PurePosixPath(path).name == CONFIG:
            if release.files[path].size > LIMITS[CONFIG]:
                raise ImportRefused(path, f"more than {LIMITS[CONFIG]} bytes")
            _check_config(folder / path, path)
        if path in _TABLES:
            data = (folder / path).read_bytes()
            table = strictjson.parse(data, file=path, max_depth=_TABLE_DEPTH)
            if not isinstance(table, dict):
                raise ImportRefused(path, "not a table")
            if path == FINGERPRINT:
                check_fingerprint(table, None if base is None else base.checkpoint)
    servable = release.servable
    if servable is not None and servable.form == LORA:
        _check_lora(folder / SERVABLE, servable, base)
    elif servable is not None:
        check_virtual(folder / SERVABLE, servable, None if base is None else base.checkpoint)


def _weights(checkpoint: Path) -> int:
    """The bytes of a base's weights."""
    return sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))


def _check_config(path: Path, name: str) -> None:
    """A config that PEFT will read when the adapter is loaded, whatever its method."""
    data = path.read_bytes()
    table = strictjson.parse(data, file=name, max_depth=MAX_DEPTH)
    if not isinstance(table, dict):
        raise ImportRefused(name, "not a table")
    if table.get("peft_type") == "LORA":
        parse_config(data, file=name)
    for key in ("auto_map", "auto_mapping"):
        if table.get(key) is not None and not is_plain_mapping(table[key]):
            raise ImportRefused(name, f"`{key}` must not be set: it names code")


def _check_lora(folder: Path, servable: Servable, base: Base | None) -> None:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ImportRefused(f"servable/{name}", "it is missing")
    config = parse_config((folder / CONFIG).read_bytes(), file=f"servable/{CONFIG}")
    if config.use_dora:
        raise ImportRefused(f"servable/{CONFIG}", "DoRA is not a form that the engine loads")
    if servable.rank is None or servable.rank > max([config.r, *config.rank_pattern.values()]):
        raise ImportRefused(RECORD, f"it claims rank {servable.rank}, its config has {config.r}")
    header = read_header(folder / WEIGHTS)
    check_dtypes(header)
    check_values(folder / WEIGHTS, header)
    if base is not None:
        match(header, config, read_modules(base.checkpoint), rename=False)
