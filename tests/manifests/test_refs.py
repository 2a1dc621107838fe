"""References and sources: parsed once, printed back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.refs import Ref, check_alias, check_name, parse_ref
from adapterworks.manifests.sources import (
    FileSource,
    HubSource,
    NamedBase,
    RecipeSource,
    parse_base,
    parse_source,
)

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
ALIASES = NAMES.filter(lambda name: not name.isdigit())
REFS = st.one_of(
    st.builds(Ref, NAMES, version=st.integers(1, 999_999_999)),
    st.builds(Ref, NAMES, digest=st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)),
    st.builds(Ref, NAMES, alias=ALIASES),
)


@given(REFS)
def test_a_ref_is_parsed_back_from_its_text(ref: Ref) -> None:
    assert parse_ref(str(ref)) == ref


@given(st.text(max_size=80))
def test_any_text_is_a_ref_that_prints_back_or_a_clear_refusal(text: str) -> None:
    refusal, ref = None, None
    try:
        ref = parse_ref(text)
    except InvalidInput as error:
        refusal = error
    if refusal is not None:
        assert refusal.hint
        assert not refusal.message.endswith(".")
    else:
        assert str(ref) in (text, f"{text}:prod")
        assert parse_ref(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    ["", "Medical", "a/b", "../x", "a@", "a@0", "a@01", "a@-1", "a@sha256:12", "a@v1", "a:", "a:7",
     "a:B", "a@1:prod", "a:b:c", "a\n", "-a", "é", "a" * 65, "a@1\n", "Medical@1", "@1",
     "a/b@sha256:" + "0" * 64],
)  # fmt: skip
def test_malformed_refs_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_ref(text)


@pytest.mark.parametrize("selector", ["", "0", "01", "v1", "sha256:12", "1:prod", "1\n"])
def test_what_is_no_version_and_no_digest_is_named(selector: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_ref(f"a@{selector}")
    assert refused.value.message.endswith(f"`{selector}` is neither a version nor a digest")
    meant = "`a@1`" if selector == "v1" else "`a@7`"
    assert meant in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        ("v7", "write `medical@7`; `v7` is the tag of a push"),
        ("V12", "write `medical@12`; `V12` is the tag of a push"),
        ("latest", "nothing is called latest here: `medical` is `medical:prod`, and "),
        ("staging", "an alias is written `medical:staging`, a version `medical@7`"),
        ("0", "write `medical@7` or `medical@sha256:"),  # no version, and no alias can be called so
        ("No Name", "write `medical@7` or `medical@sha256:"),
        ("", "write `medical@7` or `medical@sha256:"),
    ],
)
def test_a_refusal_says_what_may_have_been_meant(selector: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_ref(f"medical@{selector}")
    assert (caught.value.hint or "").startswith(hint)


def test_a_bare_name_means_prod() -> None:
    assert parse_ref("medical") == Ref("medical", alias="prod")


def test_names_and_aliases_alone() -> None:
    assert check_name("7") == "7"
    with pytest.raises(InvalidInput):
        check_name("a:b")
    with pytest.raises(InvalidInput, match="`7` is not an alias"):
        check_alias("7")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_sources_of_rows() -> None:
    assert parse_source("icd-10-cm:train") == RecipeSource("icd-10-cm", "train")
    assert parse_source("rows/train.jsonl") == FileSource("rows/train.jsonl")
    assert parse_source("a b/数据.csv") == FileSource("a b/数据.csv")
    pinned = parse_source(f"hub:org/rows.v2@{COMMIT}#train")
    assert pinned == HubSource("org/rows.v2", COMMIT, "train")
    assert isinstance(pinned, HubSource)
    assert pinned.pinned
    assert str(pinned) == f"hub:org/rows.v2@{COMMIT}#train"
    branch = parse_source("hub:squad@refs/pr/3")
    assert branch == HubSource("squad", "refs/pr/3")
    assert isinstance(branch, HubSource)
    assert not branch.pinned


def test_bases() -> None:
    assert parse_base("smollm2-135m-instruct") == NamedBase("smollm2-135m-instruct")
    assert parse_base("./models/x") == FileSource("./models/x")
    assert parse_base("hub:org/Name-7B@main") == HubSource("org/Name-7B", "main")


@pytest.mark.parametrize(
    "text",
    ["rows", "rows.xls", "rows.txt", "rows.jsonl.xz", "/", "a:b:c", "hub:", "hub:org/rows",
     "hub:org/rows#train", "hub:org/rows@", "hub:a/b/c@main", "hub:../b@main", "hub:org/rows@main#",
     "hub:org/rows@ma in"],
)  # fmt: skip
def test_malformed_sources_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_source(text)
    assert caught.value.hint
