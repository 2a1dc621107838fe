"""Lines of JSON: only a line feed ends one, and one that is not ended is not there yet."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from adapterworks.manifests.json_lines import ended_lines, read_json_lines

ODD = st.text(st.sampled_from("a\u2028\u2029\x85\x0b\x0c\x1c\r\n 中"))


@given(st.lists(ODD), st.booleans())
def test_what_json_writes_is_read(texts: list[str], escaped: bool) -> None:
    """Characters at which `str.splitlines` cuts, which JSON leaves as they are."""
    data = "".join(json.dumps(text, ensure_ascii=escaped) + "\n" for text in texts).encode()
    assert read_json_lines(data) == texts
    for end in range(len(data)):  # a kill, or a copy made meanwhile: wherever it cuts
        found = read_json_lines(data[:end])
        assert found == texts[: data[:end].count(b"\n")]


def test_blank_lines_are_none() -> None:
    assert ended_lines(b'\n  \n{"n": 1}\n\n{"n": 2}\nhalf') == [b'{"n": 1}', b'{"n": 2}']
