"""`stdlib-ruff`: a function of the CPython standard library + one lint rule → the fixed function.

The answer is ruff's own fix, kept only if ruff then finds the rule nowhere in it and it still
parses as one function, different from the first. Invariant: for one CPython version and one ruff
version the rows are the same on every machine (fixed rules, fixed target version, no configuration
read); all functions of one source file share a split.
"""

from __future__ import annotations

import ast
import json
import platform
import sysconfig
import tempfile
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from adapterworks.builders.data import linting
from adapterworks.builders.data.linting import read_source, run_ruff, write_sources
from adapterworks.builders.data.recipes.recipe import SPLITS, Derived, Recipe, hash_split
from adapterworks.builders.data.rows import Row, chat
from adapterworks.manifests.digests import digest_bytes, digest_json

RULES = (
    *("E713", "PIE790", "PLR1714", "RET501", "RET503", "RET504", "RET505", "RET506", "RSE102"),
    *("RUF005", "SIM102", "SIM103", "SIM108", "SIM118", "UP030", "UP031", "UP032"),
)
SHORTEST, LONGEST = 3, 25  # lines
MOST_CHARACTERS = 900
TEST, VALIDATION = 10, 10  # per cent of source files
QUESTION = "Fix {code} ({name}) in this Python function. Answer with the function only.\n\n{source}"
# Not part of the library proper: its tests, bundled wheels, and what other packages installed.
_OUTSIDE = frozenset(
    ("site-packages", "dist-packages", "test", "tests", "lib-dynload", "idlelib", "turtledemo")
) | {"ensurepip"}


@dataclass(frozen=True)
class Function:
    """A short function of the standard library; `file` is relative to the library's folder."""

    file: str
    name: str
    source: str


@dataclass(frozen=True)
class Fix:
    """One function, one rule, and the function without the rule's violations."""

    function: Function
    code: str
    name: str
    fixed: str


def derive(cache: Path | None = None) -> Derived:
    """The recipe's rows: about 10 s, or under a second from `cache`."""
    return derive_from(Path(sysconfig.get_path("stdlib")), cache)


def derive_from(library: Path, cache: Path | None) -> Derived:
    """The rows of a library's folder.

    The cache's key covers the library's bytes, the versions of Python and ruff, and this code.
    """
    contents = {
        str(path.relative_to(library)): path.read_bytes()
        for path in sorted(library.rglob("*.py"))
        if not _OUTSIDE & set(path.relative_to(library).parts)
    }
    versions = {"python": platform.python_version(), "ruff": metadata.version("ruff")}
    library_digest = digest_json({name: digest_bytes(data) for name, data in contents.items()})
    key = digest_json({"library": library_digest, "code": _code_digest(), **versions})
    stored = cache / f"stdlib-ruff-{key.removeprefix('sha256:')[:32]}.json" if cache else None
    if stored is not None and stored.is_file():
        value = json.loads(stored.read_text(encoding="utf-8"))
        fixes = [Fix(**{**fix, "function": Function(**fix["function"])}) for fix in value["fixes"]]
        count = value["functions"]
    else:
        functions = list(short_functions(contents))
        count = len(functions)
        fixes = fix_functions(functions)
        if stored is not None:
            _store(stored, {"functions": count, "fixes": [asdict(fix) for fix in fixes]})
    splits: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for fix in fixes:
        split = hash_split(fix.function.file, test=TEST, validation=VALIDATION)
        splits[split].append(_row(fix))
    return Derived(
        {split: tuple(rows) for split, rows in splits.items()},
        f"CPython {versions['python']} standard library + ruff=={versions['ruff']}",
        {"Lib/**/*.py": library_digest},
        {"functions": count, "fixed": len(fixes), "rules": len({fix.code for fix in fixes})},
    )


def _code_digest() -> str:
    files = (Path(__file__), Path(linting.__file__))
    return digest_json([digest_bytes(file.read_bytes()) for file in files])


def short_functions(contents: dict[str, bytes]) -> Iterator[Function]:
    """Functions and methods of a few lines, dedented, without AST duplicates."""
    seen: set[str] = set()
    for file, data in contents.items():
        try:
            text = data.decode("utf-8")
            module = ast.parse(text)
        except (UnicodeDecodeError, SyntaxError):
            continue  # a few files are in other encodings or are deliberately broken
        lines = text.splitlines(keepends=True)
        bodies = [module.body, *(n.body for n in module.body if isinstance(n, ast.ClassDef))]
        for node in (n for body in bodies for n in body if isinstance(n, ast.FunctionDef)):
            cut = "".join(lines[node.lineno - 1 : node.end_lineno])
            source = textwrap.dedent(cut).rstrip() + "\n"
            if SHORTEST <= source.count("\n") <= LONGEST and len(source) <= MOST_CHARACTERS:
                shape = _shape(source)
                if shape is not None and shape not in seen:
                    seen.add(shape)
                    yield Function(file, node.name, source)


def fix_functions(functions: list[Function]) -> list[Fix]:
    """Every (function, rule) that ruff fixes fully; one ruff run to find them, one per rule."""
    found: dict[str, list[int]] = defaultdict(list)
    names: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="stdlib-ruff-") as temporary:
        write_sources(Path(temporary), enumerate(function.source for function in functions))
        for number, violation in run_ruff(Path(temporary), RULES):
            code = violation["code"]
            names[code] = violation["url"].rstrip("/").rsplit("/", 1)[-1]
            if violation["fix"] and number not in found[code][-1:]:
                found[code].append(number)
    return [fix for code in RULES for fix in _fix_rule(functions, found[code], code, names)]


def _fix_rule(
    functions: list[Function], numbers: list[int], code: str, names: dict[str, str]
) -> list[Fix]:
    fixes = []
    with tempfile.TemporaryDirectory(prefix="stdlib-ruff-") as temporary:
        folder = Path(temporary)
        write_sources(folder, ((number, functions[number].source) for number in numbers))
        left = {number for number, _ in run_ruff(folder, (code,), fix=True)}
        for number in numbers:
            fixed = read_source(folder, number)
            before, after = _shape(functions[number].source), _shape(fixed)
            if number not in left and after is not None and after != before:
                fixes.append(Fix(functions[number], code, names[code], fixed))
    return fixes


def _shape(source: str) -> str | None:
    """A function's AST as text; None unless the source is exactly one function."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return None
    return ast.dump(body[0]) if len(body) == 1 and isinstance(body[0], ast.FunctionDef) else None


def _store(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
    Path(file.name).replace(path)


def _row(fix: Fix) -> Row:
    source = fix.function.source
    return chat(
        QUESTION.format(code=fix.code, name=fix.name, source=source.rstrip("\n")),
        fix.fixed.rstrip("\n"),
        term=source,
        label=fix.code,
        rule=fix.code,
        file=fix.function.file,
        function=fix.function.name,
    )


RECIPE = Recipe(
    name="stdlib-ruff",
    description="A standard-library function and one lint rule → the fixed function",
    license="PSF-2.0; fixes by ruff (MIT)",
    derive=derive,
)
