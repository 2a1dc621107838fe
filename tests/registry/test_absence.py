"""Which absent bytes are a fault: every combination of facts is told apart."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.releases.absence import Absence, Presence, State, judge
from adapterworks.registry.releases.roles import (
    check_withheld,
    is_private,
    may_be_erased,
    may_be_withheld,
    role_of,
)

WITHHELD = Absence("withheld", "2026-11-28T00:00:00Z", "ann", "not sent")
ERASED = Absence("erased", "2026-11-28T00:00:00Z", "ann", "consent withdrawn")
WEIGHTS = ("adapter/adapter_model.safetensors", "servable/prefix.safetensors", "full/a.safetensors")
PROOF = "fingerprint.json"
OTHERS = ("predictions.jsonl", "training.jsonl", "adapter.lock", "plots/loss.png", "README.md")
RECORD = ""
SOUND = {"here", "withheld", "erased"}  # as it should be

EXPECTED: dict[tuple[str, Presence, Absence | None], State] = {
    **{(path, "right", None): "here" for path in (*WEIGHTS, PROOF, *OTHERS, RECORD)},
    **{(path, "right", WITHHELD): "here" for path in (*WEIGHTS, PROOF, *OTHERS, RECORD)},
    **{(path, "wrong", None): "corrupt" for path in (*WEIGHTS, PROOF, *OTHERS, RECORD)},
    **{(path, "wrong", WITHHELD): "corrupt" for path in (*WEIGHTS, PROOF, *OTHERS, RECORD)},
    **{(path, "absent", None): "missing" for path in (*WEIGHTS, PROOF, *OTHERS, RECORD)},
    **{(path, "right", ERASED): "unerased" for path in (*WEIGHTS, PROOF, *OTHERS, RECORD)},
    **{(path, "wrong", ERASED): "unerased" for path in (*WEIGHTS, PROOF, *OTHERS, RECORD)},
    **{(path, "absent", WITHHELD): "withheld" for path in (PROOF, *OTHERS)},
    **{(path, "absent", WITHHELD): "missing" for path in (*WEIGHTS, RECORD)},
    **{(path, "absent", ERASED): "erased" for path in OTHERS},
    **{(path, "absent", ERASED): "missing" for path in (*WEIGHTS, PROOF, RECORD)},
}


def test_the_table_has_every_combination() -> None:
    paths = (*WEIGHTS, PROOF, *OTHERS, RECORD)
    facts = itertools.product(paths, ("right", "wrong", "absent"), (None, WITHHELD, ERASED))
    assert EXPECTED.keys() == set(facts)


def test_every_combination_of_facts() -> None:
    assert {facts: judge(*facts) for facts in EXPECTED} == EXPECTED


@given(
    path=st.text(max_size=40),
    presence=st.sampled_from(["right", "wrong", "absent"]),
    absence=st.sampled_from([None, WITHHELD, ERASED]),
)
def test_nothing_is_sound_without_right_bytes_or_a_reason(
    path: str, presence: Presence, absence: Absence | None
) -> None:
    state = judge(path, presence, absence)
    if state in SOUND:
        assert presence == "right" or (presence == "absent" and absence is not None)
    if role_of(path) in ("adapter", "servable", "full"):
        assert (state in SOUND) == (presence == "right" and absence != ERASED)


@given(path=st.text(max_size=40))
def test_what_may_be_erased_may_be_withheld(path: str) -> None:
    assert may_be_withheld(path) or not may_be_erased(path)
    assert not is_private(path) or may_be_erased(path)


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("servable/adapter_config.json", "servable"),
        ("fingerprint.json", "fingerprint"),
        ("predictions.jsonl", "predictions"),
        ("samples/step-1.jsonl", "samples"),
        ("notes.txt", "other"),
        ("Adapter/x", "other"),
        ("../adapter/x", "other"),
    ],
)
def test_a_role_is_told_by_the_place(path: str, role: str) -> None:
    assert role_of(path) == role


def test_weights_cannot_be_withheld() -> None:
    check_withheld([PROOF, *OTHERS], "`--withhold`")
    with pytest.raises(InvalidInput, match="`--withhold` means `adapter/adapter_model"):
        check_withheld([*OTHERS, *WEIGHTS], "`--withhold`")
