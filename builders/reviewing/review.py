"""A review: test rows that two releases have answered, drawn once, and what is to be judged.

Invariant: a review is a function of the two releases' own predictions, the scale, the number of
rows and the seed; nothing in it changes once it is written.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adapterworks.builders.data.rows import Message
from adapterworks.builders.evaluation.comparison import CANDIDATE
from adapterworks.manifests.digests import canonical_json, digest_json
from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
)
from adapterworks.manifests.json_lines import read_json_lines
from adapterworks.manifests.refs import check_name
from adapterworks.registry.lifecycle.reviewed import REVIEW
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved

Scale = Literal["pairwise", "likert"]
PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True, slots=True)
class Item:
    """One row.

    Attributes:
        number: from 1, in the order in which they were drawn.
        prompt: the turns that were asked.
        answers: of the release that is reviewed, and of the one that it is held against.
        reference: what the row says is right; not shown to reviewers.
    """

    number: int
    prompt: tuple[Message, ...]
    answers: tuple[str, str]
    reference: str

    @property
    def question(self) -> str:
        """Digest of what was asked: two reviews may have drawn the same row."""
        return digest_json(self.prompt)

    @property
    def same(self) -> bool:
        """Whether there is nothing to choose: both say the same."""
        return self.answers[0].strip() == self.answers[1].strip()


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two releases."""

    ref: str
    digest: str


@dataclass(frozen=True, slots=True)
class Review:
    """What is judged.

    Attributes:
        reviewed, against: whose answers they are.
        of: how many rows both had answered.
    """

    name: str
    adapter: str
    reviewed: Side
    against: Side
    scale: Scale
    seed: int
    of: int
    items: tuple[Item, ...]

    @property
    def digest(self) -> str:
        """`sha256:…` of all of it."""
        return digest_json(asdict(self))


def draw(
    registry: Registry,
    name: str,
    reviewed: Resolved,
    against: Resolved,
    *,
    rows: int,
    scale: Scale = "pairwise",
    seed: int = 0,
) -> Review:
    """Draw rows that both releases have answered in their own evaluations.

    Args:
        name: of the review.
        rows: at most so many, drawn at random.

    Raises:
        NotFound: a release has no predictions here.
        InvalidInput: they have no row in common, or are one release.
    """
    check_name(name)
    if reviewed.digest == against.digest:
        raise InvalidInput(f"`{reviewed}` is `{against}`", hint="name two releases")
    ours, theirs = (_answered(registry, one) for one in (reviewed, against))
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise InvalidInput(
            f"`{reviewed}` and `{against}` were tested on no row in common",
            hint="build the one again with the other's test rows: `data.test` of its manifest",
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(common))
    items = []
    for number, at in enumerate(order[:rows], start=1):
        prompt, answer, reference = ours[common[at]]
        items.append(Item(number, prompt, (answer, theirs[common[at]][1]), reference))
    return Review(
        name,
        reviewed.name,
        Side(str(reviewed), reviewed.digest),
        Side(str(against), against.digest),
        scale,
        seed,
        len(common),
        tuple(items),
    )


def write_review(folder: Path, review: Review) -> Path:
    """Keep a review for good, whole or not at all; only this user reads it.

    Raises:
        Conflict: there is another one of that name.
    """
    place = folder / review.name
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    path, data = place / REVIEW, canonical_json(asdict(review))
    new = place / f".{REVIEW}-{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, path)  # unlike a rename, in nobody's place
        except FileExistsError:
            if path.read_bytes() != data:
                raise Conflict(
                    f"there is a review `{review.name}` already", hint="give it another --name"
                ) from None
    finally:
        new.unlink(missing_ok=True)
    return path


def read_review(folder: Path, name: str) -> Review:
    """A review by its name.

    Raises:
        NotFound: there is none.
        IntegrityError: its file is none of a review.
    """
    check_name(name)
    path = folder / name / REVIEW
    if not path.is_file():
        raise NotFound(
            f"there is no review `{name}`", hint="see which there are: adapters review list"
        )
    try:
        return _review(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"`{path}` is no review: {error}") from error


def reviews(folder: Path) -> tuple[list[Review], list[str]]:
    """All of them, by name; and what is said of those that cannot be read, which stop no other."""
    found, broken = [], []
    for path in sorted(folder.glob(f"*/{REVIEW}")):
        try:
            found.append(read_review(folder, path.parent.name))
        except AdapterworksError as error:
            broken.append(error.message)
    return found, broken


def _review(values: Mapping[str, Any]) -> Review:
    items = tuple(
        Item(one["number"], tuple(one["prompt"]), tuple(one["answers"]), one["reference"])
        for one in values["items"]
    )
    sides = {name: Side(**values[name]) for name in ("reviewed", "against")}
    return Review(**{**values, **sides, "items": items})


def _answered(
    registry: Registry, release: Resolved
) -> dict[str, tuple[tuple[Message, ...], str, str]]:
    """By the digest of the prompt: turns, answer, and what is right."""
    told = registry.read_if_here(release.digest, PREDICTIONS)
    if told is None:
        raise NotFound(
            f"`{release}` has no `{PREDICTIONS}` here",
            hint="name a release that was built here with test rows",
        )
    lines = read_json_lines(told)
    return {
        digest_json(line["prompt"]): (
            tuple(line["prompt"]),
            str(line["answers"][CANDIDATE]),
            str(line["reference"]),
        )
        for line in lines
        if not isinstance(line["prompt"], str)
    }
