"""A method is one file: nothing else asks for its name, or for what its table is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.technique import Technique
from adapterworks.manifests.builtin import BUILTIN
from adapterworks.manifests.method import MethodTable

ROOT = Path(__file__).parents[3]
PACKAGES = ("adapterworks", "builders", "gateway", "registry", "manifests")
# Where a method's name is kept: compared with a constant, it is asked which method it is. Whether
# two names are equal, or a name is in the table, is no such question.
_NAMED = re.compile(r"(method|technique|table)\.kind|(release|draft)\.method")
_CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")


def own_file(kind: str) -> Path:
    """The file of a method."""
    module = BUILTIN["methods"][kind].partition(":")[0]
    return ROOT / Path(*module.split(".")[1:]).with_suffix(".py")


def classes() -> set[str]:
    """The names of all tables and techniques, and of the classes that several share."""
    found = set()
    for technique in METHODS.values():
        for cls, above in ((technique.table, MethodTable), (type(technique), Technique)):
            found |= {c.__name__ for c in cls.__mro__ if issubclass(c, above) and c is not above}
    return found


def conditions(source: str, kinds: set[str], types: set[str]) -> Iterator[str]:
    """Every place in a source where what happens depends on a method's name or on its classes.

    A comparison, a `match`, a key of a table or of a lookup by a name; a comparison of whatever
    a method's name is kept in with a constant; `isinstance`, `issubclass` or `type(…) is` with a
    class of a method. What only names one (a value, a message, a declaration) is no condition.
    """
    # A syntax tree takes a hundred times as long as seeing that no such word is there.
    quoted = re.compile("|".join(f"[\"']{re.escape(kind)}[\"']" for kind in sorted(kinds)))
    named = re.compile("|".join(rf"\b{name}\b" for name in sorted(types)))
    if not any(pattern.search(source) for pattern in (quoted, named, _NAMED)):
        return
    tree = ast.parse(source)
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    foreign = types - defined
    for node in ast.walk(tree):
        asked: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
            if _NAMED.search(ast.unparse(node)) and any(
                isinstance(n, ast.Name) and _CONSTANT.fullmatch(n.id) and n.id != "METHODS"
                for n in ast.walk(node)
            ):
                yield f"{node.lineno}: {ast.unparse(node)}"
                continue
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        elif isinstance(node, ast.Dict):
            asked = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant | ast.Tuple):
            asked = [] if _is_annotation(node) else [node.slice]
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            plain = node.func.id if isinstance(node.func, ast.Name) else ""
            if name in ("get", "startswith", "endswith", "pop", "index", "count"):
                asked = list(node.args)
            elif plain in ("isinstance", "issubclass"):
                asked = list(node.args[1:])
        texts = {n.value for part in asked for n in ast.walk(part) if isinstance(n, ast.Constant)}
        names = {n.id for part in asked for n in ast.walk(part) if isinstance(n, ast.Name)}
        names |= {n.attr for part in asked for n in ast.walk(part) if isinstance(n, ast.Attribute)}
        if texts & kinds or names & foreign:
            yield f"{node.lineno}: {ast.unparse(node)}"


def _is_annotation(node: ast.Subscript) -> bool:
    """`Literal["lora"]` declares; only a subscript of a value looks something up."""
    return isinstance(node.value, ast.Name) and node.value.id in ("Literal", "Final")


def test_no_condition_on_a_methods_name_stands_outside_its_file() -> None:
    kinds, types = set(BUILTIN["methods"]), classes()
    names = ROOT / "manifests" / "builtin.py"
    found, read = [], 0
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if path == names or any((ROOT / part).is_symlink() for part in relative.parents):
                continue
            if relative.parts[:2] == ("manifests", "importing"):  # the words of other programs
                continue
            read += 1
            others = {kind for kind in kinds if own_file(kind) != path}
            found += [f"{relative}:{line}" for line in conditions(path.read_text(), others, types)]
    assert found == []
    assert read > 300


@pytest.mark.parametrize(
    "source",
    [
        'if manifest.method.kind == "full": pass',
        'checkpoint = a if kind == "qlora" else b',
        'if kind in ("full", "dora"): pass',
        'full = "full" != release.method',
        "if release.method == FULL: pass",
        "if technique.kind in SOME: pass",
        'match kind:\n    case "full" | "lora": pass',
        "match table:\n    case LoraTable(): pass",
        'table = {"dora": 1}',
        'convert = TABLE["adalora"]',
        'convert = TABLE.get("prompt-tuning")',
        "if isinstance(method, LoraKeys | AdaloraTable): pass",
        "if isinstance(technique, lora.Lora): pass",
        "if type(method) is FullTable: pass",
    ],
)
def test_the_scan_sees_every_way_to_ask(source: str) -> None:
    assert list(conditions(source, set(BUILTIN["methods"]), classes()))


@pytest.mark.parametrize(
    "source",
    [
        "if servable.form == LORA: pass",
        "same = (newest.base, release.method) == (plan.base, plan.manifest.method.kind)",
        "known = manifest.method.kind in METHODS",
        'Form = Literal["lora", "prompt", "prefix"]',
        'FULL = "full"',
        'method = "dora" if config.use_dora else "qlora" if nf4 else LORA',
        "if METHODS[manifest.method.kind].whole_model: pass",
        'hint = "`full` and `dora`"',
    ],
)
def test_naming_a_method_or_asking_for_a_form_is_no_condition(source: str) -> None:
    assert not list(conditions(source, set(BUILTIN["methods"]), classes()))
