"""On a base of two layers; what needs to know something is in `test_whole_model.py`."""

from tests.small_base import base, bases, nf4_base

__all__ = ["base", "bases", "nf4_base"]
