"""On a base of two layers: nothing here depends on what the other twenty-eight say."""

from tests.small_base import base, bases, either_bases, nf4_base

__all__ = ["base", "bases", "either_bases", "nf4_base"]
