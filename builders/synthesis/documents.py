"""A document as text, page by page: Markdown, plain text, HTML, PDF (pypdf) and Word (python-docx).

Headings become Markdown's. A PDF has what its pages say to a reader: pages that are pictures say
nothing, and a document of such pages is refused by name.

Invariant: what is read is bounded: in bytes of the file, in bytes that it unpacks to, in pages and
in characters. Whatever a file does to its reader is one named fault.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from adapterworks.manifests.errors import AdapterworksError, InvalidInput

MOST_BYTES = 256 * 2**20  # of a file, and of what a Word file unpacks to
MOST_PAGES = 5000
MOST_CHARACTERS = 50_000_000
_HEADING_STYLE = re.compile(r"(?:Heading |Titel|Title)([1-6])?")
_BLOCKS = frozenset(
    (
        *("p", "div", "section", "article", "main", "li", "ul", "ol", "table", "tr", "br", "pre"),
        *("blockquote", "dd", "dt", "figcaption"),
    )
)
_SKIPPED = frozenset(["script", "style", "nav", "footer", "header", "template", "noscript", "svg"])


@dataclass(frozen=True, slots=True)
class Page:
    """Text of a page.

    Attributes:
        number: from 1; None where the document has no pages.
    """

    number: int | None
    text: str


def pages_of(path: Path) -> list[Page]:
    """The pages of a document that say something.

    Raises:
        InvalidInput: it is none of these kinds, too large, damaged, encrypted, without text, or no
            UTF-8.
        ModuleNotFoundError: what reads it is not installed.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InvalidInput(
            f"`{path}` is none of {', '.join(SUFFIXES)}",
            hint="write it as Markdown or text first, as `pandoc FILE -t markdown` does",
        )
    if (size := path.stat().st_size) > MOST_BYTES:
        raise InvalidInput(
            f"`{path}` has {size} bytes, and at most {MOST_BYTES} are read", hint="divide it"
        )
    try:
        pages, characters = [], 0
        for page in read(path):
            characters += len(page.text)
            if characters > MOST_CHARACTERS:
                raise InvalidInput(
                    f"`{path}` says more than {MOST_CHARACTERS} characters", hint="divide it"
                )
            if page.text.strip():
                pages.append(page)
    except (AdapterworksError, ImportError, OSError):
        raise
    except Exception as error:  # whatever a damaged file does to its reader
        raise InvalidInput(
            f"`{path}` is damaged: {type(error).__name__}: {str(error)[:200]}",
            hint="open it in the program that wrote it, and save it again",
        ) from error
    return pages


def _text(path: Path) -> Iterator[Page]:
    try:
        yield Page(None, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"`{path}` is no UTF-8: {error}", hint="convert it first") from error


def _html(path: Path) -> Iterator[Page]:
    for page in _text(path):
        reader = _Html()
        reader.feed(page.text)
        reader.close()
        yield Page(None, "".join(reader.parts))


def _pdf(path: Path) -> Iterator[Page]:
    from pypdf import PdfReader

    reader = PdfReader(path, strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise InvalidInput(
            f"`{path}` is encrypted", hint="save it without a password: qpdf --decrypt IN OUT"
        )
    if len(reader.pages) > MOST_PAGES:
        raise InvalidInput(
            f"`{path}` has {len(reader.pages)} pages, and at most {MOST_PAGES} are read",
            hint="divide it",
        )
    said = False
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text()
        said = said or bool(text.strip())
        yield Page(number, text)
    if not said:
        raise InvalidInput(
            f"no page of `{path}` has text: they are pictures, or there are none",
            hint="have their text recognized first: ocrmypdf IN OUT",
        )


def _docx(path: Path) -> Iterator[Page]:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MOST_BYTES:
        raise InvalidInput(
            f"`{path}` unpacks to {unpacked} bytes, and at most {MOST_BYTES} are read",
            hint="leave pictures out of it, or divide it",
        )
    import docx
    from docx.table import Table

    parts = []
    for item in docx.Document(str(path)).iter_inner_content():
        if isinstance(item, Table):
            parts += [" | ".join(cell.text.strip() for cell in row.cells) for row in item.rows]
            continue
        found = _HEADING_STYLE.match(item.style.name or "") if item.style is not None else None
        parts.append(f"{'#' * int(found[1] or 1)} {item.text}" if found else item.text)
    yield Page(None, "\n\n".join(part for part in parts if part.strip()))


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


_READERS: dict[str, Callable[[Path], Iterator[Page]]] = {
    **dict.fromkeys((".md", ".markdown", ".txt"), _text),
    **dict.fromkeys((".html", ".htm"), _html),
    ".pdf": _pdf,
    ".docx": _docx,
}
SUFFIXES = tuple(_READERS)
