"""docs/how-to/troubleshooting.md names messages that the program says."""

from __future__ import annotations

import ast
import re

from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
CELLS = re.findall(r"^\| ([^|]+) \|", PAGE, re.MULTILINE)
MESSAGES = sorted({text for cell in CELLS for text in re.findall(r"`([^`]+)`", cell)} - {"/ready"})


def said() -> str:
    """The text of every string of the program but docstrings, values in them as `…`."""
    found = []
    for package in ("adapterworks", "builders", "gateway", "registry", "manifests"):
        for file in (ROOT / package).rglob("*.py"):
            documented = set()
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Expr):
                    documented.add(id(node.value))
                elif id(node) in documented:
                    continue
                elif isinstance(node, ast.JoinedStr):
                    parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found).replace("`", "")


def test_there_are_some() -> None:
    assert len(MESSAGES) >= 12


def test_every_message_is_one() -> None:
    texts, unsaid = said(), []
    for message in MESSAGES:
        pattern = re.escape(re.sub(r"\d+", "…", message)).replace(re.escape("…"), ".*")
        if message not in ("init", "verify") and not re.search(pattern, texts):
            unsaid.append(message)
    assert unsaid == []
