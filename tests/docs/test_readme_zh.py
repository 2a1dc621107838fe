"""The Chinese README shows the commands, files and answers of the English one, which is run."""

from __future__ import annotations

import re
from pathlib import Path

from adapterworks.builders.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _blocks(name: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```", _text(name), re.MULTILINE | re.DOTALL)


def test_the_blocks_are_those_of_the_english_one() -> None:
    assert _blocks("README.zh.md") == _blocks("README.md")


def test_it_has_the_same_sections_and_links() -> None:
    level = re.compile(r"^(#+) ", re.MULTILINE)
    assert level.findall(_text("README.zh.md")) == level.findall(_text("README.md"))
    link = re.compile(r"\]\((docs/[^)]+)\)")
    translated = {target.replace(".zh.md", ".md") for target in link.findall(_text("README.zh.md"))}
    assert translated == {*link.findall(_text("README.md"))}


def test_what_is_translated_is_linked_in_chinese() -> None:
    targets = re.findall(r"\]\((docs/[^)]+\.md)\)", _text("README.zh.md"))
    english = [target for target in targets if not target.endswith(".zh.md")]
    translated = [one for one in english if (ROOT / one.replace(".md", ".zh.md")).exists()]
    assert translated == []


def test_each_names_the_other() -> None:
    assert "(README.zh.md)" in _text("README.md")
    assert "(README.md)" in _text("README.zh.md")


def test_the_methods_are_all_there_are() -> None:
    for page, word in (("README.md", "eleven"), ("README.zh.md", "十一")):
        text = _text(page)
        (listed,) = re.findall(r'^kind = "lora" +# (.*)\n +# (.*)$', text, re.MULTILINE)
        assert " ".join(listed).split() == [*METHODS], page
        assert word in text.split("\n## ")[0]
    assert len(METHODS) == 11  # in words, above
