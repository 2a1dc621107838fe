"""Where rows and base models come from, parsed once into frozen values.

source    = recipe | hub | dataset | file | "lineage"
recipe    = name ":" split                        icd-10-cm:train
hub       = "hub:" repo "@" revision ["#" [configuration ":"] split]
                                                  hub:org/dataset@4f1c…#socratic:train
dataset   = "dataset:" name "@" (version | digest) ["#" split]
                                                  dataset:medical-failures@3
file      = a path ending in a suffix of data files, small or in capitals, in a pattern of such
            (`rows/*.jsonl`), or a folder of them, ending in `/`
lineage   = what every ancestor was trained on; `data.replay` alone may say so
base      = name | "hub:" repo "@" revision | a path with a "/" in it
repo      = [org "/"] name, the Hub's alphabet
revision  = commit, tag or branch; a commit is the only one that never moves
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapterworks.manifests.digests import DIGEST_PATTERN
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.refs import NAME_PATTERN

_TEXT = (".jsonl", ".json", ".csv", ".tsv")
FILE_SUFFIXES = (
    *_TEXT,
    *(f"{suffix}{packed}" for suffix in _TEXT for packed in (".gz", ".zst")),
    *(".parquet", ".arrow", ".xlsx"),
)
_RECIPE = re.compile(r"([a-z0-9][a-z0-9._-]*):([a-z0-9][a-z0-9._-]*)")
_REPO = r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*"
_REVISION = r"[A-Za-z0-9][\w./-]*"
_HUB = re.compile(rf"hub:({_REPO})@({_REVISION})(?:#(?:([\w.-]+):)?([\w.-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
DATASET = "dataset:"
LINEAGE = "lineage"
_DATASET = re.compile(
    rf"{DATASET}({NAME_PATTERN})@([1-9][0-9]{{0,8}}|{DIGEST_PATTERN.pattern})"
    r"(?:#(train|validation|test))?"
)
REPO_PATTERN = re.compile(_REPO)


@dataclass(frozen=True, slots=True)
class RecipeSource:
    """One split of a built-in recipe."""

    name: str
    split: str


@dataclass(frozen=True, slots=True)
class HubSource:
    """A Hub repository at a revision; `split` and `config` are for data sets only."""

    repo: str
    revision: str
    split: str | None = None
    config: str | None = None

    def __str__(self) -> str:
        part = f"{self.config}:{self.split}" if self.config else self.split
        return f"hub:{self.repo}@{self.revision}" + (f"#{part}" if part else "")

    @property
    def pinned(self) -> bool:
        """Whether the revision is a full commit id, which never moves."""
        return _COMMIT.fullmatch(self.revision) is not None


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """Rows of a dataset of the registry; without a split, those for the key that names it."""

    name: str
    selector: str
    split: str | None = None

    def __str__(self) -> str:
        return f"{DATASET}{self.name}@{self.selector}" + (f"#{self.split}" if self.split else "")


@dataclass(frozen=True, slots=True)
class FileSource:
    """Local files of rows (one, a pattern, or a folder ending in `/`), or a base's folder."""

    path: str


@dataclass(frozen=True, slots=True)
class NamedBase:
    """A base model by its name in `adapters base list`."""

    name: str


@dataclass(frozen=True, slots=True)
class LineageSource:
    """What every release that the training begins from was trained on."""


Source = RecipeSource | HubSource | DatasetSource | FileSource | LineageSource


def parse_source(text: str) -> Source:
    """Parse a source of rows.

    Raises:
        InvalidInput: the text does not follow the grammar above.
    """
    if text.startswith("hub:"):
        return _parse_hub(text, "data set")
    if text == LINEAGE:
        return LineageSource()
    if text.startswith(DATASET):
        return _parse_dataset(text)
    if text.lower().endswith((*FILE_SUFFIXES, "/")) and text != "/":
        return FileSource(text)
    if match := _RECIPE.fullmatch(text):
        return RecipeSource(match[1], match[2])
    raise InvalidInput(
        f"`{text}` is not a source of rows",
        hint="name a recipe (`icd-10-cm:train`), a file ending in .jsonl, .json, .csv (also .gz "
        "and .zst), .parquet or .arrow, a folder ending in `/`, "
        "`dataset:NAME@VERSION`, or `hub:org/dataset@revision#split`",
    )


def parse_base(text: str) -> NamedBase | HubSource | FileSource:
    """Parse `base.model`.

    Raises:
        InvalidInput: the text does not follow the grammar above.
    """
    if text.startswith("hub:"):
        source = _parse_hub(text, "model")
        if source.split is not None:
            raise InvalidInput(
                f"`{text}` names a split, which a model does not have",
                hint=f"remove `#{source.split}`",
            )
        return source
    if "/" in text:
        return FileSource(text)
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*", text):
        return NamedBase(text)
    raise InvalidInput(
        f"`{text}` is not a base model",
        hint="name one of `adapters base list`, a path with a `/`, or `hub:org/name@revision`",
    )


def _parse_dataset(text: str) -> DatasetSource:
    if match := _DATASET.fullmatch(text):
        return DatasetSource(match[1], match[2], match[3])
    name = text.removeprefix(DATASET).partition("@")[0].partition("#")[0]
    if "@" not in text and re.fullmatch(NAME_PATTERN, name):
        raise InvalidInput(
            f"`{text}` names no version, so it could change under you",
            hint=f"write `{DATASET}{name}@N`; `adapters dataset list {name}` has the numbers",
        )
    raise InvalidInput(
        f"`{text}` is not a dataset",
        hint=f"write `{DATASET}NAME@VERSION`, and `#train`, `#validation` or `#test` for a split",
    )


def _parse_hub(text: str, what: str) -> HubSource:
    if match := _HUB.fullmatch(text):
        return HubSource(match[1], match[2], match[4], match[3])
    if "@" not in text:
        bare, _, split = text.partition("#")
        raise InvalidInput(
            f"`{text}` names no revision, so it could change under you",
            hint=f"pin the {what}: `{bare}@COMMIT{'#' + split if split else ''}`",
        )
    raise InvalidInput(
        f"`{text}` is not a Hub {what}",
        hint="write `hub:org/name@revision`"
        + (" or `hub:org/name@revision#split`" if what == "data set" else ""),
    )
