"""One thing has one word in the Chinese pages, which lead to Chinese pages where there are some."""

from __future__ import annotations

import re

from tests.docs.blocks import ROOT, pages
from tests.docs.test_links import links

TERMS = ROOT / "docs" / "reference" / "terms.md"
CHINESE = [page for page in pages() if page.name.endswith(".zh.md")]


def rows() -> list[list[str]]:
    """The cells of the table: English, Chinese, what it is, what it is not called."""
    lines = TERMS.read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1:]]


def test_one_thing_has_one_word() -> None:
    refused = {word: row[1] for row in rows() for word in row[3].split("、") if word}
    assert len(refused) > 20
    found = [
        f"{page.relative_to(ROOT)}:{number}: `{word}`, say {refused[word]}"
        for page in CHINESE
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for word in refused
        if word in line
    ]
    assert found == []


def test_the_words_are_those_of_the_pages_and_in_order() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in CHINESE)
    words = [word for row in rows() for word in re.split("、", row[1])]
    assert [word for word in words if word not in text] == []
    english = [row[0].lower() for row in rows()]
    assert english == sorted(english)


def test_chinese_pages_lead_to_chinese_pages() -> None:
    found = []
    for page in CHINESE:
        for target in links(page):
            path = target.partition("#")[0]
            if not path.endswith(".md") or path.endswith(".zh.md") or "://" in path:
                continue
            file = (page.parent / path).resolve()
            other = file.with_name(f"{file.stem}.zh.md")
            if other.exists() and other != page:
                found.append(f"{page.relative_to(ROOT)}: {target}")
    assert found == []
