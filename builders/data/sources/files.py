"""Records of local files: one, all of a folder, or those of a pattern.

Invariant: the files of a folder or pattern are read in the order of their names, and each has its
digest; a file that is no data file is a fault in a pattern, and in a folder too unless it is hidden
or of a kind that never holds rows (`_NO_ROWS`): half of the rows are not left out in silence.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from glob import has_magic
from pathlib import Path
from typing import Literal

from adapterworks.builders.data.sources.record import Record, Records
from adapterworks.builders.data.sources.streamed import streamed
from adapterworks.builders.data.sources.tables import read_arrow, read_parquet
from adapterworks.builders.data.sources.text import read_csv, read_json, read_jsonl, read_tsv
from adapterworks.builders.data.sources.workbook import read_xlsx
from adapterworks.manifests.digests import digest_bytes, digest_file, digest_json
from adapterworks.manifests.errors import InvalidInput, NotFound

_READERS: Mapping[str, Callable[[bytes, str], Iterator[Record]]] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".xlsx": read_xlsx,
}
_COMPRESSED = (".gz", ".zst")
_NO_ROWS = (".md", ".toml", ".yaml", ".yml", ".py", ".ipynb")  # manifests, settings, scripts


def read_file(path: Path) -> Records:
    """The records of a data file, of every data file in a folder, or of those of a pattern.

    Raises:
        NotFound: there is no such file.
        InvalidInput: a line is not a record; the message names file and line.
    """
    files = files_of(path)
    if files == [path] and not has_magic(str(path)):
        if (large := streamed(path)) is not None:
            return Records(large, path.name, "unknown", {path.name: large.digest})
        data = path.read_bytes()
        records = tuple(_read(path, data, str(path)))
        return Records(records, path.name, "unknown", {path.name: digest_bytes(data)})
    root = root_of(path)
    found: list[Record] = []
    digests: dict[str, str] = {}
    for file in files:
        name, data = file.relative_to(root).as_posix(), file.read_bytes()
        digests[name] = digest_bytes(data)
        found += [Record(r.number, r.columns, name) for r in _read(file, data, str(file))]
    return Records(tuple(found), path.name, "unknown", digests)


def files_of(path: Path) -> list[Path]:
    """The files that a path means, in order.

    Raises:
        NotFound: there is none.
        InvalidInput: one is no data file.
    """
    if path.is_file():
        _reader(path)
        return [path]
    if path.is_dir():
        files = [f for f in path.rglob("*") if f.is_file() and not _beside(f.relative_to(path))]
    elif has_magic(str(path)):
        root = root_of(path)
        files = [f for f in root.glob(str(path.relative_to(root))) if f.is_file()]
    else:
        raise NotFound(
            f"data file `{path}` does not exist",
            hint="in a manifest, paths are relative to its folder",
        )
    if not files:
        raise NotFound(f"there is no data file in `{path}`", hint="check the path")
    for file in files:
        _reader(file)
    return sorted(files)


def root_of(path: Path) -> Path:
    """The folder that a folder's or a pattern's files are named from."""
    if path.is_dir():
        return path
    fixed = [*path.parts]
    while fixed and has_magic(str(Path(*fixed))):
        fixed.pop()
    return Path(*fixed)


def path_digest(path: Path) -> str:
    """The digest of what a path means now, as `files_digest` gives it of what was read."""
    files = files_of(path)
    if files == [path]:
        return digest_file(path)
    root = root_of(path)
    table = {f.relative_to(root).as_posix(): digest_file(f) for f in files}
    return files_digest(table, "folder" if path.is_dir() else "pattern")


def files_digest(files: Mapping[str, str], kind: Literal["file", "folder", "pattern"]) -> str:
    """One digest for the files of a source: a file's own, or that of the table of all."""
    return next(iter(files.values())) if kind == "file" else digest_json({kind: dict(files)})


def _beside(path: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in path.parts)
    return hidden or path.suffix.lower() in _NO_ROWS


def _reader(path: Path) -> Callable[[bytes, str], Iterator[Record]]:
    suffix = path.suffix.lower()
    if suffix in _COMPRESSED:
        suffix = path.with_suffix("").suffix.lower()
    if suffix not in _READERS:
        raise InvalidInput(
            f"data file `{path}` has an unknown suffix",
            hint=f"use one of {', '.join(_READERS)}, compressed as .gz or .zst if you like",
        )
    return _READERS[suffix]


def _read(path: Path, data: bytes, name: str) -> Iterator[Record]:
    return _reader(path)(_unpacked(data, path), name)


def _unpacked(data: bytes, path: Path) -> bytes:
    try:
        if path.suffix.lower() == ".gz":
            return gzip.decompress(data)
        if path.suffix.lower() == ".zst":
            import pyarrow

            with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd") as stream:
                return bytes(stream.read())
    except (OSError, EOFError, zlib.error) as error:  # pyarrow's errors of files are OSErrors
        raise InvalidInput(
            f"`{path}` cannot be unpacked: {error}", hint="it may have been cut off"
        ) from error
    return data
