"""The corpus of other programs' configurations, and what becomes of each; bench/import_corpus.py
prints it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from adapterworks.manifests.importing import PROGRAMS
from adapterworks.manifests.importing.conversion import Conversion

# The data sets that LLaMA-Factory's configurations name.
INFO: dict[str, Any] = {
    "own": {"file_name": "own.jsonl"},
    "talks": {"file_name": "talks.jsonl", "formatting": "sharegpt"},
    "renamed": {"file_name": "r.jsonl", "columns": {"prompt": "question", "response": "answer"}},
    "hub": {"hf_hub_url": "org/rows", "split": "train_sft"},
    "part": {"hf_hub_url": "org/rows", "subset": "socratic"},
    "folded": {"hf_hub_url": "org/rows", "folder": "cn"},
    "pairs": {
        "file_name": "pairs.jsonl",
        "ranking": True,
        "columns": {"prompt": "instruction", "query": "input", "chosen": "chosen",
                    "rejected": "rejected"},
    },
    "talked": {
        "file_name": "talked.jsonl",
        "ranking": True,
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    },
    "thumbs": {"file_name": "t.jsonl", "columns": {"kto_tag": "label"}},
    "pictures": {"file_name": "p.jsonl", "columns": {"images": "images"}},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One configuration; `becomes` is what is said of the manifest without the refused keys."""

    name: str
    program: str
    config: dict[str, Any]
    refused: list[str]
    becomes: dict[str, Any] = field(default_factory=dict)

    def convert(self, folder: Path, *, without: bool = False) -> Conversion:
        """What becomes of it; `without` the keys that are refused."""
        kept = {k: v for k, v in self.config.items() if not (without and k in self.refused)}
        return PROGRAMS[self.program](kept, folder, "own")


def cases() -> list[Case]:
    """All of them."""
    text = Path(__file__).with_name("corpus.yaml").read_text("utf-8")
    return [Case(**document) for document in yaml.safe_load_all(text)]


def make_folder(place: Path) -> Path:
    """The folder that they stand in."""
    (place / "data").mkdir(parents=True)
    (place / "data" / "dataset_info.json").write_text(json.dumps(INFO))
    return place
