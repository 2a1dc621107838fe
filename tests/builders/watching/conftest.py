"""On a base of two layers, of which the tokenizer alone is asked here."""

from tests.small_base import base, bases

__all__ = ["base", "bases"]
