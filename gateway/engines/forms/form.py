"""How one servable form is loaded into an engine and addressed in a request.

Invariant: everything that differs between forms is behind this protocol; residency, proof, routing
and relay treat all forms alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from adapterworks.gateway.engines.engine import Engine, Probe, Scores
from adapterworks.registry.releases.release import Servable


class Form(Protocol):
    """One form: `lora`, `prompt` or `prefix`."""

    kind: str

    def engine_flags(self) -> dict[str, str | int | float | bool]:
        """Engine arguments that this form needs, by long name; empty if none."""

    async def load(self, engine: Engine, digest: str, folder: Path, servable: Servable) -> None:
        """Make the release answerable on the engine; doing it twice is not an error.

        Args:
            folder: the release's verified, read-only `servable` files.
        """

    async def unload(self, engine: Engine, digest: str) -> None:
        """Let go of it."""

    def address(
        self, engine: Engine, digest: str, servable: Servable, body: dict[str, Any], salt: str
    ) -> dict[str, Any]:
        """The body as the engine must get it: its model, cache salt and whatever the form adds.

        Args:
            body: the client's request, already reduced to allowed fields.
            salt: the tenant's cache salt.
        """

    async def score(
        self,
        engine: Engine,
        digest: str,
        servable: Servable,
        probes: Sequence[Probe],
        salt: str,
    ) -> tuple[list[Scores], int]:
        """As `Engine.score`, under the adapter."""
