"""`icd-10-cm-excludes1`: a clinical term, its ICD-10-CM category, and one that is ruled out.

An Excludes1 note says under one code that a term is never coded there, and where it is coded
instead: "monoplegia … (I69.14-)" under I69.16. So the classification itself says which of two near
answers is right. Terms whose two codes share a category are left out, as are notes that name no
code, or several.

Invariant: all pairs of one term share a split. No validation or test term is near one of train, nor
near one of the training terms of `icd-10-cm`, so that an adapter trained on those has not seen it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from adapterworks.builders.data.recipes import icd_10_cm
from adapterworks.builders.data.recipes.recipe import (
    SPLITS,
    Derived,
    NearIndex,
    Recipe,
    hash_split,
)
from adapterworks.builders.data.rows import Row, chat
from adapterworks.manifests.digests import digest_file

TEST, VALIDATION = 15, 8  # per cent of terms
# One code at the end, with or without parentheses; `-` stands for any further digits.
_NOTE = re.compile(r"(?P<term>.+?)\s*\(?\b(?P<code>[A-Z][0-9][0-9A-Z])(\.[0-9A-Z]{0,4})?\.?-?\)?")


def derive(cache: Path | None = None) -> Derived:
    """The recipe's rows; takes a few seconds, so nothing is cached."""
    source, origin = icd_10_cm.tabular_list()
    descriptions = icd_10_cm.categories(source)
    notes = list(_notes(source))
    right: dict[str, set[str]] = defaultdict(set)
    ruled_out: dict[str, dict[str, str]] = defaultdict(dict)  # key → wrong category → its code
    shown: dict[str, str] = {}
    for under, term, category in notes:
        key = icd_10_cm.normalise(term)
        if key and category in descriptions and under[:3] in descriptions:
            right[key].add(category)
            shown.setdefault(key, term)
            if under[:3] != category:
                ruled_out[key].setdefault(under[:3], under)
    splits: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for key, wrong in ruled_out.items():
        if len(right[key]) > 1:
            continue
        (category,) = right[key]
        split = hash_split(key, test=TEST, validation=VALIDATION)
        splits[split] += [
            _row(shown[key], category, other, code, descriptions) for other, code in wrong.items()
        ]
    known = icd_10_cm.derive(cache).splits["train"]
    seen = [*splits["train"], *known]
    index = NearIndex(row.meta["term"] for row in seen)
    # A short term with and without NOS is the same, though no token set is near.
    same = {icd_10_cm.normalise(row.meta["term"]) for row in seen}
    kept = {
        split: tuple(
            row
            for row in rows
            if split == "train"
            or not (
                icd_10_cm.normalise(row.meta["term"]) in same or index.has_near(row.meta["term"])
            )
        )
        for split, rows in splits.items()
    }
    return Derived(
        kept,
        origin,
        {source.name: digest_file(source)},
        {
            "notes_with_one_code": len(notes),
            "terms": len(ruled_out),
            "two_categories": sum(len(right[key]) > 1 for key in ruled_out),
            "near": sum(len(splits[s]) - len(kept[s]) for s in SPLITS),
        },
    )


def _notes(source: Path) -> Iterator[tuple[str, str, str]]:
    """(code that the note stands under, term, category that it belongs to), in document order."""
    # The file is part of an installed, pinned package, not input from outside.
    for diagnosis in ElementTree.parse(source).iter("diag"):  # noqa: S314
        under = diagnosis.findtext("name", "")
        for note in diagnosis.findall("excludes1/note"):
            found = _NOTE.fullmatch(" ".join((note.text or "").split()))
            if found is not None and not re.search(r"\([^)]*[0-9]", found["term"]):
                yield under, found["term"].rstrip(" ,("), found["code"]


def _row(term: str, category: str, wrong: str, code: str, descriptions: dict[str, str]) -> Row:
    row = chat(
        icd_10_cm.QUESTION.format(term=term),
        f"{category} {descriptions[category]}",
        term=term,
        category=category,
        label=category,
        ruled_out=code,
    )
    rejected = f"{wrong} {descriptions[wrong]}"
    return Row(row.messages, row.meta, others=(({"role": "assistant", "content": rejected},),))


RECIPE = Recipe(
    name="icd-10-cm-excludes1",
    description="Clinical term → its ICD-10-CM category, before one that an Excludes1 note rules "
    "out (FY 2026)",
    license="ICD-10-CM: US public domain (CDC/NCHS); package: MIT",
    derive=derive,
)
