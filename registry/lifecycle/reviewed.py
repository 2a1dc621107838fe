"""Reviews of releases' answers by people, under a home: found by release, and removed.

    reviews/NAME/review.json    prompts, both answers, and the digests of the two releases
    reviews/NAME/votes.jsonl    who judged what

A review copies test rows and answers out of the two releases' predictions, so it goes with either,
whether the release is live or deleted. What is in it is `builders/reviewing`'s.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path

FOLDER, REVIEW = "reviews", "review.json"


def reviews_of(home: Path, releases: Collection[str]) -> tuple[str, ...]:
    """The names of the reviews that have answers of one of the releases.

    One that a kill left half-written can be read by nobody, and whose answers it has cannot be
    told: it is named for any release.

    Args:
        home: the folder with `reviews`.
        releases: their digests.
    """
    if not releases:
        return ()
    wanted = [digest.encode() for digest in releases]
    return tuple(
        folder.name
        for folder in sorted((home / FOLDER).glob("*"))
        if any(_is_of(path.read_bytes(), wanted) for path in folder.glob(f"*{REVIEW}*"))
    )


def remove_reviews(home: Path, releases: Collection[str]) -> tuple[str, ...]:
    """Remove the reviews that have answers of one of the releases, with their votes; returns their
    names."""
    found = reviews_of(home, releases)
    for name in found:
        shutil.rmtree(home / FOLDER / name)
    return found


def _is_of(data: bytes, releases: Collection[bytes]) -> bool:
    if any(digest in data for digest in releases):
        return True
    try:
        json.loads(data)
    except ValueError:
        return True
    return False
