"""Records from files and Hub data sets, with the digest of every byte that was read.

Invariant: a record is a mapping of column names to values, numbered from 1 in its source (for text
files, by line); nothing is skipped, and what cannot be read is an error that names file and line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.manifests.digests import digest_bytes, digest_file
from adapterworks.manifests.errors import InvalidInput, NotFound, Unavailable
from adapterworks.manifests.sources import HubSource


@dataclass(frozen=True)
class Record:
    """One record: its columns and its 1-based number (line, where the source is a text file)."""

    number: int
    columns: dict[str, Any]


@dataclass(frozen=True)
class Records:
    """What a source held: records, origin, licence and file digests."""

    records: tuple[Record, ...]
    origin: str
    license: str
    files: dict[str, str]


def read_file(path: Path) -> Records:
    """The records of a `.jsonl`, `.parquet` or `.csv` file (UTF-8).

    Raises:
        NotFound: there is no such file.
        InvalidInput: a line is not a record; the message names file and line.
    """
    if not path.is_file():
        raise NotFound(
            f"data file `{path}` does not exist",
            hint="in a manifest, paths are relative to its folder",
        )
    readers = {".jsonl": _read_jsonl, ".parquet": _read_parquet, ".csv": _read_csv}
    reader = readers.get(path.suffix)
    if reader is None:
        raise InvalidInput(
            f"data file `{path}` has an unknown suffix", hint=f"use one of {', '.join(readers)}"
        )
    records = tuple(reader(path))
    return Records(records, path.name, "unknown", {path.name: digest_file(path)})


def _decode(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(
            f"`{path}` line {line}: not UTF-8 (byte {error.start})",
            hint=f"convert it, e.g. `iconv -f GB18030 -t UTF-8 {path.name}`",
        ) from error


def _read_jsonl(path: Path) -> Iterator[Record]:
    # Only \n ends a JSON line: str.splitlines would cut at U+2028 inside a string.
    for number, line in enumerate(_decode(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_object)
        except json.JSONDecodeError as error:
            raise InvalidInput(
                f"`{path}` line {number}, column {error.colno}: not JSON ({error.msg})",
                hint="write one JSON object a line",
            ) from error
        except (ValueError, RecursionError) as error:  # a key twice, endless digits, endless depth
            raise InvalidInput(
                f"`{path}` line {number}: cannot be read ({error})",
                hint="write one JSON object a line",
            ) from error
        if not isinstance(value, dict):
            raise InvalidInput(
                f"`{path}` line {number}: a JSON {type(value).__name__}, not an object",
                hint="write one JSON object a line",
            )
        yield Record(number, value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key `{twice}` more than once")
    return table


def _read_csv(path: Path) -> Iterator[Record]:
    lines = csv.reader(_decode(path).splitlines(keepends=True), strict=True)
    header: list[str] | None = None
    start = 1
    try:
        for cells in lines:
            number, start = start, lines.line_num + 1
            if header is None:
                header = cells
                twice = next((cell for cell in cells if cells.count(cell) > 1), None)
                if twice is not None:
                    raise InvalidInput(
                        f"`{path}` line {number}: the header has `{twice}` more than once",
                        hint="give each column a name of its own",
                    )
            elif not cells:
                continue
            elif len(cells) != len(header):
                raise InvalidInput(
                    f"`{path}` line {number}: {len(cells)} cells, the header has {len(header)}",
                    hint="quote cells that contain commas or line breaks",
                )
            else:
                yield Record(number, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise InvalidInput(
            f"`{path}` line {start}: {error}",
            hint="quote cells that contain commas, quotes or line breaks",
        ) from error


def _read_parquet(path: Path) -> Iterator[Record]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InvalidInput(f"`{path}` is not a Parquet file: {error}") from error
    for number, columns in enumerate(table.to_pylist(), 1):
        yield Record(number, columns)


def read_hub(source: HubSource) -> Records:
    """The records of one split (`train` if none is named) of a Hub data set, at its revision.

    Raises:
        InvalidInput: the data set has no such split.
        Unavailable: the Hub cannot be reached and the data set is not cached.
    """
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        data = datasets.load_dataset(
            source.repo, revision=source.revision, split=source.split or "train"
        )
    except ValueError as error:
        raise InvalidInput(f"`{source}` cannot be read: {error}") from error
    except (ConnectionError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise Unavailable(
            f"data set `{source.repo}` cannot be fetched: {error}",
            hint="check the network, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`",
        ) from error
    records = tuple(Record(number, dict(columns)) for number, columns in enumerate(data, 1))
    content = "\n".join(
        json.dumps(r.columns, sort_keys=True, ensure_ascii=False, default=str) for r in records
    )
    license_name = data.info.license or "unknown"
    return Records(
        records, str(source), license_name, {str(source): digest_bytes(content.encode())}
    )
