"""mkdocs' hook: what the theme would fetch from elsewhere is here, and Chinese has no spaces."""

from __future__ import annotations

import re
from typing import Any

_BREAK = re.compile(r"(?<=[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef])\n(?=[\u4e00-\u9fff\uff08])")
_SHIM = re.compile(r"https://unpkg\.com/iframe-worker/shim")


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """The search's shim for pages that are opened from a folder."""
    depth = page.file.url.count("/")
    return _SHIM.sub("../" * depth + "iframe-worker.js", output)


def on_post_template(output: str, *, template_name: str, config: Any) -> str:
    """The same in `404.html`."""
    return _SHIM.sub("iframe-worker.js", output)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A line's end between two Chinese characters is no space, but in fenced blocks it stays."""
    parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if at % 2 else _BREAK.sub("", part) for at, part in enumerate(parts))
