"""A machine with a registry, a Hugging Face home and a token, and the real command run on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Published
from bench.apart import environment
from tests.forked import adapters
from tests.hub_standin import HubStandin

REPOSITORY = "org/medical-lora"
OWNER, READER, STRANGER = "hf_owner", "hf_reader", "hf_stranger"


@dataclass(frozen=True)
class Trained:
    """A tiny Llama and a LoRA for it, both saved by their libraries."""

    base: Path
    adapter: Path


@dataclass(frozen=True)
class Prepared:
    """The home of a machine with `medical@1`, an import, and `medical@2`, a build's release."""

    home: Path
    published: Published


@dataclass(frozen=True)
class Result:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Machine:
    """One machine: an ADAPTERS_HOME, a Hugging Face home, and a token or none.

    Attributes:
        installed: run the installed command, as a user does, which takes longer.
    """

    home: Path
    hub: HubStandin | None = None
    token: str | None = OWNER
    extra: dict[str, str] = field(default_factory=dict)
    installed: bool = False

    @property
    def environment(self) -> dict[str, str]:
        apart = environment(self.home / "adapters", bases=self.home / "bases")
        inherited = {k: v for k, v in apart.items() if not k.startswith("HF_")}
        values = {
            "ADAPTERS_USER": "tester",
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        if self.hub is not None:
            values["HF_ENDPOINT"] = self.hub.url
        if self.token is not None:
            values["HF_TOKEN"] = self.token
        return {**inherited, **values, **self.extra}

    def run(self, *arguments: str | Path) -> Result:
        """Run `adapters …` in a process of its own."""
        if self.installed:
            return self.python(Path(sys.executable).with_name("adapters"), *arguments)
        done = adapters([*map(str, arguments)], env=self.environment, timeout=120)
        return Result(done.returncode, done.stdout, done.stderr)

    def python(self, *arguments: str | Path) -> Result:
        """Run this interpreter with the machine's environment."""
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str | Path) -> Result:
        """Run a command that must succeed."""
        result = self.run(*arguments)
        assert result.code == 0, result.err
        return result

    @property
    def registry(self) -> Registry:
        """The machine's registry, opened in this process."""
        home = self.home / "adapters"
        return Registry.open(
            database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
        )


def release_files(registry: Registry, digest: str) -> Mapping[str, bytes]:
    """Every file of a release, verified."""
    return {path: registry.read(digest, path) for path in registry.release(digest).files}
