"""Parquet and Arrow files (IPC files and streams, as `datasets` caches are)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapterworks.builders.data.sources.record import Record
from adapterworks.manifests.errors import InvalidInput

_BATCH = 10_000


def read_parquet(data: bytes | Path, name: str) -> Iterator[Record]:
    """A Parquet file, batch by batch; of one that is named no more is in memory."""
    import pyarrow
    from pyarrow import parquet

    try:
        given = str(data) if isinstance(data, Path) else pyarrow.BufferReader(data)
        file = parquet.ParquetFile(given)
        yield from _records(file.schema_arrow.names, file.iter_batches(_BATCH), name)
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidInput(f"`{name}` is not a Parquet file: {error}") from error


def read_arrow(data: bytes, name: str) -> Iterator[Record]:
    """An Arrow file or stream, batch by batch."""
    import pyarrow

    buffer = pyarrow.BufferReader(data)
    try:
        try:
            file = pyarrow.ipc.open_file(buffer)
            batches = (file.get_batch(index) for index in range(file.num_record_batches))
            names = file.schema.names
        except pyarrow.ArrowInvalid:
            buffer.seek(0)
            stream = pyarrow.ipc.open_stream(buffer)
            batches, names = iter(stream), stream.schema.names
        yield from _records(names, batches, name)
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidInput(f"`{name}` is not an Arrow file: {error}") from error


def _records(names: list[str], batches: Iterator[Any], file: str) -> Iterator[Record]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(
            f"`{file}` has the column `{twice}` more than once",
            hint="give each column a name of its own",
        )
    number = 0
    for batch in batches:
        for columns in batch.to_pylist():
            number += 1
            yield Record(number, columns)
