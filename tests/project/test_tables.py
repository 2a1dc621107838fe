"""What can be named costs one file and one line: nobody else knows its name.

A module *holds* a name where the name stands in it as a string. At most three may: the file of the
thing itself, the line in `manifests/builtin.py`, and one more, a default of the manifest for one.

Some names are words that the code uses for other things too: `text` is a format and a JSON key,
`full` a method and a folder of a release. Which ones is not a list but a fact: a word that is also
an identifier somewhere (a variable, an attribute, a parameter, a keyword). Of such a word only the
strings count that decide by it, which is what must not be: an operand of a comparison or of `in`, a
`case`, and a collection or a table of several names of one kind.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.builtin import BUILTIN, KINDS, MADE_BY, TYPES, Kind
from adapterworks.manifests.extensions import load, source_file

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("adapterworks", "builders", "gateway", "registry", "manifests")
MOST = 3


@dataclass(eq=False)
class Words:
    """What stands in a module.

    Attributes:
        strings: all that are no docstring and no attribute's description.
        identifiers: all of them; what is imported is another module's.
        operands: strings that something is compared with or matched against.
        tables: strings that stand together in a collection, two and more.
    """

    strings: set[str] = field(default_factory=set)
    identifiers: set[str] = field(default_factory=set)
    operands: set[str] = field(default_factory=set)
    tables: list[set[str]] = field(default_factory=list)

    def deciding(self, kind: Kind) -> set[str]:
        """The strings by which it decides: compared, matched, or a table of their kind."""
        found = {name for name in self.operands if name in BUILTIN[kind]}
        for table in self.tables:
            named = table & BUILTIN[kind].keys()
            found |= named if len(named) > 1 else set()
        return found


Module = tuple[str, Words]


@cache
def modules() -> tuple[Module, ...]:
    """Path and words of every module of adapterworks; links are not followed twice. Trees are not
    kept: a million nodes would be looked through for garbage until the session ends.

    Without `manifests/importing` and the graders: what stands there are the words of others.
    """
    foreign = {
        ROOT / "manifests" / "importing",
        ROOT / "manifests" / "graders.py",
        ROOT / "builders" / "objectives" / "graders.py",
    }
    paths = [
        path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if foreign.isdisjoint((path, *path.parents))
    ]
    return tuple((str(p.relative_to(ROOT)), words_of(p.read_text("utf-8"))) for p in paths)


def words_of(source: str) -> Words:
    """Read a module, every node once."""
    words, said = Words(), set()
    for node in ast.walk(ast.parse(source)):  # a statement comes before what it is made of
        match node:
            case ast.Expr(value=ast.Constant() as value):
                said.add(id(value))
            case ast.Constant(value=str(text)) if id(node) not in said:
                words.strings.add(text)
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                words.identifiers.add(name)
            case ast.keyword(arg=str(name)) | ast.FunctionDef(name=name):
                words.identifiers.add(name)
            case ast.Compare(left=left, comparators=others):
                for operand in (left, *others):
                    words.operands.update(_texts([operand, *_elements(operand)]))
            case ast.MatchValue(value=value):
                words.operands.update(_texts([value]))
            case ast.Dict() | ast.Set() | ast.List() | ast.Tuple():
                found = set(_texts(_elements(node)))
                if len(found) > 1:
                    words.tables.append(found)
    return words


@cache
def identifiers() -> frozenset[str]:
    """All identifiers of adapterworks."""
    return frozenset(name for _, words in modules() for name in words.identifiers)


def _elements(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.Dict(keys=keys):
            return [key for key in keys if key is not None]
        case ast.Set(elts=elements) | ast.List(elts=elements) | ast.Tuple(elts=elements):
            return list(elements)
    return []


def _texts(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def held_by(words: Words, kind: Kind | None) -> frozenset[str]:
    """The strings of a module, or only those by which it decides about a kind."""
    return frozenset(words.strings if kind is None else words.deciding(kind))


def holders(kind: Kind, name: str, those: tuple[Module, ...] | None = None) -> list[str]:
    """The modules that hold a name."""
    of = kind if name in identifiers() else None
    return [path for path, words in those or modules() if name in held_by(words, of)]


NAMES = [(kind, name) for kind in KINDS for name in BUILTIN[kind]]


def test_a_name_is_held_by_three_modules_at_most() -> None:
    held = {(kind, name): holders(kind, name) for kind, name in NAMES}
    assert {of: modules for of, modules in held.items() if len(modules) > MOST} == {}


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("methods", "p-tuning-v2", 'f("p-tuning-v2")'),
        ("methods", "lora", 'kind == "lora"'),
        ("methods", "full", 'kind not in ("full", other)'),
        ("formats", "text", 'match row:\n  case "text":\n    pass'),
        ("formats", "messages", 'READ = {"messages": 1, "text": 2}'),
        ("methods", "qlora", 'kinds: Literal["lora", "qlora"]'),
    ],
)
def test_a_condition_on_a_name_is_found(kind: Kind, name: str, text: str) -> None:
    assert holders(kind, name, (("new.py", words_of(text)),)) == ["new.py"]


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("formats", "text", 'row["text"]; {"text": 1}; row.get("text")'),
        ("metrics", "exact_match", 'def f():\n  """exact_match"""'),
    ],
)
def test_another_use_of_the_word_is_none(kind: Kind, name: str, text: str) -> None:
    assert holders(kind, name, (("new.py", words_of(text)),)) == []


def at(target: str) -> Any:
    module, _, attribute = target.partition(":")
    __import__(module)
    return getattr(sys.modules[module], attribute)


def test_a_built_in_is_of_its_type_has_its_name_and_says_what_it_is() -> None:
    for kind, name in NAMES:
        of, entry = (kind, name), load(kind, name)
        assert isinstance(entry, at(TYPES[kind])), of
        assert name in (getattr(entry, "name", None), getattr(entry, "kind", None)), of
        described = getattr(entry, "description", None) or getattr(entry, "title", None)
        assert described, of
        assert "\n" not in described, of
        file = source_file(kind, name)
        assert file is not None, of
        assert inspect.cleandoc(ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""), of


def test_every_kind_has_entries_and_a_type() -> None:
    assert set(TYPES) == set(KINDS)
    assert all(BUILTIN[kind] for kind in KINDS)
    assert all(callable(at(target)) for target in MADE_BY.values())


def test_no_file_of_an_entry_imports_what_trains() -> None:
    """`adapters metrics` works where no extra is installed: heavy imports are inside functions."""
    heavy = {"torch", "transformers", "peft", "accelerate", "datasets", "vllm"}
    for kind, name in NAMES:
        file = source_file(kind, name)
        assert file is not None
        top = ast.parse(file.read_text("utf-8")).body
        imported = {
            alias.name.partition(".")[0]
            for node in top
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            (node.module or "").partition(".")[0]
            for node in top
            if isinstance(node, ast.ImportFrom)
        }
        assert not imported & heavy, (kind, name)
