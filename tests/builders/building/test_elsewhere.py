"""A build whose registry is behind a server: trained here, published, sealed and reused there."""

from __future__ import annotations

from pathlib import Path

import pytest
from click import Command
from click.testing import CliRunner, Result

from adapterworks.gateway.tokens.roles import Role
from adapterworks.registry.datasets.store import Datasets
from tests.builders.workshop import Workshop
from tests.registry.remotes.http.conftest import Server, server
from tests.warm.python import warm

__all__ = ["server"]


class Elsewhere(Workshop):
    """A workshop without a database of its own."""

    def __init__(self, folder: Path, base: Path | str, server: Server, role: Role) -> None:
        super().__init__(folder, base)
        self.server, self.role = server, role

    @property
    def environment(self) -> dict[str, str]:
        """A server, and a token of a role."""
        return {
            **super().environment,
            "ADAPTERS_DATABASE": "postgresql://nobody@127.0.0.1:9/none",
            "ADAPTERS_REGISTRY": self.server.url,
            "ADAPTERS_REGISTRY_TOKEN": self.server.offered.tokens[self.role],
        }

    def invoke(self, command: Command, *arguments: str) -> Result:
        """A command, whose connections are closed after it."""
        app = self.app
        with warm():
            result = CliRunner().invoke(command, arguments, obj=app)
        app.close()
        return result


@pytest.mark.slow
@pytest.mark.train
def test_a_build_is_published_over_http(tmp_path: Path, tiny: Path, server: Server) -> None:
    workshop = Elsewhere(tmp_path, tiny, server, Role.PROMOTER)
    made = workshop.json(workshop.manifest(epochs=1))
    registry = server.registry
    resolved = registry.resolve(made["ref"])
    assert (resolved.digest, made["created"]) == (made["digest"], True)
    assert registry.resolve("tiny:candidate").digest == made["digest"]
    assert registry.upkeep.verify(made["ref"]).clean
    assert [sealed.owner[:5] for sealed in Datasets(registry).seals()] == ["tiny,"]
    assert {event.who for event in registry.log.events("tiny")} == {"promoter"}
    again = workshop.json(workshop.manifest(epochs=1))
    assert (again["ref"], again["created"]) == (made["ref"], False)
