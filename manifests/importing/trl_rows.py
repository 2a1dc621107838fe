"""Where TRL's rows come from: `dataset_name`, or `datasets`, a list of them.

TRL tells a format by its columns. Those of a file that is there are read; of the Hub nothing is.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

from adapterworks.manifests.cells import parted
from adapterworks.manifests.importing.common import Source
from adapterworks.manifests.importing.conversion import Draft
from adapterworks.manifests.importing.trl_objectives import Trainer

_OF_A_SET = ("path", "name", "split", "data_files", "columns", "fraction", "data_dir", "revision")
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")  # `org/rows-v1.5` has no suffix of a file
_FILES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".gz", ".zst", ".xlsx")
_ROW = 1 << 20  # as much of a file as is looked at, in bytes


def find_sets(draft: Draft, folder: Path, trainer: Trainer) -> list[Source]:
    """The training rows' sources; what cannot be taken is refused in the draft."""
    listed = draft.get("datasets")
    if listed is None:
        name = draft.get("dataset_name")
        if not isinstance(name, str) or not name:
            draft.refuse("dataset_name", "no data set is named")
            return []
        listed = [
            {
                "path": name,
                "name": draft.get("dataset_config"),
                "split": draft.get("dataset_train_split", "train"),
            }
        ]
        key = "dataset_name"
    else:
        key = "datasets"
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        draft.refuse(key, "it is no list of data sets")
        return []
    found = []
    for entry in listed:
        reason = _objection(entry)
        if reason:
            draft.refuse(key, f"`{entry.get('path')}` {reason}")
        elif entry.get("data_files") and not (folder / entry["data_files"]).is_file():
            why = "is not here: name a configuration of the repository, or fetch the file"
            draft.refuse(key, f"`{entry['data_files']}` of `{entry['path']}` {why}")
        elif not entry.get("data_files") and (folder / entry["path"]).is_dir():
            why = "is a folder here: name its files in `data_files`, one a data set"
            draft.refuse(key, f"`{entry['path']}` {why}")
        else:
            found.append(_source(draft, key, entry, folder, trainer))
    return found


def put_validation(draft: Draft) -> bool:
    """The rows that a training is checked on, where TRL was to be checked at all."""
    if draft.get("eval_strategy", "no") in ("no", False):
        return False
    source = draft.manifest.get("data", {}).get("train", "")
    if draft.get("datasets") is not None or not str(source).startswith("hub:"):
        return False
    split = str(draft.get("dataset_test_split", "test"))
    place, _, part = str(source).partition("#")
    of = part.rpartition(":")[0]
    draft.map("dataset_test_split", "data.validation",
              f"{place}#{of}:{split}" if of else f"{place}#{split}")  # fmt: skip
    return True


def _objection(entry: dict[str, Any]) -> str:
    if not isinstance(entry.get("path"), str):
        return "names no path"
    unknown = sorted(key for key in entry if key not in _OF_A_SET and entry[key] is not None)
    if unknown:
        return f"has `{unknown[0]}`, which is not imported"
    if entry.get("fraction") is not None:
        return "has a `fraction`: write a `weight` of `data.mix`"
    if entry.get("data_dir") is not None:
        return "names a folder of a repository: name its configuration"
    files = entry.get("data_files")
    if files is not None and not isinstance(files, str):
        return "has several files: name each as a data set"
    return ""


def _source(
    draft: Draft, key: str, entry: dict[str, Any], folder: Path, trainer: Trainer
) -> Source:
    path = str(entry.get("data_files") or entry["path"])
    place = folder / path
    if place.is_file():
        form, columns = _shape(place, trainer, str(draft.get("dataset_text_field", "text")))
        return Source(path, form, columns)
    if _REPOSITORY.fullmatch(path) and Path(path).suffix.lower() not in _FILES:
        split = str(entry.get("split") or "train")
        part = f"{entry['name']}:{split}" if entry.get("name") else split
        path = f"hub:{path}@{entry.get('revision') or 'main'}#{part}"
    why = f"its rows are taken to be `{trainer.rows}`: they are not there to be looked at"
    draft.note(key, "differs", "data.format", why=why)
    return Source(path, trainer.rows, {})


def _shape(place: Path, trainer: Trainer, text: str) -> tuple[str, dict[str, str]]:
    """Format and columns by the names of the first row's."""
    found = _columns(place)
    if trainer.compares:
        return trainer.rows, {}
    if {"prompt", "completion"} <= found:
        return "prompt-completion", {}
    if "messages" not in found and text in found:
        return "text", {} if text == "text" else {"text": text}
    return "messages", {}


def _columns(place: Path) -> set[str]:
    try:
        with place.open(encoding="utf-8-sig") as file:
            head = file.read(_ROW)
    except (OSError, ValueError):
        return set()  # `adapters validate` says what is wrong with it
    try:
        suffix = place.suffix.lower()
        if suffix in (".csv", ".tsv"):
            how = parted(suffix, head)
            rows = csv.reader(head[how.begins :].splitlines(), delimiter=how.marks[0])
            return set(next(rows, ()))
        row = json.loads(head)[0] if suffix == ".json" else json.loads(head.partition("\n")[0])
    except (ValueError, LookupError, TypeError, csv.Error):
        return set()
    return set(row) if isinstance(row, dict) else set()
