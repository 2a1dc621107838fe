"""How much comparing two texts takes, known before they are compared.

ROUGE-L fills a table of words by words, so it is bounded by their product, wherever it is computed:
in a request, in a training, and of rows before there is a job.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from adapterworks.manifests.graders import Grader, TextSimilarity, leaves_of

# 4 million cells take about a second and 32 MB.
MOST_CELLS = 4_000_000
_SLOT = re.compile(r"\{\{\s*(?:sample\.output_text|item\.([A-Za-z0-9_]+))\s*\}\}")
_WORD = re.compile(r"[a-z0-9]+")


def cells(grader: Grader, answer: str | None, columns: Mapping[str, str]) -> int:
    """Pairs of words that a grader compares; 0 where it compares none.

    Args:
        answer: None stands for one that is as long as what it is compared with.
        columns: of the row, as texts; one that is not there has no words.
    """
    found = 0
    for leaf in leaves_of(grader).values():
        if isinstance(leaf, TextSimilarity) and leaf.evaluation_metric == "rouge_l":
            sizes = [_words(text, answer, columns) for text in (leaf.input, leaf.reference)]
            known = max(size for size, _ in sizes)
            one, other = (size + open * known for size, open in sizes)
            found += one * other
    return found


def _words(template: str, answer: str | None, columns: Mapping[str, str]) -> tuple[int, int]:
    """The words of a template once it is filled in, and how often an unknown answer is in it."""
    words, unknown = _count(_SLOT.sub(" ", template)), 0
    for slot in _SLOT.finditer(template):
        if slot[1] is not None:
            words += _count(columns.get(slot[1], ""))
        elif answer is not None:
            words += _count(answer)
        else:
            unknown += 1
    return words, unknown


def _count(text: str) -> int:
    return sum(1 for _ in _WORD.finditer(text.lower()))
