"""LLaMA-Factory's data sets: `dataset_info.json` as sources, formats and columns."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from adapterworks.manifests.importing.common import Source
from adapterworks.manifests.importing.conversion import Draft, names
from adapterworks.manifests.importing.llama_factory_pairs import STAGE

# Keys of an entry, and of its columns (llamafactory 0.9.5, `data/parser.py`).
_OF_A_SET = {
    "hf_hub_url", "file_name", "formatting", "ranking", "subset", "split", "folder", "num_samples",
    "revision", "columns", "tags",
    "ms_hub_url", "om_hub_url",  # other hubs, which are asked only where they are chosen
}  # fmt: skip
_COLUMNS = {
    "prompt", "query", "response", "history", "messages", "system", "tools", "chosen", "rejected",
    "images", "videos", "audios", "kto_tag",
}  # fmt: skip
# What turns may be called: what the formats `sharegpt` and `messages` read as the same.
_TAGS = {
    "role_tag": ("from", "role"),
    "content_tag": ("value", "content"),
    "user_tag": ("human", "user"),
    "assistant_tag": ("gpt", "assistant"),
    "observation_tag": ("observation", "tool"),
    "function_tag": ("function_call",),
    "system_tag": ("system",),
}


def datasets(draft: Draft, key: str, folder: Path) -> list[Source]:
    """The sources of a key, by `dataset_info.json`."""
    if draft.get(key) is None:
        if key == "dataset":
            draft.refuse(key, "no data set is named")
        return []
    try:
        wanted = names(draft.get(key))
    except ValueError as error:
        draft.refuse(key, str(error))
        return []
    listing = _listing(str(draft.get("dataset_dir", "data")), folder)
    try:
        table: dict[str, Any] = dict(json.loads(listing.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        draft.refuse(
            key,
            f"there is no `{listing}`, which says what its data sets are, nor in a folder above: "
            "`dataset_dir` is relative to where LLaMA-Factory is started",
        )
        return []
    found = []
    for name in wanted:
        entry: Any = table.get(name)
        reason = _objection(entry, pairs=draft.get("stage") == STAGE)
        if reason:
            draft.refuse(key, f"`{name}` {reason}")
            continue
        found.append(_source(entry, listing.parent, folder, _limit(draft, entry)))
    return found


def _objection(entry: Any, *, pairs: bool) -> str:
    if not isinstance(entry, dict):
        return "is not in dataset_info.json"
    for part, known in ((entry, _OF_A_SET), (_table(entry, "columns"), _COLUMNS)):
        unknown = sorted(key for key in part if key not in known and part[key] is not None)
        if unknown:
            return f"has `{unknown[0]}`, which is not imported"
    if entry.get("ranking") and not pairs:
        return "has pairs of answers, which a supervised training does not take"
    if pairs and not entry.get("ranking"):
        return "has one answer to a question (no `ranking`), and `dpo` learns from two"
    if entry.get("folder"):
        return "is a folder of a repository, of which only whole configurations are read"
    if entry.get("hf_hub_url") is None and (entry.get("split") or "train") != "train":
        return f"has the split `{entry['split']}`, and a file is read whole"
    parts = [str(entry[key]) for key in ("subset", "split") if entry.get(key) is not None]
    if strange := [part for part in parts if re.fullmatch(r"[\w.-]+", part) is None]:
        return f"takes `{strange[0]}`, and splits are read whole"
    columns = _table(entry, "columns")
    alpaca = entry.get("formatting", "alpaca") == "alpaca"
    others = ["images", "videos", "audios", "kto_tag"]
    others += ["tools"] if alpaca and not pairs else []
    if found := [name for name in others if columns.get(name)]:
        return f"has a column of {found[0]}"
    if entry.get("file_name") is None and entry.get("hf_hub_url") is None:
        return "is neither a file nor a repository of the Hub"
    if entry.get("formatting", "alpaca") not in ("alpaca", "sharegpt", "openai"):
        return f"has the formatting `{entry['formatting']}`"
    return _strange_tags(_table(entry, "tags"))


def _strange_tags(tags: dict[str, Any]) -> str:
    """Why turns are not those of our formats, if they are not."""
    for tag, name in tags.items():
        if tag not in _TAGS:
            return f"has the tag `{tag}`, which is not imported"
        if name not in (None, *_TAGS[tag]):
            return f"has turns whose {tag} is `{name}`; known: {', '.join(_TAGS[tag])}"
    if (tags.get("role_tag") or "from") + (tags.get("content_tag") or "value") not in (
        "fromvalue",
        "rolecontent",
    ):
        return "has turns of neither `from` and `value` nor `role` and `content`"
    return ""


def _table(entry: dict[str, Any], key: str) -> dict[str, Any]:
    """A table of an entry; empty where there is none."""
    return entry.get(key) or {}


def _listing(named: str, folder: Path) -> Path:
    """`dataset_info.json` beside the configuration, or the nearest above it, from where the program
    may have been started; that beside it where there is none."""
    places = [place / named / "dataset_info.json" for place in (folder, *folder.parents)]
    return next((place for place in places if place.is_file()), places[0])


def _source(entry: dict[str, Any], place: Path, folder: Path, limit: int | None) -> Source:
    columns = _table(entry, "columns")
    if entry.get("hf_hub_url") is not None:  # wins over a file that is named too
        part = entry.get("split") or "train"
        part = f"{entry['subset']}:{part}" if entry.get("subset") else part
        source = f"hub:{entry['hf_hub_url']}@{entry.get('revision') or 'main'}#{part}"
    else:
        file = place / entry["file_name"]  # what is relative is so to the configuration's folder
        source = str(file) if file.is_absolute() else os.path.relpath(file, folder)
    if entry.get("ranking"):
        return _pairs(entry, source, limit)
    if entry.get("formatting", "alpaca") == "alpaca":
        ours = {"instruction": "prompt", "input": "query", "output": "response",
                "system": "system", "history": "history"}  # fmt: skip
        return Source(source, "instruction", _renamed(ours, columns), limit)
    tags = _table(entry, "tags")
    openai = entry["formatting"] == "openai" or (
        tags.get("role_tag") == "role" and tags.get("content_tag") == "content"
    )
    ours = {"messages" if openai else "conversations": "messages", "system": "system",
            "tools": "tools"}  # fmt: skip
    columns = {"messages": "conversations", **columns}
    form = "messages" if openai else "sharegpt"
    return Source(source, form, _renamed(ours, columns), limit)


def _pairs(entry: dict[str, Any], source: str, limit: int | None) -> Source:
    """Rows with `chosen` and `rejected`, in both of its spellings."""
    columns = _table(entry, "columns")
    ours = {name: name for name in ("chosen", "rejected", "system", "tools")}
    if entry.get("formatting", "alpaca") == "alpaca":
        ours |= {"instruction": "prompt", "input": "query", "history": "history"}
    else:
        ours |= {"conversations": "messages"}
    return Source(source, "ranking", _renamed(ours, columns), limit)


def _renamed(ours: dict[str, str], columns: dict[str, str]) -> dict[str, str]:
    """Our columns that have other names in the source."""
    return {
        name: columns[theirs]
        for name, theirs in ours.items()
        if columns.get(theirs) not in (None, name)
    }


def _limit(draft: Draft, entry: dict[str, Any]) -> int | None:
    """`max_samples` is of each set, and `num_samples` of one."""
    limits = [draft.get("max_samples"), entry.get("num_samples")]
    return min((limit for limit in limits if isinstance(limit, int)), default=None)
