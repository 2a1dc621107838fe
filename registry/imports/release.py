"""Safety checks of a release that came from outside, record and all.

Invariant: as for an import, nothing in it can run, no weight is NaN, and a LoRA whose base is here
fits it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from adapterworks.registry.bases.store import Base
from adapterworks.registry.imports import strictjson
from adapterworks.registry.imports.config import MAX_DEPTH, is_plain_mapping, parse_config
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.folder import CONFIG, LIMITS, WEIGHTS, check_names
from adapterworks.registry.imports.header import read_header
from adapterworks.registry.imports.modules import read_modules
from adapterworks.registry.imports.tensors import check_dtypes, match
from adapterworks.registry.imports.values import check_finite
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import Release

_SUFFIXES = {
    ".safetensors", ".json", ".jsonl", ".md", ".lock", ".png", ".svg", ".txt", ".jinja", ".model",
    ".csv", ".sig", ".toml", ".html", ".parquet", ".yaml",
}  # fmt: skip


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
    for path in sorted(release.files):
        check_names(list(PurePosixPath(path).parts))
        if PurePosixPath(path).suffix.lower() not in _SUFFIXES:
            raise ImportRefused(path, "a release has no such kind of file")
        if path in absent:
            continue
        if path.endswith(".safetensors"):
            check_finite(folder / path, read_header(folder / path), file=path)
        if PurePosixPath(path).name == CONFIG:
            if release.files[path].size > LIMITS[CONFIG]:
                raise ImportRefused(path, f"more than {LIMITS[CONFIG]} bytes")
            _check_config(folder / path, path)
    servable = release.servable
    if servable is not None and servable.form == LORA:
        _check_lora(folder / "servable", base)


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


def _check_lora(folder: Path, base: Base | None) -> None:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ImportRefused(f"servable/{name}", "it is missing")
    config = parse_config((folder / CONFIG).read_bytes(), file=f"servable/{CONFIG}")
    header = read_header(folder / WEIGHTS)
    check_dtypes(header)
    if base is not None:
        match(header, config, read_modules(base.checkpoint), rename=False)
