"""A model card as HTML: Markdown without any HTML of its own.

Invariant: a card is a stranger's text. It can make headings, lists, tables and text; a link goes to
`http`, `https` or `mailto` only, a picture is a plot of its own release, and nothing else is
loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

PLOT = re.compile(r"plots/([A-Za-z0-9_-]{1,80}\.png)")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_SCHEMES = ("http", "https", "mailto")
_parser = MarkdownIt("commonmark", {"html": False}).enable("table")


def card_html(text: str, plot: Callable[[str], str]) -> Markup:
    """The card; its headings stand one level below the page's own.

    Args:
        text: Markdown, its YAML front matter too.
        plot: the address of a plot by its file's name.
    """
    tokens = _parser.parse(_FRONT_MATTER.sub("", text, count=1))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
        if token.children is not None:
            token.children = _inline(token.children, plot)
    html = _parser.renderer.render(tokens, _parser.options, {})
    return Markup(html)  # noqa: S704 (the renderer has escaped every text, and there is no HTML)


def _inline(tokens: Sequence[Token], plot: Callable[[str], str]) -> list[Token]:
    kept: list[Token] = []
    dropped: list[bool] = []  # of the links that are open
    for token in tokens:
        if token.type == "image":
            match = PLOT.fullmatch(str(token.attrs.get("src", "")))
            if match is None:
                kept.append(Token("text", "", 0, content=token.content))
                continue
            token.attrs = {"src": plot(match[1]), "alt": token.content, "loading": "lazy"}
        elif token.type == "link_open":
            dropped.append(urlsplit(str(token.attrs.get("href", ""))).scheme not in _SCHEMES)
            if dropped[-1]:
                continue
            token.attrs = {"href": token.attrs["href"], "rel": "nofollow noopener noreferrer"}
        elif token.type == "link_close" and dropped.pop():
            continue
        kept.append(token)
    return kept
