"""The small base."""

from tests.small_base import base, bases

__all__ = ["base", "bases"]
