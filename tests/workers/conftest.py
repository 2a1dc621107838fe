"""The tiny base that trains in seconds, and a workshop on it."""

from __future__ import annotations

from tests.builders.conftest import tiny, workshop

__all__ = ["tiny", "workshop"]
