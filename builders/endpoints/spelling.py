"""How an endpoint wants its parameters: learnt from its first refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Parameters that some models know by another name, or not at all: models that reason take
# `max_completion_tokens`, and no temperature but their own.
_OTHERWISE = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}


@dataclass(slots=True)
class Spelling:
    """What one endpoint wants parameters to be called, learnt from its refusals.

    Attributes:
        changed: OpenAI's name → the endpoint's; None: it is not to be sent.
    """

    changed: dict[str, str | None] = field(default_factory=dict)

    def of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A request's fields as they are sent."""
        named = {self.changed.get(key, key): value for key, value in fields.items()}
        return {key: value for key, value in named.items() if key is not None}

    def learn(self, sent: Mapping[str, Any], answer: bytes) -> bool:
        """Whether a refusal names a parameter that can be said otherwise; it is, from then on."""
        try:
            said = json.loads(answer)["error"]
            name = said.get("param") or ""
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        # One that was sent at the same time may have learnt it meanwhile.
        if name not in _OTHERWISE or name not in sent:
            return False
        self.changed[name] = _OTHERWISE[name]
        return True
