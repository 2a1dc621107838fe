"""LLaMA-Factory's data sets: `dataset_info.json` as sources, formats and columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapterworks.manifests.importing.common import Source
from adapterworks.manifests.importing.conversion import Draft, names
from adapterworks.manifests.importing.llama_factory_pairs import STAGE


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
    listing = folder / str(draft.get("dataset_dir", "data")) / "dataset_info.json"
    try:
        table = json.loads(listing.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        draft.refuse(key, f"there is no `{listing}`, which says what its data sets are")
        return []
    found = []
    for name in wanted:
        entry = table.get(name)
        reason = _objection(entry, pairs=draft.get("stage") == STAGE)
        if reason:
            draft.refuse(key, f"`{name}` {reason}")
            continue
        found.append(_source(entry, listing.parent, _limit(draft, entry)))
    return found


def _objection(entry: Any, *, pairs: bool) -> str:
    if not isinstance(entry, dict):
        return "is not in dataset_info.json"
    if entry.get("ranking") and not pairs:
        return "has pairs of answers, which a supervised training does not take"
    if pairs and not entry.get("ranking"):
        return "has one answer to a question (no `ranking`), and `dpo` learns from two"
    columns = entry.get("columns", {})
    media = [name for name in ("images", "videos", "audios", "kto_tag") if columns.get(name)]
    if media:
        return f"has a column of {media[0]}"
    if "file_name" not in entry and "hf_hub_url" not in entry:
        return "is neither a file nor a repository of the Hub"
    if entry.get("formatting", "alpaca") not in ("alpaca", "sharegpt", "openai"):
        return f"has the formatting `{entry['formatting']}`"
    return ""


def _source(entry: dict[str, Any], folder: Path, limit: int | None) -> Source:
    columns = entry.get("columns", {})
    if "file_name" in entry:
        source = str(folder / entry["file_name"])
    else:
        source = f"hub:{entry['hf_hub_url']}@main#{entry.get('split', 'train')}"
    if entry.get("ranking"):
        return _pairs(entry, source, limit)
    if entry.get("formatting", "alpaca") == "alpaca":
        ours = {"instruction": "prompt", "input": "query", "output": "response",
                "system": "system", "history": "history"}  # fmt: skip
        return Source(source, "instruction", _renamed(ours, columns), limit)
    tags = entry.get("tags", {})
    openai = entry["formatting"] == "openai" or (
        tags.get("role_tag") == "role" and tags.get("content_tag") == "content"
    )
    ours = {"messages" if openai else "conversations": "messages", "system": "system",
            "tools": "tools"}  # fmt: skip
    form = "messages" if openai else "sharegpt"
    return Source(source, form, _renamed(ours, columns), limit)


def _pairs(entry: dict[str, Any], source: str, limit: int | None) -> Source:
    """Rows with `chosen` and `rejected`, in both of its spellings."""
    columns = entry.get("columns", {})
    ours = {"chosen": "chosen", "rejected": "rejected", "system": "system"}
    if entry.get("formatting", "alpaca") == "alpaca":
        ours |= {"instruction": "prompt", "input": "query", "history": "history"}
    else:
        ours |= {"conversations": "messages", "tools": "tools"}
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
