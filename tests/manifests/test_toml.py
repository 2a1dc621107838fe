"""What is written is read back as it was."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from adapterworks.manifests.toml import to_toml

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
NAMES = st.one_of(
    st.from_regex(r"\A[a-z_]{1,8}\Z"),
    st.from_regex(r"\A[a-z0-9.*^$\\\" ]{1,8}\Z"),  # patterns of modules
)
PLAIN = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-(2**31), 2**31),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.lists(TEXTS, max_size=3),
)
TABLES = st.dictionaries(
    NAMES,
    st.one_of(
        PLAIN,
        st.dictionaries(NAMES, PLAIN, min_size=1, max_size=3),
        st.lists(st.dictionaries(NAMES, PLAIN, min_size=1, max_size=3), min_size=1, max_size=3),
    ),
    max_size=4,
)


@given(st.dictionaries(NAMES, TABLES.filter(bool), max_size=3), TEXTS)
def test_any_table_comes_back(manifest: dict[str, object], comment: str) -> None:
    comments = {f"{table}.{key}": comment for table, keys in manifest.items() for key in keys}  # type: ignore[attr-defined]
    assert tomllib.loads(to_toml(manifest, comments)) == manifest


def test_a_comment_stands_beside_its_key() -> None:
    assert to_toml({"train": {"seed": 3}}, {"train.seed": "seed 3"}) == (
        "[train]\nseed = 3  # seed 3\n"
    )
