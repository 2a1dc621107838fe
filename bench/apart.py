"""Where a demo, a measurement, a test or a picture works: nothing of whoever runs it.

Invariant: an environment made here has none of its caller's `ADAPTERS_…` variables, and its
settings file is an empty one. So what this person has configured – a database, a store, a registry
behind a server, a token, a gateway – is out of reach of every process that is given it.
"""

from __future__ import annotations

import os
from pathlib import Path

BASES = Path(__file__).resolve().parents[1] / ".cache" / "bases"
_OURS = "ADAPTERS_"


def environment(home: Path | str, *, bases: Path | None = BASES, **more: str) -> dict[str, str]:
    """An environment for processes.

    Args:
        home: the folder that is ADAPTERS_HOME there.
        bases: prepared bases, by default those that this checkout keeps; None: the home's own.
        more: variables besides.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    kept["ADAPTERS_CONFIG"] = os.devnull  # as TOML it is a file without a key
    kept["ADAPTERS_HOME"] = str(home)
    if bases is not None:
        kept["ADAPTERS_BASES"] = str(bases)
    return kept | more


def settle(home: Path | str, *, bases: Path | None = BASES) -> None:
    """Give this process, and what it starts from now on, such an environment."""
    made = environment(home, bases=bases)
    for name in [name for name in os.environ if name not in made]:
        del os.environ[name]
    os.environ.update(made)
