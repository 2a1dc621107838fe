"""`icd-10-cm`: a clinical term → its 3-character ICD-10-CM category.

The terms are the classification's inclusion terms: synonyms written by people. Obstetrics (O),
injuries (S, T) and external causes and factors (V–Z) are left out: their terms repeat in many
categories. Invariant: all terms of one full code share a split, and no validation or test term has
a near-equal term in train.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree

from adapterworks.builders.data.recipes.recipe import (
    SPLITS,
    Derived,
    NearIndex,
    Recipe,
    hash_split,
    package_folder,
)
from adapterworks.builders.data.rows import Row, chat
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import NotFound

LEFT_OUT = frozenset("OSTVWXYZ")
LEAST_TERMS = 8
TEST, VALIDATION = 12, 8  # per cent of full codes
QUESTION = "Give the ICD-10-CM category for: {term}"
_CODE = re.compile(r"[A-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?")


def normalise(term: str) -> str:
    """A term's key: lower-case alphanumeric words without NOS and NEC."""
    return " ".join(w for w in re.findall(r"[a-z0-9]+", term.lower()) if w not in {"nos", "nec"})


def derive(cache: Path | None = None) -> Derived:
    """The recipe's rows; takes about a second, so nothing is cached."""
    source, origin = tabular_list()
    descriptions, terms = _read(source)

    codes_of: dict[str, dict[str, str]] = defaultdict(dict)  # key → category → first full code
    shown: dict[str, str] = {}
    for code, term in terms:
        key = normalise(term)
        if key and code[0] not in LEFT_OUT:
            codes_of[key].setdefault(code[:3], code)
            shown.setdefault(key, term)
    single = {key: next(iter(c.items())) for key, c in codes_of.items() if len(c) == 1}
    sizes = Counter(category for category, _ in single.values())

    splits: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for key, (category, code) in single.items():
        if sizes[category] >= LEAST_TERMS:
            split = hash_split(code, test=TEST, validation=VALIDATION)
            splits[split].append(_row(shown[key], code, descriptions[category]))
    known = {row.meta["category"] for row in splits["train"]}
    index = NearIndex(row.meta["term"] for row in splits["train"])
    kept = {
        split: tuple(
            row
            for row in rows
            if split == "train"
            or (row.meta["category"] in known and not index.has_near(row.meta["term"]))
        )
        for split, rows in splits.items()
    }
    return Derived(
        kept,
        origin,
        {source.name: digest_file(source)},
        {
            "inclusion_terms": len(terms),
            "two_categories": len(codes_of) - len(single),
            "categories": sum(size >= LEAST_TERMS for size in sizes.values()),
            "classes": len(known),
            "near_or_unknown": sum(len(splits[s]) - len(kept[s]) for s in SPLITS),
        },
    )


def tabular_list() -> tuple[Path, str]:
    """The newest tabular list of the installed package, and `distribution==version`.

    Raises:
        NotFound: the package is not installed, or holds none.
    """
    folder, origin = package_folder("simple_icd_10_cm", "simple-icd-10-cm")
    files = sorted((folder / "data").glob("icd10c-tabular-*.xml"))
    if not files:
        raise NotFound(f"`{origin}` holds no tabular list of ICD-10-CM")
    return files[-1], origin


def categories(source: Path) -> dict[str, str]:
    """Category (`A06`) → its description."""
    return {code: text for code, text in _read(source)[0].items() if len(code) == 3}


def _read(source: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Category descriptions, and (full code, inclusion term) in document order."""
    descriptions: dict[str, str] = {}
    terms: list[tuple[str, str]] = []
    # The file is part of an installed, pinned package, not input from outside.
    for diagnosis in ElementTree.parse(source).iter("diag"):  # noqa: S314
        code = diagnosis.findtext("name", "")
        if not _CODE.fullmatch(code):
            continue
        descriptions[code] = " ".join(diagnosis.findtext("desc", "").split())
        for note in diagnosis.findall("inclusionTerm/note"):
            terms.append((code, " ".join((note.text or "").split())))
    return descriptions, terms


def _row(term: str, code: str, description: str) -> Row:
    category = code[:3]
    return chat(
        QUESTION.format(term=term),
        f"{category} {description}",
        term=term,
        code=code,
        category=category,
        label=category,
    )


RECIPE = Recipe(
    name="icd-10-cm",
    description="Clinical term → 3-character ICD-10-CM category (inclusion terms, FY 2026)",
    license="ICD-10-CM: US public domain (CDC/NCHS); package: MIT",
    derive=derive,
)
