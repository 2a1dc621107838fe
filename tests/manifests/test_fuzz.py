"""Whatever stands in a manifest: a `Manifest`, or faults with lines; never another error."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from adapterworks.manifests.document import Document
from adapterworks.manifests.lines import key_lines
from adapterworks.manifests.load import check_document
from adapterworks.manifests.models import Manifest
from tests.manifests.conftest import MANIFEST

LINES = MANIFEST.splitlines()
VALUES = st.sampled_from(
    ["1", "-1", "0", "0.5", "nan", "inf", "true", '""', '"x"', '"hub:a/b"', '"a:b"', "[]", '["x"]',
     "[[1]]", "{}", "{ x = 1 }", '{ kind = "full" }', "[{}]", "1979-05-27", '"nf4"', "9" * 30]
)  # fmt: skip
KEYS = st.sampled_from(
    [
        *("adapter", "base", "method", "data", "train", "evaluate", "publish", "serve", "profiles"),
        *(
            "kind",
            "rank",
            "alpha",
            "virtual_tokens",
            "init_text",
            "gates",
            "mix",
            "replay",
            "source",
        ),
        *("augment", "share", "limit_test", "packing", "group_by_length", "loss_on", "metrics"),
        *("retention", "on", "suites", "columns", "target_modules", "format", "hub", "private"),
        *('""', '"a b"', "x"),
    ]
)


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """The good manifest with lines left out, values replaced and pairs put in."""
    lines = []
    for line in LINES:
        action = draw(st.sampled_from(["keep"] * 8 + ["drop", "value", "insert", "key"]))
        if action == "drop":
            continue
        key, separator, _ = line.partition(" = ")
        if action == "value" and separator:
            line = f"{key} = {draw(VALUES)}"
        if action == "key" and separator:
            line = f"{draw(KEYS)} = {draw(VALUES)}"
        lines.append(line)
        if action == "insert":
            lines.append(f"{draw(KEYS)} = {draw(VALUES)}")
    return "\n".join(lines) + "\n"


OVERRIDES = st.lists(st.builds("{}.{}={}".format, KEYS, KEYS, VALUES), max_size=2)


@settings(max_examples=400, deadline=None)
@given(mangled(), st.sampled_from([None, "quick", "x"]), OVERRIDES)
def test_any_manifest_is_valid_or_has_faults_with_lines(
    text: str, profile: str | None, overrides: list[str]
) -> None:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    document = Document("m.toml", text, Path("/m"), table, key_lines(text))
    manifest, faults = check_document(document, profile=profile, overrides=overrides)
    assert (manifest is None) == bool(faults)
    for fault in faults:
        assert fault.message
        assert fault.file == "--set" or 1 <= (fault.line or 0) <= len(text.splitlines())
    if manifest is not None:
        assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
