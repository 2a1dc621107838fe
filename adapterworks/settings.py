"""Settings, read once from the environment; every other module is given values, not variables.

ADAPTERS_HOME       folder of the registry, bases and builds (default ~/.adapters)
ADAPTERS_DATABASE   SQLAlchemy URL of the index (default SQLite in ADAPTERS_HOME)
ADAPTERS_BLOBS      folder or s3://bucket/prefix of the blobs (default ADAPTERS_HOME/blobs)
ADAPTERS_BASES      folder of prepared base models (default ADAPTERS_HOME/bases)
ADAPTERS_USER       who acts: for histories and logs (default the login name), and the author in the
                    records of releases, which travel (default "unnamed": a login is not told)
ADAPTERS_GATEWAY    URL of a running gateway, for `evaluate.engine = "gateway"`
ADAPTERS_GATEWAY_KEY   the key it is asked with, if it wants one
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things live and who is acting."""

    home: Path
    database: str
    blobs: str
    bases: Path
    who: str
    author: str = "unnamed"
    gateway: str | None = None
    gateway_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the variables above; creates nothing."""
        env = os.environ if environ is None else environ
        home = Path(env.get("ADAPTERS_HOME") or "~/.adapters").expanduser().absolute()
        return cls(
            home=home,
            database=env.get("ADAPTERS_DATABASE") or f"sqlite:///{home / 'index.db'}",
            blobs=env.get("ADAPTERS_BLOBS") or str(home / "blobs"),
            bases=Path(env.get("ADAPTERS_BASES") or home / "bases").expanduser().absolute(),
            who=env.get("ADAPTERS_USER") or _login_name(),
            author=env.get("ADAPTERS_USER") or "unnamed",
            gateway=env.get("ADAPTERS_GATEWAY") or None,
            gateway_key=env.get("ADAPTERS_GATEWAY_KEY") or None,
        )


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a passwd entry
        return f"uid-{os.getuid()}"
