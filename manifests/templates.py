"""The chat templates that a manifest can name, beside a file of its own."""

from __future__ import annotations

# Each is a file under `registry/bases/templates/`.
TEMPLATES = ("alpaca", "chatml", "llama-3", "vicuna", "zephyr")
SUFFIX = ".jinja"


def names_template_file(name: str) -> bool:
    """Whether `base.chat_template` is a path."""
    return name.endswith(SUFFIX)
