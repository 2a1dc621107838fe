"""What of a release tells of its owner: rows, the files they came from, the machine it is from.

    predictions, rows, samples   texts of rows, always
    fingerprint.json             token ids of probes from rows, unless these are of built-in recipes
    adapter.lock                 what the build's local files were: their digests, counts, dates

Invariant: such a file leaves only when somebody names it (`[publish] include`, `--include`); its
digest is in the record, so the release verifies without it. A record that names a path of a machine
cannot be mended and is not pushed at all unless it is named too.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

from adapterworks.manifests.builtin import BUILTIN
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.sources import FileSource, RecipeSource, parse_source
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.roles import PROOF, is_private, role_of

_LOCK = "lock"
_PATH = re.compile(r"(?:file:)?(?:~/\S|/[^\s/]+/\S|/\S+\.\w{1,8}$|[A-Za-z]:\\\S)")


def private_files(release: Release, read: Callable[[str], bytes | None]) -> set[str]:
    """The files that leave only when they are named.

    Args:
        read: a file's bytes; None if they are not to be had, as is right.
    """
    sources = list(_sources(release))
    found = {path for path in release.files if is_private(path)}
    for path in release.files:
        role = role_of(path)
        if role == _LOCK and any(isinstance(source, FileSource) for source in sources):
            found.add(path)
        public = bool(sources) and all(map(_is_public, sources))
        if role == PROOF and not public and _has_rows(read, path):
            found.add(path)
    return found


def local_text(release: Release) -> str | None:
    """A text of the record that tells of a machine: a path, or the name of this host."""
    host = socket.gethostname()
    # A plain word may stand anywhere; `ward7-gpu2` is no accident.
    named = re.compile(rf"\b{re.escape(host)}\b") if re.search(r"[-.\d]", host) else None
    for text in _texts(release.to_json()):
        if _PATH.match(text) or (named is not None and named.search(text)):
            return text
    return None


def _sources(release: Release) -> Iterator[RecipeSource | FileSource | object]:
    """Where the rows came from, as the manifest declares it."""
    data = release.declared("data")
    tables = [table for table in _list(data.get("mix")) if isinstance(table, dict)]
    replay = data.get("replay")
    tables += [replay] if isinstance(replay, dict) else []
    named = [data.get(split) for split in ("train", "validation", "test")]
    for text in [*named, *(table.get("source") for table in tables)]:
        if isinstance(text, str):
            try:
                yield parse_source(text)
            except InvalidInput:  # of another version: nobody knows whose rows they are
                yield FileSource(text)


def _is_public(source: object) -> bool:
    return isinstance(source, RecipeSource) and source.name in BUILTIN["recipes"]


def _has_rows(read: Callable[[str], bytes | None], path: str) -> bool:
    """Whether a fingerprint has other probes than the general ones, as far as one can tell."""
    data = read(path)
    if data is None:
        return False
    try:
        table = json.loads(data)
        return any(probe["kind"] != "general" for probe in table.get("probes", []))
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return True


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> Iterator[str]:
    """The texts in nested JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
