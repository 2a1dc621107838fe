"""Every link of the documentation leads to a file, and to a heading or block that is there."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

from tests.docs.blocks import ROOT, pages

_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """The page without its fenced blocks and code spans."""
    return re.sub(r"`[^`\n]+`", "`x`", _FENCED.sub("", page.read_text(encoding="utf-8")))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What the headings of a page can be linked by (as pymdownx's slugs and GitHub's have them)."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    found: list[str] = []
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        words = unicodedata.normalize("NFC", re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading)).lower()
        slug = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
        found.append(f"{slug}_{found.count(slug)}" if slug in found else slug)
    return frozenset(found)


def test_links_lead_somewhere() -> None:
    read = (*pages(), ROOT / "CHANGELOG.md")
    lost = {page.relative_to(ROOT).as_posix(): lost_links(page) for page in read}
    assert {page: links for page, links in lost.items() if links} == {}


def links(page: Path) -> list[str]:
    """What a page links to, as it is written."""
    return _LINK.findall(prose(page))


def lost_links(page: Path) -> list[str]:
    """What a page links to that is not there."""
    lost = []
    for target in links(page):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path).resolve()
        # mkdocs-static-i18n takes a link of a translation to the translation, where there is one.
        translated = file.with_name(f"{file.stem}.zh.md")
        if page.name.endswith(".zh.md") and translated.exists():
            file = translated
        if not file.exists() or (anchor and (file.suffix != ".md" or anchor not in anchors(file))):
            lost.append(target)
    return lost


def test_pictures_are_there_and_say_what_they_show() -> None:
    for page in pages():
        for text, target in _PICTURE.findall(prose(page)):
            assert text, f"{target} of {page} has no text for who cannot see it"
            assert (page.parent / target).is_file(), f"{target} of {page}"


def test_every_page_is_in_the_navigation_and_nothing_lies_beside_the_kinds() -> None:
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    docs = ROOT / "docs"
    names = {page.relative_to(docs).as_posix() for page in docs.glob("**/*.md")}
    english = {name for name in names if not name.endswith(".zh.md")}
    assert [name for name in sorted(english) if f": {name}\n" not in listed] == []
    assert {name for name in english if "/" not in name} == {
        "architecture.md",
        "index.md",
        "log.md",
    }
