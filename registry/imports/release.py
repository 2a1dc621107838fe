"""Safety checks of a release that came from outside, record and all.

Invariant: as for an import, nothing in it can run, no weight is NaN, and a LoRA whose base is here
fits it.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from registry.bases import Base
from registry.imports.config import parse_config
from registry.imports.errors import ImportRefused
from registry.imports.folder import CONFIG, LIMITS, WEIGHTS, check_names
from registry.imports.header import read_header
from registry.imports.modules import read_modules
from registry.imports.tensors import check_dtypes, match
from registry.imports.values import check_finite
from registry.release import Release

_SUFFIXES = {
    ".safetensors", ".json", ".jsonl", ".md", ".lock", ".png", ".svg", ".txt", ".jinja", ".model",
    ".csv", ".sig", ".toml", ".html", ".parquet", ".yaml",
}  # fmt: skip


def check_release(folder: Path, release: Release, base: Base | None) -> None:
    """Check every file of a release that was put together in `folder`.

    Args:
        base: its base, if it is prepared here.

    Raises:
        ImportRefused: naming the file and the reason.
    """
    for path in sorted(release.files):
        check_names(list(PurePosixPath(path).parts))
        if PurePosixPath(path).suffix.lower() not in _SUFFIXES:
            raise ImportRefused(path, "a release has no such kind of file")
        if path.endswith(".safetensors"):
            check_finite(folder / path, read_header(folder / path), file=path)
    servable = release.servable
    if servable is not None and servable.form == "lora":
        _check_lora(folder / "servable", base)


def _check_lora(folder: Path, base: Base | None) -> None:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ImportRefused(f"servable/{name}", "it is missing")
        if (folder / name).stat().st_size > LIMITS[name]:
            raise ImportRefused(f"servable/{name}", f"more than {LIMITS[name]} bytes")
    config = parse_config((folder / CONFIG).read_bytes(), file=f"servable/{CONFIG}")
    header = read_header(folder / WEIGHTS)
    check_dtypes(header)
    if base is not None:
        match(header, config, read_modules(base.checkpoint), rename=False)
