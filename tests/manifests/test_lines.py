"""`key_lines` against `tomllib`: every path of a document has a line with that key on it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterworks.manifests.lines import key_lines


def paths(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every key path and array element of a parsed document."""
    found = [at] if at else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*at, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += paths(item, (*at, index))
    return found


BARE = st.text("abcxyz019_-", min_size=1, max_size=3)
# Keys that need quotes: dots, brackets, hashes, equals signs, spaces, both kinds of quotes, CJK.
ODD = st.text("ab.[]#= \"'{},中", min_size=0, max_size=4)


@st.composite
def keys(draw: st.DrawFn) -> tuple[str, str]:
    """A key's value and its spelling in TOML."""
    if draw(st.booleans()):
        bare = draw(BARE)
        return bare, bare
    odd = draw(ODD)
    if "'" not in odd and draw(st.booleans()):
        return odd, f"'{odd}'"
    escaped = odd.replace("\\", "\\\\").replace('"', '\\"')
    return odd, f'"{escaped}"'


SCALARS = st.sampled_from(
    [
        "1",
        "-2.5e3",
        "true",
        "1979-05-27 07:32:00",
        "'lit # = [x]'",
        '"esc \\" # ] }"',
        '"""\n[not.a.table]\nkey = 1 # "" \\""" still\n"""',
        "'''\n[[nor]]\nthis = \"one\"\n''''",
        '""""two quotes at the end"""""',
        '""',
        "''",
    ]
)


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    """A TOML value: scalar, array over one or more lines, or inline table."""
    shape = draw(st.sampled_from(["scalar", "scalar", "array", "table"])) if depth else "scalar"
    if shape == "scalar":
        return draw(SCALARS)
    if shape == "array":
        items = [draw(values(depth=depth - 1)) for _ in range(draw(st.integers(0, 3)))]
        glue = draw(st.sampled_from([", ", ",\n  ", ", # ] comment\n\n  "]))
        return "[" + glue.join(items) + draw(st.sampled_from(["]", "\n]"])) if items else "[]"
    names = draw(st.lists(keys(), max_size=3, unique_by=lambda key: key[0]))
    pairs = [f"{spelled} = {draw(values(depth=depth - 1))}" for _, spelled in names]
    return "{ " + ", ".join(pairs) + " }"


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Lines of a document: headers, arrays of tables, dotted keys, comments, blank lines."""
    lines = []
    for _ in range(draw(st.integers(1, 8))):
        dotted = " . ".join(
            spelled for _, spelled in draw(st.lists(keys(), min_size=1, max_size=3))
        )
        kind = draw(st.sampled_from(["pair", "pair", "table", "array", "comment", "blank"]))
        lines.append(
            {
                "pair": f"{dotted} = {draw(values())}  # note",
                "table": f"[ {dotted} ]",
                "array": f"[[{dotted}]]",
                "comment": "# [commented.out]",
                "blank": "",
            }[kind]
        )
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines) + "\n"


def check(text: str) -> int:
    """Assert the invariant for one text; returns the number of paths checked."""
    lines = key_lines(text)
    source = text.replace("\r\n", "\n").split("\n")
    known = paths(tomllib.loads(text))
    assert set(lines) == set(known)
    for path in known:
        if isinstance(key := path[-1], str):
            shown = source[lines[path] - 1]
            assert key in shown or key.replace('"', '\\"') in shown, (path, lines[path])
    return len(known)


@settings(max_examples=250, deadline=None)
@given(documents())
def test_every_key_path_has_a_line_with_the_key_on_it(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # clashing keys: hypothesis finds plenty of valid documents besides
    check(text)


def test_lines_are_exact_in_a_document_with_everything() -> None:
    text = '''# a comment with [brackets]
top = """
fake = 1
[fake]"""
[a.b]                       # 5
x.y = 1                     # 6
"quoted.key" = { p = 1, q = { r = 2 } }
[[a.list]]                  # 8
n = [
  1,
  { deep = 2 },             # 11
]
[[a.list]]                  # 13
n = 3
[a.list.sub]                # 15
k = 'v'
[a]                         # 17
late = true
'''
    lines = key_lines(text)
    expected = {
        ("top",): 2,
        ("a",): 5,
        ("a", "b"): 5,
        ("a", "b", "x"): 6,
        ("a", "b", "x", "y"): 6,
        ("a", "b", "quoted.key", "q", "r"): 7,
        ("a", "list"): 8,
        ("a", "list", 0): 8,
        ("a", "list", 0, "n", 0): 10,
        ("a", "list", 0, "n", 1, "deep"): 11,
        ("a", "list", 1): 13,
        ("a", "list", 1, "n"): 14,
        ("a", "list", 1, "sub", "k"): 16,
        ("a", "late"): 18,
    }
    assert {path: lines[path] for path in expected} == expected
    assert check(text) > len(expected)


@pytest.mark.parametrize("name", ["medical", "enterprise-kb", "code"])
def test_built_in_manifests_have_a_line_for_every_key(name: str) -> None:
    from adapterworks.manifests.document import find_manifest

    assert check(find_manifest(name).read_text(encoding="utf-8")) > 30
