"""Every Python that we start is told to leave the working directory off its path."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("adapterworks", "builders", "gateway", "manifests", "registry")


def test_each_one_is_started_with_p() -> None:
    started = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            if "executable" not in source:
                continue
            for node in ast.walk(ast.parse(source)):
                words = node.elts if isinstance(node, ast.List) else getattr(node, "args", [])
                if not isinstance(words, list):
                    continue
                texts = [ast.unparse(word) for word in words]
                for here, after in zip(texts, [*texts[1:], ""], strict=False):
                    if here == "sys.executable":
                        started.append((path.relative_to(ROOT).as_posix(), after))
    assert {file for file, _ in started} >= {
        "builders/training/job.py",
        "gateway/engines/launch.py",
        "gateway/engines/local.py",
    }
    assert [(file, after) for file, after in started if after != "'-P'"] == []


def test_importing_a_package_imports_none_of_its_stages() -> None:
    """Else whatever a stage needs, every other one would need too."""
    for package in PACKAGES[1:]:
        tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
        assert not [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
