"""Which bases an engine takes a LoRA for, by what vLLM's own classes say.

Invariant: vLLM is read, not imported (which takes ten seconds, and a GPU's libraries): its registry
says which class serves a base, and a class takes LoRAs if `SupportsLoRA` is among its ancestors.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_MARK = "SupportsLoRA"
_ENTRY = re.compile(r'"(\w+)":\s*\(\s*"([\w.]+)",\s*"(\w+)",?\s*\)')


def without_lora(classes: Iterable[str]) -> str | None:
    """The class of vLLM that would serve a base and takes no LoRA.

    Args:
        classes: what `config.json` calls the model's class (`architectures`).

    Returns:
        None if it takes them, if vLLM has no class of its own for the base (`transformers`' is run
        then, which takes them), or if no vLLM is here to be asked.
    """
    models = _models()
    if models is None:
        return None
    entries = _entries(models)
    found = next((entries[name] for name in classes if name in entries), None)
    return None if found is None or _takes(models, *found) else found[1]


@cache
def _models() -> Path | None:
    """The folder of vLLM's classes, if it is installed."""
    found = find_spec("vllm")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "model_executor" / "models"
    return folder if (folder / "registry.py").is_file() else None


@cache
def _entries(models: Path) -> dict[str, tuple[str, str]]:
    """Module and class that serve an architecture, by its name; the first that is said counts."""
    text = (models / "registry.py").read_text(encoding="utf-8")
    found: dict[str, tuple[str, str]] = {}
    for name, module, kind in _ENTRY.findall(text):
        found.setdefault(name, (module, kind))
    return found


@cache
def _takes(models: Path, module: str, name: str) -> bool:
    """Whether a class or one that it inherits from is marked as taking LoRAs."""
    classes, imported = _read(models, module)
    if name in imported:
        return _takes(models, *imported[name])
    bases = classes.get(name, ())
    return _MARK in bases or any(_takes(models, module, base) for base in bases if base != name)


@cache
def _read(models: Path, module: str) -> tuple[dict[str, list[str]], dict[str, tuple[str, str]]]:
    """A module's classes with the names of their bases, and what it imports from its neighbours."""
    path = models / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    package = module if path.is_dir() else module.rpartition(".")[0]
    classes: dict[str, list[str]] = {}
    imported: dict[str, tuple[str, str]] = {}
    if not file.is_file():
        return classes, imported
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            classes[node.name] = [ast.unparse(base).split("[")[0] for base in node.bases]
        elif isinstance(node, ast.ImportFrom) and (source := _source(node, package)) is not None:
            for alias in node.names:
                imported[alias.asname or alias.name] = (source, alias.name)
    return classes, imported


def _source(node: ast.ImportFrom, package: str) -> str | None:
    """The module of vLLM's models that something is imported from, as `llama`; None if none is."""
    said = node.module or ""
    if node.level == 0:
        before = "vllm.model_executor.models."
        return said.removeprefix(before) if said.startswith(before) else None
    parts = package.split(".") if package else []
    if node.level - 1 > len(parts):
        return None
    return ".".join([*parts[: len(parts) - (node.level - 1)], *([said] if said else [])])
