"""What the operators make of code, line by line, and what they leave alone."""

from __future__ import annotations

import ast

import pytest

from bench.mutants.mutant import Edit
from bench.mutants.places import generate


def mutants(source: str) -> set[str]:
    """Every mutant of one or more lines, in one line each without the function around it."""
    text = source.encode()
    made = {mutant.edit.apply(text).decode() for mutant in generate("f.py", text)}
    for mutant in made:
        ast.parse(mutant)  # each is a program
    return made


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b\n", {"x = (a <= b)\n"}),
        ("x = a == b\n", {"x = (a != b)\n"}),
        ("x = a in b\n", {"x = (a not in b)\n"}),
        ("x = a < b <= c\n", {"x = (a <= b <= c)\n", "x = (a < b < c)\n"}),
        ("x = a + b\n", {"x = (a - b)\n"}),
        ("x = 'a' + b\n", set()),
        ("x += y\n", {"x -= y\n", "x = y\n"}),
        ("x = 3\n", {"x = 4\n", "x = 2\n"}),
        ("x = 0\n", {"x = 1\n"}),
        ("x = 0.5\n", {"x = 1.0\n"}),
        ("x = 0.0\n", {"x = 1.0\n"}),
        ("x = True\n", {"x = False\n"}),
        ("x = 'text'\n", set()),
        ("x = a and b\n", {"x = (a or b)\n"}),
        ("x = not a\n", {"x = a\n"}),
        ("x = a if b else c\n", {"x = a\n", "x = c\n"}),
        ("f(a)\n", {"pass\n"}),
        ("x = min(a, b)\n", {"x = (max(a, b))\n"}),
        ("x = abs(a)\n", {"x = a\n"}),
        ("if a:\n    b()\n", {"if False:\n    b()\n", "if True:\n    b()\n", "if a:\n    pass\n"}),
        ("while a:\n    b()\n", {"while False:\n    b()\n", "while a:\n    pass\n"}),
        ("x = [a for a in b if c]\n", {"x = [a for a in b if True]\n"}),
        ("raise ValueError(3)\n", {"pass\n"}),
        ("def f():\n    return a\n", {"def f():\n    return None\n"}),
        ("def f():\n    return None\n", set()),
        ("def f():\n    return False\n", {"def f():\n    return True\n"}),
        ("def f(a: Literal[1] = 2) -> Literal[3]:\n    ...\n",
         {"def f(a: Literal[1] = 3) -> Literal[3]:\n    ...\n",
          "def f(a: Literal[1] = 1) -> Literal[3]:\n    ...\n"}),
    ],
)  # fmt: skip
def test_each_operator(source: str, expected: set[str]) -> None:
    assert mutants(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""Docstring with 3 < 4."""\n',
        "assert a < 3\n",
        "_log.info('x', 3)\n",
        "x: Literal[3] = y\n",
        "x = f'{a + 3}'\n",
        "x = Error(a, hint=f(min(a, 3)))\n",
        "x = zip(a, b, strict=True)\n",
        "if TYPE_CHECKING:\n    import a\n",
        "@wraps(3)\nclass A:\n    ...\n",
    ],
)
def test_what_nobody_should_pin_is_left_alone(source: str) -> None:
    assert mutants(source) == set()


def test_positions_are_those_of_the_source_also_behind_other_letters() -> None:
    assert mutants("x = {'é': a < b}  # α\n") == {"x = {'é': (a <= b)}  # α\n"}


def test_a_statement_over_several_lines_is_covered_by_any_of_them() -> None:
    source = b"x = 1\ny = f(\n    a,\n    2,\n)\nif (\n    z\n):\n    w = 5\n"
    lines = {(m.line, m.statement) for m in generate("f.py", source)}
    assert lines == {(1, (1, 1)), (4, (2, 5)), (7, (6, 8)), (9, (9, 9))}


def test_defaults_run_at_import_and_bodies_do_not() -> None:
    source = b"N = 1\ndef f(a=2):\n    return g(3)\nclass C:\n    b = 4\n"
    found = {
        (m.edit.text, m.at_import) for m in generate("f.py", source) if m.operator == "constant"
    }
    assert {text for text, at_import in found if at_import} == {"2", "0", "3", "1", "5"}
    assert {text for text, at_import in found if not at_import} == {"4", "2"}


def test_an_edit_shows_its_lines_before_and_after() -> None:
    source = b"a = 1\n  b = (2 +\n       3)\nc = 4\n"
    edit = Edit("f.py", source.index(b"2"), source.index(b"3"), "7 -")
    assert edit.lines(source) == (2, 3)
    assert edit.shown(source) == ("b = (2 + 3)", "b = (7 -3)")
