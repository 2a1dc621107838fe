"""Files of releases that say what a row says: predictions of test rows, samples of training rows,
probes of a fingerprint.

A file says it if one of its texts is the row's own: of a conversation the turn that is answered, of
a document all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adapterworks.builders.data.rows import Row
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.roles import PROOF, is_private, role_of
from adapterworks.registry.releases.types import Resolved


@dataclass(frozen=True, slots=True)
class Repeating:
    """A file of a release that says what a row says.

    Attributes:
        goes: whether it can be erased while the release is live; a fingerprint goes with it alone.
    """

    release: Resolved
    path: str
    blob: str
    goes: bool


def repeating(
    registry: Registry, releases: Iterable[Resolved], rows: Sequence[Row]
) -> Iterator[Repeating]:
    """The files of releases that are here and say what one of the rows says."""
    texts = {text for row in rows if (text := _text(row))}
    for release in releases:
        for path, entry in registry.release(release.digest).files.items():
            proof = role_of(path) == PROOF
            if not proof and not is_private(path):
                continue
            data = registry.read_if_here(release.digest, path)
            if data is not None and _says(data, texts):
                yield Repeating(release, path, entry.digest, goes=not proof)


def _text(row: Row) -> str:
    if row.text is not None:
        return row.text
    return row.prompt[-1]["content"] if row.prompt else row.answer


def _says(data: bytes, texts: set[str]) -> bool:
    """Whether a file of JSON, or of lines of it, has one of the texts."""
    try:
        values = [json.loads(data)]
    except ValueError:
        values = []
        for line in data.split(b"\n"):
            try:
                values.append(json.loads(line))
            except ValueError:  # blank, or somebody else's
                continue
    return any(text in texts for value in values for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
