"""The forms an engine can load, by the names that records have: ask by these, never by a text.

A form is not a method: most methods are served as a LoRA, and one of them is called so too.
"""

from __future__ import annotations

from typing import Final, Literal

Form = Literal["lora", "prompt", "prefix"]
LORA: Final[Literal["lora"]] = "lora"
PROMPT: Final[Literal["prompt"]] = "prompt"
PREFIX: Final[Literal["prefix"]] = "prefix"
