"""Where the files of a manifest are on this machine: a release names them and knows their digests.

Invariant: what is used in place of a recorded path has the digest that the release's lock records
for it. Each build here remembers where its files were (in the cache folder, which is never
published), so that a release that was built here finds them again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any

from adapterworks.builders.data.sources.files import files_digest, path_digest
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import last_part, place, told, with_paths

_PLACES = "places.json"


def remember(
    manifest: Manifest, sources: Sequence[Mapping[str, Any]], files: Mapping[str, str], cache: Path
) -> None:
    """Note where a manifest's files are, by the digests that were read.

    Args:
        manifest: resolved.
        sources: datasheets as JSON.
        files: manifest key → digest, as in a plan.
        cache: a folder of this machine's own.
    """
    digests = _digests(sources, files, manifest)
    found = {
        digests[told(path)]: str(place(path, manifest.folder))
        for path in _paths(manifest)
        if told(path) in digests
    }
    known = _read(cache)
    if found.items() <= known.items():
        return
    cache.mkdir(parents=True, exist_ok=True)
    temporary = cache / f".{_PLACES}.{os.getpid()}"
    temporary.write_text(json.dumps({**known, **found}, indent=1, sort_keys=True), encoding="utf-8")
    temporary.replace(cache / _PLACES)


def located(
    manifest: Manifest,
    lock: Mapping[str, Any],
    *,
    what: str,
    cache: Path,
    folder: Path | None = None,
) -> Manifest:
    """A release's manifest with the places of its files on this machine; the base stays as it is.

    Args:
        manifest: of the release.
        lock: its `adapter.lock`.
        what: the release, for messages.
        cache: where `remember` noted places.
        folder: where its relative paths begin, if somebody says so.

    Raises:
        NotFound: a file is neither there nor known here.
        IntegrityError: a file is there, but is not the one that the lock records.
    """
    data = lock.get("data", {})
    digests = _digests(data.get("sources", ()), data.get("files", {}), manifest)
    known = _read(cache)

    def find(path: str) -> str:
        wanted = digests.get(told(path))
        candidates = [place(path, folder), folder / last_part(path)] if folder else []
        if Path(path).is_absolute():  # a release from before paths were recorded as declared
            candidates.append(Path(path))
        if not folder and wanted in known:
            candidates.append(Path(known[wanted]))
        here = next((candidate for candidate in candidates if _is_there(candidate)), None)
        if here is None:
            raise NotFound(
                f"`{what}` was built from `{path}`, and where that is on this machine is not known",
                hint="name its folder with `--data-dir`, or other rows with `--manifest`",
            )
        if wanted is not None and (digest := _digest(here)) != wanted:
            raise IntegrityError(
                f"`{here.name}` is not the file that `{what}` was built from: it was "
                f"{wanted}, is {digest}",
                hint="name the folder of the right one with `--data-dir`",
            )
        return str(place(str(here), Path())) + ("/" if path.endswith("/") else "")

    placed = with_paths(manifest, find, base=False)
    return placed if folder is None else placed.placed_in(folder)


def _is_there(path: Path) -> bool:
    """Whether a path leads to a file, a folder of data or a pattern's files."""
    if path.is_file() or path.is_dir():
        return True
    return has_magic(path.name) and any(path.parent.glob(path.name))


def _digest(path: Path) -> str:
    """Of a file's bytes, or of all that a folder or pattern means."""
    return digest_file(path) if path.is_file() else path_digest(path)


def _digest_of(sheet: Mapping[str, Any]) -> str:
    """What `_digest` gives for the source of a datasheet."""
    source, files = sheet["source"], sheet["files"]
    if source.endswith("/"):
        return files_digest(files, "folder")
    return files_digest(files, "pattern" if has_magic(source) else "file")


def _paths(manifest: Manifest) -> list[str]:
    """Every path in the manifest but the base's."""
    found: list[str] = []

    def note(path: str) -> str:
        found.append(path)
        return path

    with_paths(manifest, note, base=False)
    return found


def _digests(
    sources: Sequence[Mapping[str, Any]], files: Mapping[str, str], manifest: Manifest
) -> dict[str, str]:
    """Path as it is told → digest of its bytes; recipes and Hub sources have no path."""
    named = {
        "train.accelerate_config": manifest.train.accelerate_config,
        "data.augment.lexicon": manifest.data.augment.lexicon,
    }
    return {told(sheet["source"]): _digest_of(sheet) for sheet in sources} | {
        told(path): files[key] for key, path in named.items() if path and key in files
    }


def _read(cache: Path) -> dict[str, str]:
    path = cache / _PLACES
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found
