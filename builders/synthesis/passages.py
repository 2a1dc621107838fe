"""Documents → passages: Markdown, plain text and HTML, cut between paragraphs.

Invariant: a passage is text of its document, its paragraphs in order and unchanged but for the
space around them; it begins anew at a heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from adapterworks.manifests.errors import InvalidInput, NotFound

SUFFIXES = (".md", ".markdown", ".txt", ".html", ".htm")
MOST = 1500  # characters of a passage
_LEAST = 80  # shorter ones are headings, links and the like, which nothing can be asked about
_PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_HEADING = re.compile(r"#{1,6}\s")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_BLOCKS = frozenset(
    [
        "p",
        "div",
        "section",
        "article",
        "main",
        "li",
        "ul",
        "ol",
        "table",
        "tr",
        "br",
        "pre",
        "blockquote",
        "dd",
        "dt",
        "figcaption",
    ]
)
_SKIPPED = frozenset(["script", "style", "nav", "footer", "header", "template", "noscript", "svg"])


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document.

    Attributes:
        document: its path from what was named on, so that nothing of this machine is in it.
        number: from 1, within the document.
    """

    document: str
    number: int
    text: str


def read_passages(places: Sequence[Path], *, most: int = MOST) -> list[Passage]:
    """The passages of files, and of all documents in folders, in the order of their names.

    Args:
        most: characters of a passage.

    Raises:
        NotFound: there is no such file.
        InvalidInput: a file is no document of these kinds or no UTF-8, or there is no passage.
    """
    found = [
        passage
        for place in places
        for path in _files(place)
        for passage in passages_of(path, path.relative_to(place.parent).as_posix(), most)
    ]
    if not found:
        raise InvalidInput(
            f"there is no passage of at least {_LEAST} characters",
            hint=f"name documents ({', '.join(SUFFIXES)}) with some paragraphs",
        )
    return found


def passages_of(path: Path, name: str, most: int = MOST) -> list[Passage]:
    """The passages of one document."""
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidInput(
            f"`{path}` is none of {', '.join(SUFFIXES)}",
            hint="write it as Markdown or text first, as `pandoc FILE -t markdown` does",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"`{path}` is no UTF-8: {error}", hint="convert it first") from error
    if path.suffix.lower() in (".html", ".htm"):
        reader = _Html()
        reader.feed(text)
        reader.close()
        text = "".join(reader.parts)
    pieces = _packed(_pieces(text, most), most)
    long = [piece for piece in pieces if len(piece) >= _LEAST]
    return [Passage(name, number, piece) for number, piece in enumerate(long, start=1)]


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise NotFound(f"there is no `{place}`")
    known = (path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in known if path.is_file())


def _pieces(text: str, most: int) -> Iterator[str]:
    """Paragraphs; those that are too long in sentences, and those in parts."""
    for paragraph in _PARAGRAPHS.split(text.replace("\r\n", "\n")):
        stripped = paragraph.strip()
        if len(stripped) <= most:
            yield stripped
            continue
        for sentence in _SENTENCE_END.split(stripped):
            for start in range(0, len(sentence), most):
                yield sentence[start : start + most]


def _packed(pieces: Iterator[str], most: int) -> list[str]:
    """As many paragraphs together as fit; a heading begins a passage."""
    packed: list[str] = []
    for piece in pieces:
        if not piece:
            continue
        fits = packed and len(packed[-1]) + 2 + len(piece) <= most
        if fits and not _HEADING.match(piece):
            packed[-1] += f"\n\n{piece}"
        else:
            packed.append(piece)
    return packed


class _Html(HTMLParser):
    """The text of a page, blocks as paragraphs, headings as Markdown's."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._skipping = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED:
            self._skipping += 1
        elif len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self.parts.append(f"\n\n{'#' * int(tag[1])} ")
        elif tag in _BLOCKS:
            self.parts.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        elif tag in _BLOCKS or (len(tag) == 2 and tag[0] == "h" and tag[1] in "123456"):
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.parts.append(re.sub(r"\s+", " ", data))
