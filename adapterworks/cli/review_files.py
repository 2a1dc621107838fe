"""The reviews of this home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.app import App
from adapterworks.cli import printing

if TYPE_CHECKING:
    from adapterworks.builders.reviewing.review import Review


def folder_of(app: App) -> Path:
    """Where they are."""
    return app.settings.home / "reviews"


def reviews_of(app: App) -> list[Review]:
    """All that can be read; the others are named."""
    from adapterworks.builders.reviewing.review import reviews

    found, broken = reviews(folder_of(app))
    for said in broken:
        printing.note(said)
    return found


def review_of(app: App, name: str) -> Review:
    """One of them.

    Raises:
        NotFound: there is none of this name.
    """
    from adapterworks.builders.reviewing.review import read_review

    return read_review(folder_of(app), name)
