"""The prose is spelled as English is: codespell over every page, and over what commands print."""

from __future__ import annotations

import subprocess
import sys

from tests.docs.blocks import ROOT, pages

WORDS = ROOT / "tests" / "docs" / "words.txt"  # ours that look like others misspelled


def codespell(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words", str(WORDS), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_no_word_is_misspelled() -> None:
    names = [str(page.relative_to(ROOT)) for page in (*pages(), ROOT / "CHANGELOG.md")]
    found = codespell(*names, "adapterworks/cli", "manifests", "Makefile", "demo.py")
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_misspelled_word_is_seen() -> None:
    page = ROOT / ".cache" / "misspelled.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text("Recieve the adapter.\n")
    assert "Recieve ==> Receive" in codespell(str(page)).stdout
    page.unlink()
