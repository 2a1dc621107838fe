"""Whether the calls in an answer are calls that an API has: its functions exist, and take what they
are given.

The row says what the API is: names and signatures as `inspect.signature` prints them, in a column
`api`. Nothing is imported and nothing is run, neither the API nor the answer; what a name stands
for is followed through imports and through variables that hold what a class of the API made.

Invariant: a call whose function cannot be told (a parameter's method, a result's) is not judged.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.code import source_of
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric
from adapterworks.manifests.errors import InvalidInput

_OBJECT = re.compile(r"<[^<>]*>")  # how a default prints itself that has no literal
_OWN = ("self", "cls")


class Api:
    """Names with what can be called by them.

    Args:
        signatures: full name → signature, `(obj, *, indent=None)`; None where it is not called.

    Raises:
        ValueError: a signature is none.
    """

    def __init__(self, signatures: Mapping[str, str | None]) -> None:
        self.names = {name: _arguments(name, text) for name, text in signatures.items()}
        parts = [name.split(".") for name in signatures]
        self.prefixes = {".".join(p[:end]) for p in parts for end in range(1, len(p) + 1)}
        self.roots = {part[0] for part in parts}

    def has(self, name: str) -> bool:
        """Whether it is a name of the API, or of a module or class in it."""
        return name in self.prefixes

    def covers(self, name: str) -> bool:
        """Whether it would be one if there were such a thing."""
        return name.partition(".")[0] in self.roots


def valid(answer: str, api: Api) -> bool:
    """Whether an answer calls the API, and every call that can be told is one that it has."""
    try:
        tree = ast.parse(source_of(answer))
        calls = [*_calls(tree, api)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(calls) and all(calls)


def _calls(tree: ast.Module, api: Api) -> Iterator[bool]:
    """One for each import and call of the API: whether it has that."""
    meaning, found = _imported(tree, api)
    yield from (False for _ in range(found))
    own = _bound(tree)
    made = _made(tree, api, meaning, own)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = _name(node.func, meaning, own, api)
        method = False
        if name is None and isinstance(node.func, ast.Attribute):
            holder = node.func.value
            of = made.get(holder.id) if isinstance(holder, ast.Name) else None
            name, method = (f"{of}.{node.func.attr}" if of else None), True
        if name is None or not api.covers(name):
            continue
        if name not in api.names:
            # A class is called by its own name; of an object in the API nobody knows more.
            if api.has(name) or _object(name, api):
                continue
            yield False
            continue
        arguments = api.names[name]
        yield arguments is not None and _takes(arguments, node, method=method)


def _imported(tree: ast.Module, api: Api) -> tuple[dict[str, str], int]:
    """What names stand for, and how many are imported that the API does not have."""
    meaning: dict[str, str] = {}
    missing = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                missing += api.covers(alias.name) and not api.has(alias.name)
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                meaning[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if alias.name == "*":
                    start = f"{node.module}."
                    inside = (n for n in api.prefixes if n.startswith(start))
                    meaning |= {n.removeprefix(start): n for n in inside}
                    continue
                missing += api.covers(name) and not api.has(name)
                meaning[alias.asname or alias.name] = name
    return meaning, missing


def _bound(tree: ast.Module) -> set[str]:
    """Names that the answer gives a meaning of its own."""
    own: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.arg):
            own.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
    return own


def _made(tree: ast.Module, api: Api, meaning: Mapping[str, str], own: set[str]) -> dict[str, str]:
    """Variables that hold what a class of the API made, and nothing else anywhere."""
    made: dict[str, str] = {}
    stored = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and _stores(n)]
    given = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    for variable, value in _assigned(tree):
        if not isinstance(value, ast.Call) or stored.count(variable) > 1 or variable in given:
            continue
        name = _name(value.func, meaning, own, api)
        if name in api.names and any(n.startswith(f"{name}.") for n in api.names):
            made[variable] = str(name)
    return made


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            target, value = node.optional_vars, node.context_expr
        else:
            continue
        if isinstance(target, ast.Name):
            yield target.id, value


def _stores(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _name(function: ast.expr, meaning: Mapping[str, str], own: set[str], api: Api) -> str | None:
    """The full name of what is called, where it begins with an import or a bare name of the API."""
    parts: list[str] = []
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if not isinstance(function, ast.Name) or function.id in own:
        return None
    first = meaning.get(function.id)
    if first is None and not parts and function.id in api.names:
        first = function.id
    return None if first is None else ".".join((first, *reversed(parts)))


def _object(name: str, api: Api) -> bool:
    """Whether something in front of the name's end is known as an object and not by what it has."""
    parts = name.split(".")
    return any(
        api.names.get(start, ...) is None
        for start in (".".join(parts[:end]) for end in range(1, len(parts)))
    )


def _takes(arguments: ast.arguments, call: ast.Call, *, method: bool) -> bool:
    """Whether a call can be bound to a signature; what is unpacked (`*more`) may be anything."""
    before, either = [*arguments.posonlyargs], [*arguments.args]
    if method and (before or either) and (before or either)[0].arg in _OWN:
        (before or either).pop(0)
    places = [a.arg for a in (*before, *either)]
    stars = any(isinstance(given, ast.Starred) for given in call.args)
    several = any(keyword.arg is None for keyword in call.keywords)
    positions = sum(not isinstance(given, ast.Starred) for given in call.args)
    if positions > len(places) and arguments.vararg is None:
        return False
    taken = set(places[:positions])
    by_name = {a.arg for a in (*either, *arguments.kwonlyargs)}
    for keyword in call.keywords:
        if keyword.arg is None:
            continue
        if keyword.arg in taken or (keyword.arg not in by_name and arguments.kwarg is None):
            return False
        taken.add(keyword.arg)
    if stars or several:
        return True
    needed = places[: len(places) - len(arguments.defaults)]
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    needed += [argument.arg for argument, default in pairs if default is None]
    return set(needed) <= taken


def _arguments(name: str, text: str | None) -> ast.arguments | None:
    if text is None:
        return None
    try:
        (function,) = ast.parse(f"def f{_OBJECT.sub('...', text)}: ...").body
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(f"`{name}` has no signature: {text!r}") from error
    if not isinstance(function, ast.FunctionDef):
        raise ValueError(f"`{name}` has no signature: {text!r}")
    return function.args


@lru_cache(maxsize=64)
def _read(text: str) -> Api:
    given = json.loads(text)
    if not isinstance(given, dict) or not given:
        raise ValueError("it is no table of names")
    return Api(given)


def _apis_of(rows: Sequence[Row]) -> list[Api]:
    """The rows' columns `api`: names with signatures, as a table or as JSON."""
    apis = []
    for number, row in enumerate(rows, 1):
        given = row.meta.get("api")
        try:
            apis.append(_read(given if isinstance(given, str) else json.dumps(given)))
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidInput(
                f"row {row.number or number} has no signatures in its column `api`: {error}",
                hint='write names with what `inspect.signature` prints: `{"json.dumps": "(obj, *, '
                'indent=None)"}`',
            ) from error
    return apis


def _valid(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    pairs = zip(predictions, _apis_of(rows), strict=True)
    return [float(valid(prediction.text, api)) for prediction, api in pairs]


def _require(rows: Sequence[Row]) -> None:
    for number, (row, api) in enumerate(zip(rows, _apis_of(rows), strict=True), 1):
        if not valid(row.answer, api):
            raise InvalidInput(
                f"the answer of row {row.number or number} makes no valid call of its own `api`: "
                f"{row.excerpt(80)}",
                hint="`api_valid` holds answers against it: complete the signatures, or mend the "
                "answer",
            )


API_VALID = replace(
    mean_metric(
        "api_valid",
        "The answer's Python calls the row's `api`, and only as its signatures allow; nothing is "
        "run",
        _valid,
    ),
    require=_require,
    reads_columns=True,
    packages=("python",),
)
