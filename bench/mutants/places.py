"""Where a file can be made wrong: every operator of `operators.py` on every node that counts.

Positions are those of the source, so that everything around the node stays as it was written.
Annotations, docstrings, assertions (`strict=True` is one), what a `raise` says and what goes to the
log are left alone: no test should pin them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from bench.mutants.mutant import Edit
from bench.mutants.operators import OPERATORS, is_typing, silent


@dataclass(frozen=True, slots=True)
class Generated:
    """A defect made by rule.

    Attributes:
        statement: first and last line of what must run for it to matter.
        at_import: whether that runs when the module is imported, not when a function is called.
    """

    operator: str
    edit: Edit
    line: int
    statement: tuple[int, int]
    at_import: bool


def generate(file: str, source: bytes) -> list[Generated]:
    """Every defect that the operators make of one file, in the order of the source."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, statement, in_function in _visit(ast.parse(source)):
        for name, operator in OPERATORS.items():
            for other in operator(node):
                # A branch is changed by its condition; what hangs on it stays as it is written.
                place = node
                if isinstance(node, ast.If | ast.While):
                    place = node.test
                elif isinstance(node, ast.comprehension):
                    place = node.ifs[0]
                assert isinstance(place, ast.expr | ast.stmt)
                assert place.end_lineno is not None
                assert place.end_col_offset is not None
                start = starts[place.lineno - 1] + place.col_offset
                end = starts[place.end_lineno - 1] + place.end_col_offset
                text = ast.unparse(other)
                if isinstance(place, ast.expr) and not isinstance(other, ast.Constant | ast.Name):
                    text = f"({text})"
                edit = Edit(file, start, end, text)
                found.append(Generated(name, edit, place.lineno, statement, not in_function))
    return sorted(found, key=lambda mutant: (mutant.edit.start, mutant.edit.end, mutant.edit.text))


def _visit(tree: ast.Module) -> Iterator[tuple[ast.AST, tuple[int, int], bool]]:
    """The nodes that may be changed, each with its statement's lines and whether in a function."""
    waiting: list[tuple[ast.AST, tuple[int, int], bool]] = [(tree, (1, 1), False)]
    while waiting:
        node, statement, in_function = waiting.pop()
        if isinstance(node, ast.stmt):
            statement = _header(node)
        if not isinstance(node, ast.Module):
            yield node, statement, in_function
        for child in _children(node):
            # Defaults and decorators of a function are evaluated where it is defined.
            inside = in_function
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inside = in_function or child is not node.args
            waiting.append((child, statement, inside))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.JoinedStr | ast.Assert | ast.Raise | ast.Import | ast.ImportFrom):
        return  # parts of an f-string have no positions of their own before Python 3.12
    if isinstance(node, ast.arg) or (isinstance(node, ast.Expr) and silent(node.value)):
        return
    if isinstance(node, ast.If) and is_typing(node.test):
        return
    if isinstance(node, ast.keyword) and node.arg in ("hint", "strict"):
        return
    skipped: set[ast.AST | None] = set()
    if isinstance(node, ast.AnnAssign):
        skipped = {node.annotation}
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        skipped = {*node.decorator_list}
        if not isinstance(node, ast.ClassDef):
            skipped.add(node.returns)
    yield from (child for child in ast.iter_child_nodes(node) if child not in skipped)


def _header(node: ast.stmt) -> tuple[int, int]:
    """The statement's own lines, without the statements inside it."""
    body: list[ast.stmt] = getattr(node, "body", [])
    last = body[0].lineno - 1 if body else node.end_lineno
    assert last is not None
    return node.lineno, max(node.lineno, last)
