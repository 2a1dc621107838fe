"""Which methods of OpenAI's client there are, and which a session has called.

A method that a new version of the package brings is one that the session lacks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import reduce
from typing import Any

import openai

RESOURCES = (
    "files",
    "uploads",
    "uploads.parts",
    "fine_tuning.jobs",
    "fine_tuning.jobs.checkpoints",
    "fine_tuning.checkpoints.permissions",
    "fine_tuning.alpha.graders",
    "batches",
    "models",
)


class Recorded:
    """The methods that were called, over all clients of one session."""

    def __init__(self) -> None:
        self.called: set[str] = set()

    def of(self, client: openai.OpenAI) -> Any:
        """The client, which is the real one, with a note of each call."""
        return _Watched(client, "", self.called)

    def missing(self) -> set[str]:
        """What no session has called."""
        with openai.OpenAI(api_key="none") as client:
            there = {
                f"{name}.{method}"
                for name in RESOURCES
                for method, _ in inspect.getmembers(
                    type(reduce(getattr, name.split("."), client)), inspect.isfunction
                )
                if not method.startswith("_")
            }
        return there - self.called


class _Watched:
    def __init__(self, real: Any, name: str, called: set[str]) -> None:
        self._real, self._name, self._called = real, name, called

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._real, attribute)
        name = f"{self._name}.{attribute}".lstrip(".")
        if name in RESOURCES or any(one.startswith(f"{name}.") for one in RESOURCES):
            return _Watched(value, name, self._called)
        if self._name in RESOURCES and isinstance(value, Callable):  # type: ignore[arg-type]
            self._called.add(name)
        return value
