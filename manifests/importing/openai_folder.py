"""A folder of what was exported from OpenAI: its JSON files, told apart by what they hold.

A file holds one object, a list of them, or several one after the other, as a loop over
`client.fine_tuning.jobs.list()` prints them. Nothing is passed over in silence: what is no job, no
file and no eval is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 1024 * 1024
_KINDS = {"fine_tuning.job": "jobs", "eval": "evals", "file": "files"}


@dataclass(slots=True)
class Exported:
    """What a folder has.

    Attributes:
        jobs: oldest first, each once.
        rows: files of rows, by what an id may be: their name with and without its ending, and the
            id that a file object gives to a file name.
        unread: (file, why) of what says nothing here.
    """

    jobs: list[dict[str, Any]] = field(default_factory=list)
    evals: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, Path] = field(default_factory=dict)
    unread: list[tuple[str, str]] = field(default_factory=list)


def read_folder(folder: Path) -> Exported:
    """Read it; files of rows are found and not opened."""
    found = Exported()
    names: list[Path] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".json":
            _read(path, folder, found)
        elif path.suffix == ".jsonl" or path.name.startswith("file-"):
            names.append(path)
        else:
            found.unread.append((path.relative_to(folder).as_posix(), "it is no .json or .jsonl"))
    for path in names:
        found.rows.setdefault(path.stem, path)
        found.rows.setdefault(path.name, path)
    for entry in found.files:
        here = found.rows.get(str(entry.get("filename")))
        if here is not None and isinstance(entry.get("id"), str):
            found.rows.setdefault(entry["id"], here)
    once = {str(job.get("id")): job for job in found.jobs}
    found.jobs = sorted(once.values(), key=lambda job: (_created(job), str(job.get("id"))))
    return found


def _created(job: Mapping[str, Any]) -> int:
    created = job.get("created_at")
    return created if isinstance(created, int) else 0


def _read(path: Path, folder: Path, found: Exported) -> None:
    name = path.relative_to(folder).as_posix()
    if path.stat().st_size > MOST_BYTES:
        found.unread.append((name, "it is larger than 64 MiB"))
        return
    try:
        values = list(_values(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError:
        found.unread.append((name, "it is not UTF-8"))
        return
    except (ValueError, RecursionError):
        found.unread.append((name, "it is not JSON"))
        return
    known = False
    for value in values:
        kind = _KINDS.get(str(value.get("object"))) if isinstance(value, dict) else None
        if kind is not None:
            known = True
            getattr(found, kind).append(value)
        else:
            what = str(value.get("object"))[:40] if isinstance(value, dict) else "no object"
            found.unread.append((name, f"`{what}` is no job, file or eval"))
    if not values and not known:
        found.unread.append((name, "it is empty"))


def _values(text: str) -> Iterator[Any]:
    """The objects of a file, those of lists one by one."""
    decoder, place = json.JSONDecoder(parse_constant=_no_number), 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        value, place = decoder.raw_decode(text, place)
        json.dumps(value, ensure_ascii=False).encode()  # what has half a character is no text
        if isinstance(value, dict) and value.get("object") == "list":
            value = value.get("data")
        yield from value if isinstance(value, list) else (value,)


def _no_number(name: str) -> None:
    raise ValueError(f"`{name}` is no number of JSON")
