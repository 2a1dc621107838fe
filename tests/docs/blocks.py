"""A page of the documentation as what a reader types, writes to files, and should see.

```console              commands begin with `$ `; the lines after one are what it prints
```toml title="a.toml"  a file
```python               a program; with a title it is a file too
```text                 nothing to be run

Output is compared by shape: numbers, digests and times may differ, and so may widths of columns; a
line `…` stands for any lines, and `…` in a line for anything.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(
    r"^( *)```([\w-]*)(?: title=\"([^\"]+)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL
)
ANY = "…"


@dataclass
class Command:
    """What is typed, continuation lines joined and its comment left out, and what it prints."""

    text: str
    expected: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the file it is, its text."""

    language: str
    title: str
    text: str

    def commands(self) -> list[Command]:
        """The commands of a `console` block."""
        found: list[Command] = []
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append(Command(re.sub(r"\s+#\s.*$", "", line[2:]).strip()))
            elif found:
                found[-1].expected.append(line)
        return found


def blocks(page: Path) -> list[Block]:
    """The page's blocks, in order."""
    found = _FENCE.findall(page.read_text(encoding="utf-8"))
    return [Block(language, title, textwrap.dedent(text)) for _, language, title, text in found]


def shape(line: str) -> str:
    """What of a line must be equal wherever the page is run."""
    line = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line)
    line = re.sub(r"\b(sha256:)?(?=[0-9a-f]*\d)[0-9a-f]{7,}\b", "#", line)
    line = re.sub(r"[+−-]?\d[\d.,:e]*([+-]\d+)?(T[\d:.]+Z?)?", "#", line)
    line = re.sub(r"#(-#)+", "#", line)
    return " ".join(line.split())


def absent(expected: list[str], printed: str) -> list[str]:
    """The expected lines that are not among the printed ones in this order, by shape."""
    lines = [shape(line) for line in printed.splitlines()]
    at, missing = 0, []
    for wanted in expected:
        if wanted.strip() in ("", ANY):
            continue
        pattern = re.escape(shape(wanted)).replace(re.escape(ANY), ".*")
        found = next((i for i in range(at, len(lines)) if re.fullmatch(pattern, lines[i])), None)
        if found is None:
            missing.append(wanted)
        else:
            at = found + 1
    return missing


def adapters_lines() -> Iterator[tuple[Path, str]]:
    """Every line of a fenced block of any page that begins with `adapters `, as it is typed."""
    for page in pages():
        for block in blocks(page):
            if block.language not in ("", "console", "bash", "text"):
                continue
            for line in block.text.replace("\\\n", " ").splitlines():
                typed = re.sub(r"\s+#\s.*$", "", line.removeprefix("$ ")).strip()
                if typed.startswith("adapters "):
                    yield page, typed


def pages() -> list[Path]:
    """README and every page of the documentation, both languages."""
    return [*ROOT.glob("README*.md"), *sorted(ROOT.glob("docs/**/*.md"))]
