"""One spelling of every value, one name for every byte string."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterworks.manifests.digests import (
    DIGEST_PATTERN,
    canonical_json,
    digest_bytes,
    digest_file,
    digest_json,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_example_of_rfc_8785() -> None:
    """Section 3.2.2 and 3.2.3 of the RFC."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical_json(value) == (
        b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        b'"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


@given(JSON)
def test_canonical_json_does_not_depend_on_key_order_and_is_json(value: object) -> None:
    shuffled = json.loads(json.dumps(value, sort_keys=True))
    assert canonical_json(shuffled) == canonical_json(value)
    # JSON knows one kind of number: read all of them as floats, as ECMAScript does.
    read = json.loads(canonical_json(value), parse_int=float)
    assert canonical_json(read) == canonical_json(value)
    assert DIGEST_PATTERN.fullmatch(digest_json(value))


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    path = tmp_path / "file"
    path.write_bytes(data)
    assert digest_file(path) == digest_bytes(data) == f"sha256:{hashlib.sha256(data).hexdigest()}"
