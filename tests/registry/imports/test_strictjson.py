"""JSON of strangers is bounded in depth, and takes time in proportion to its length."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.strictjson import parse

# Each is broken where a scan that goes back would begin again at every quote.
UNCLOSED = {
    "escaped quotes": b'{"' + rb"\"" * (1 << 19),
    "escaped quotes and an escape": b'{"' + rb"\"" * (1 << 19) + b"\\",
    "quotes": b'"' * ((1 << 20) + 1),
    "escapes": b'{"' + b"\\" * (1 << 20),
    "brackets in it": b'{"' + rb"\"[" * (1 << 18),
}


@pytest.mark.parametrize("name", UNCLOSED)
def test_a_text_that_is_never_closed_takes_no_longer_than_another(name: str) -> None:
    """In a process of its own, which can be stopped: it took hours."""
    program = (
        "import sys\n"
        "from adapterworks.registry.imports.errors import ImportRefused\n"
        "from adapterworks.registry.imports.strictjson import parse\n"
        "try:\n"
        "    parse(sys.stdin.buffer.read(), file='f', max_depth=3)\n"
        "except ImportRefused as error:\n"
        "    print(error.reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=UNCLOSED[name],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.startswith(b"not JSON")


@pytest.mark.parametrize("text", [r'{"a[[[[": "\\"}', r'{"a": "\"[[[["}', r'{"[{\\\"[{": [[1]]}'])
def test_brackets_in_a_text_are_no_depth(text: str) -> None:
    assert parse(text.encode(), file="f", max_depth=3) == json.loads(text)


@pytest.mark.parametrize("text", [r'{"a": [[[1]]]}', r'{"\\": [[[1]]]}', r'{"\"": [[[1]]]}'])
def test_brackets_after_a_text_are_counted(text: str) -> None:
    with pytest.raises(ImportRefused, match="nested deeper than 3 levels"):
        parse(text.encode(), file="f", max_depth=3)
