"""Installed distributions: their versions, and how an extra is installed beside this one.

An extra comes from where this distribution was installed itself: whatever name an index has for it
may be somebody else's package. Source: PEP 610.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from urllib.parse import unquote, urlsplit

_NAME = "adapterworks"


def installed_version(name: str) -> str | None:
    """The version of a distribution; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Distribution → version of those that are installed, in the order given."""
    return {name: found for name in names if (found := installed_version(name)) is not None}


def install(*extras: str) -> str:
    """The command that installs extras."""
    return f"pip install '{requirement(_origin(), extras)}'"


def requirement(origin: str | None, extras: tuple[str, ...]) -> str:
    """What pip is to install.

    Args:
        origin: the text of `direct_url.json`; None of what came from an index.
    """
    wanted = f"[{','.join(extras)}]"
    told = json.loads(origin) if origin else {}
    url = str(told.get("url", ""))
    if "vcs_info" in told:
        vcs = told["vcs_info"]
        commit = f"@{vcs['commit_id']}" if "commit_id" in vcs else ""
        return f"{_NAME}{wanted} @ {vcs['vcs']}+{url}{commit}"
    parts = urlsplit(url)
    if parts.scheme == "file" and (path := Path(unquote(parts.path))).exists():
        return f"{path}{wanted}"
    if parts.scheme in ("http", "https"):
        return f"{_NAME}{wanted} @ {url}"
    return f"{_NAME}{wanted}"


@cache
def _origin() -> str | None:
    try:
        return distribution(_NAME).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
