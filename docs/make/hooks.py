"""mkdocs' hook: what the theme would fetch from elsewhere is here."""

from __future__ import annotations

import re
from typing import Any

_SHIM = re.compile(r"https://unpkg\.com/iframe-worker/shim")


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """The search's shim for pages that are opened from a folder."""
    depth = page.file.url.count("/")
    return _SHIM.sub("../" * depth + "iframe-worker.js", output)


def on_post_template(output: str, *, template_name: str, config: Any) -> str:
    """The same in `404.html`."""
    return _SHIM.sub("iframe-worker.js", output)
