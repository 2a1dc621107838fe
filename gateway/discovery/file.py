"""Engines in a TOML file that others write: `urls = ["http://gpu-1:8000"]`."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from adapterworks.gateway.discovery.finder import NotTold


class FileFinder:
    """Reads the file each time; half a file, or none, changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

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
        for url in urls:
            parts = urlsplit(url) if isinstance(url, str) else None
            if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
                raise NotTold(f"`{self._path}` has `{url}`, which is no address of an engine")
        return frozenset(url.rstrip("/") for url in urls)
