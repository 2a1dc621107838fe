"""Documents → passages, cut between paragraphs.

Invariant: a passage is text of one page of its document, its paragraphs in order and unchanged but
for the space around them; it begins anew at a heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterworks.builders.synthesis.documents import SUFFIXES, pages_of
from adapterworks.manifests.errors import InvalidInput, NotFound

MOST = 1500  # characters of a passage
_LEAST = 80  # shorter ones are headings, links and the like, which nothing can be asked about
_PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_HEADING = re.compile(r"#{1,6}\s")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document.

    Attributes:
        document: its path from what was named on, so that nothing of this machine is in it.
        number: from 1, within the document.
        page: from 1, where the document has pages.
    """

    document: str
    number: int
    text: str
    page: int | None = None


def read_passages(places: Sequence[Path], *, most: int = MOST) -> list[Passage]:
    """The passages of files, and of all documents in folders, in the order of their names.

    Args:
        most: characters of a passage.

    Raises:
        NotFound: there is no such file.
        InvalidInput: a file is no document of these kinds, damaged, encrypted or no UTF-8, or there
            is no passage.
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
    pieces = [
        (page.number, piece)
        for page in pages_of(path)
        for piece in _packed(_pieces(page.text, most), most)
        if len(piece) >= _LEAST
    ]
    return [Passage(name, at, piece, page) for at, (page, piece) in enumerate(pieces, start=1)]


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
