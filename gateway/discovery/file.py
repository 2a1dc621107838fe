"""Engines in a TOML file that others write: `urls = ["http://gpu-1:8000"]`."""

from __future__ import annotations

import asyncio
import logging
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from adapterworks.gateway.discovery.finder import NotTold

_log = logging.getLogger(__name__)


class FileFinder:
    """Reads the file each time; half a file, or none, changes nothing.

    An entry that is no address is left out, and the log says so once; where no entry is one,
    nothing is told.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left_out: set[str] = set()

    async def urls(self) -> frozenset[str]:
        """See `Finder`."""
        return await asyncio.to_thread(self._read)

    async def close(self) -> None:
        """Nothing is held."""

    def _read(self) -> frozenset[str]:
        try:
            said = tomllib.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise NotTold(f"`{self._path}` cannot be read: {error}") from error
        urls = said.get("urls")
        if said.keys() != {"urls"} or not isinstance(urls, list):
            raise NotTold(f'`{self._path}` should say `urls = ["http://host:8000"]`, nothing else')
        good = [url for url in urls if _is_address(url)]
        bad = {str(url) for url in urls if not _is_address(url)}
        if bad and not good:
            names = ", ".join(f"`{url}`" for url in sorted(bad))
            raise NotTold(f"`{self._path}` has {names}, which is no address of an engine")
        for url in sorted(bad - self._left_out):
            _log.warning("`%s` has `%s`, which is no address of an engine: left out",
                         self._path, url)  # fmt: skip
        self._left_out = bad
        return frozenset(url.rstrip("/") for url in good)


def _is_address(url: object) -> bool:
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # a port that is no number raises
        host.encode("idna")  # no part of a name is empty, or longer than DNS has it
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host)
