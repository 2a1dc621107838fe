"""The public names: one list in three places, and nothing behind them before they are used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import adapterworks

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(set(adapterworks.__all__) - {"__version__"})


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "adapterworks" / "__init__.py").read_text(encoding="utf-8"))
    (typed,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imports = [node for node in typed.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imports for alias in node.names if node.module}
    declared = {name: f"adapterworks.{module}" for name, module in adapterworks._FROM.items()}
    assert seen == declared


def test_the_page_lists_the_same_names() -> None:
    page = (ROOT / "docs" / "reference" / "python-api.md").read_text(encoding="utf-8")
    table = page.partition("## All names")[2]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(listed) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(adapterworks, name)
    assert value.__name__ == name
    assert value.__doc__
    assert name in dir(adapterworks)


def test_a_name_that_is_not_there_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        _ = adapterworks.train


def test_the_import_loads_nothing() -> None:
    code = (
        "import __future__, importlib, sys, typing; before = set(sys.modules);"
        "import adapterworks; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "['adapterworks']"


def test_a_name_loads_no_more_than_it_needs() -> None:
    """Manifests need pydantic, a registry needs SQLAlchemy; neither needs torch or an engine."""
    code = (
        "import sys, adapterworks;"
        f"[getattr(adapterworks, name) for name in {NAMES!r}];"
        "heavy = {'torch', 'transformers', 'vllm', 'starlette', 'aiohttp', 'rich', 'peft'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
