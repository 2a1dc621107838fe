"""Which folder of manifests it is, wherever a copy of it lies: `apply --prune` goes by that.

A folder of a Git repository is known by the remote `origin` and its path within: CI's clone is a
colleague's folder, another team's `adapters/` is not. Any other is known by its machine and path.
"""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

# [SCHEME://][USER[:PASSWORD]@]HOST[:PORT]/PATH, or scp's [USER@]HOST:PATH (git-fetch(1), Git URLs).
_REMOTE = re.compile(r"(?:[a-z][a-z+.-]*://)?(?:[^/@]*@)?([^/:@]+)(?::\d+(?=/))?[/:]+(.+)")
_SECONDS = 10.0


def identity(folder: Path) -> str:
    """The folder's own: `HOST/REPOSITORY:PATH`, or `MACHINE:PATH` outside of any repository."""
    remote = _git(folder, "config", "--get", "remote.origin.url")
    within = _git(folder, "rev-parse", "--show-prefix")
    if remote and within is not None:
        return f"{repository(remote)}:{within.rstrip('/')}"
    return f"{socket.gethostname()}:{folder.resolve()}"


def repository(remote: str) -> str:
    """A remote without the way to it and without credentials: equal however it was cloned."""
    found = _REMOTE.fullmatch(remote)
    host, path = (f"{found[1].lower()}/", found[2]) if found else ("", remote)
    return host + path.rstrip("/").removesuffix(".git")


def _git(folder: Path, *words: str) -> str | None:
    """What Git says, without the end of the line; None where there is no Git, or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
