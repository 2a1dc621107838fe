"""How code is made wrong by rule: one function an operator, one row each in `OPERATORS`.

An operator gets a node and gives the expressions or statements that may stand in its place.
`places.py` says where they are applied.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip
_OTHER_CALL = {"min": "max", "max": "min", "any": "all", "all": "any"}
_DROPPED = {"abs", "int", "round", "sorted", "reversed", "ceil", "sqrt", "exp", "set"}
SILENT = {"_log", "logging", "warnings"}


def comparison(node: ast.AST) -> Iterator[ast.AST]:
    """`<` becomes `<=`, `==` becomes `!=`, `in` becomes `not in`, and back."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            other = copy.deepcopy(node)
            other.ops[index] = _FLIPPED[type(operator)]()
            yield other


def arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    """`+` becomes `-`, `*` becomes `/`, and back; `+=` may also forget what it had."""
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _SWAPPED:
        if isinstance(node, ast.BinOp) and _is_text(node.left, node.right):
            return
        other = copy.deepcopy(node)
        other.op = _SWAPPED[type(node.op)]()
        yield other
    if isinstance(node, ast.AugAssign):
        yield ast.Assign([node.target], node.value, lineno=node.lineno)


def constant(node: ast.AST) -> Iterator[ast.AST]:
    """A number moves by one, a truth value turns over."""
    if not isinstance(node, ast.Constant):
        return
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
        if node.value:
            yield ast.Constant(node.value - 1)
    elif isinstance(node.value, float):
        yield ast.Constant(node.value * 2 + (node.value == 0.0))


def logic(node: ast.AST) -> Iterator[ast.AST]:
    """`and` becomes `or`; `not` is forgotten; one arm of a choice is always taken."""
    if isinstance(node, ast.BoolOp):
        other = copy.deepcopy(node)
        other.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield other
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)


def call(node: ast.AST) -> Iterator[ast.AST]:
    """A call that is a statement is dropped; `min` becomes `max`; `abs(x)` becomes `x`."""
    if isinstance(node, ast.Expr):
        called = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(called, ast.Call) and root_of(called.func) not in SILENT:
            yield ast.Pass()
    elif isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred):
        name = _last(node.func)
        if name in _OTHER_CALL and isinstance(node.func, ast.Name):
            other = copy.deepcopy(node)
            other.func = ast.Name(_OTHER_CALL[name])
            yield other
        elif name in _DROPPED:
            yield node.args[0]


def branch(node: ast.AST) -> Iterator[ast.AST]:
    """A branch is never taken, or always; a loop's body never runs; a `raise` is forgotten."""
    if isinstance(node, ast.If | ast.While) and not is_typing(node.test):
        yield ast.Constant(False)
        if isinstance(node, ast.If):
            yield ast.Constant(True)
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield ast.Constant(True)
    elif isinstance(node, ast.Raise | ast.Continue | ast.Break):
        yield ast.Pass()


def returned(node: ast.AST) -> Iterator[ast.AST]:
    """A function returns nothing."""
    if isinstance(node, ast.Return) and node.value is not None:
        # `False` is as good as nothing to nearly everybody, and `constant` turns it over.
        nothing = isinstance(node.value, ast.Constant) and node.value.value in (None, False)
        if not nothing:
            yield ast.Return(ast.Constant(None))


OPERATORS: dict[str, Callable[[ast.AST], Iterator[ast.AST]]] = {
    function.__name__: function
    for function in (comparison, arithmetic, constant, logic, call, branch, returned)
}


def is_typing(node: ast.expr) -> bool:
    """Whether a condition holds for type checkers only."""
    return isinstance(node, ast.Name) and node.id == "TYPE_CHECKING"


def silent(node: ast.expr) -> bool:
    """Whether a call only says something to the log."""
    return isinstance(node, ast.Call) and root_of(node.func) in SILENT


def root_of(node: ast.expr) -> str:
    """The name that a dotted call begins with."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else root_of(node)


def _is_text(*nodes: ast.expr) -> bool:
    return any(
        isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
        for node in nodes
    )
