"""What a recipe is, and what all recipes share: files of packages, hash splits, near-duplicates.

Invariant: a split is decided by a SHA-256 of a key, never by order or chance, so that adding rows
to a source moves none of the others.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path

from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import NotFound

SPLITS = ("train", "validation", "test")
NEAR = 0.8  # token Jaccard from which two texts count as the same


@dataclass(frozen=True)
class Derived:
    """A recipe's result: rows by split, where they came from, and what was counted on the way."""

    splits: Mapping[str, tuple[Row, ...]]
    origin: str
    files: Mapping[str, str]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Attributes:
        name: as a source says it, `NAME:train`.
        description: one sentence: what is asked, and what the answer is.
        license: of the derived rows.
        derive: takes the folder for expensive results, or None. A row's `meta["slices"]` names the
            parts of the evaluation that it belongs to.
    """

    name: str
    description: str
    license: str
    derive: Callable[[Path | None], Derived]


def package_folder(package: str, distribution: str) -> tuple[Path, str]:
    """An installed package's folder and `distribution==version`, without importing it.

    Raises:
        NotFound: it is not installed.
    """
    spec = util.find_spec(package)
    if spec is None or spec.origin is None:
        raise NotFound(
            f"the package `{distribution}`, which this recipe reads, is not installed",
            hint=f"pip install {distribution}",
        )
    return Path(spec.origin).parent, f"{distribution}=={metadata.version(distribution)}"


def hash_split(key: str, *, test: int, validation: int) -> str:
    """The split of a key: `test` and `validation` are percentages."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest(), "big") % 100
    if bucket < test:
        return "test"
    return "validation" if bucket < test + validation else "train"


def tokens(text: str) -> frozenset[str]:
    """A text's lower-case alphanumeric tokens."""
    return frozenset(re.findall(r"[a-z0-9]+", text.lower()))


class NearIndex:
    """Which token sets have a close one among those given (Jaccard ≥ NEAR), by inverted index."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._sets = [tokens(text) for text in texts]
        self._by_token: dict[str, list[int]] = {}
        for index, words in enumerate(self._sets):
            for word in words:
                self._by_token.setdefault(word, []).append(index)

    def has_near(self, text: str) -> bool:
        """Whether any indexed text is close to this one; equal token sets always are."""
        words = tokens(text)
        # A close one lacks so few of them that it has one of the rarest of any so many.
        least = math.ceil(NEAR * len(words))
        rarest = sorted(words, key=lambda word: len(self._by_token.get(word, ())))
        likely = {
            index
            for word in rarest[: len(words) - least + 1]
            for index in self._by_token.get(word, ())
        }
        return any(
            (common := len(words & self._sets[index]))
            >= NEAR * (len(words) + len(self._sets[index]) - common)
            for index in likely
        )
