"""Keys that we do not have: the values that change nothing, and the others, which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.manifests.importing import axolotl_keys, llama_factory_keys, trl_keys
from adapterworks.manifests.importing.conversion import OFF, Draft, Not, Outcome, Rule

TABLES = {"axolotl": axolotl_keys, "llama-factory": llama_factory_keys, "trl": trl_keys}
NOT = [
    (program, key, rule)
    for program, keys in TABLES.items()
    for key, rule in keys.RULES.items()
    if isinstance(rule, Not)
]


def outcome(key: str, rule: Rule, value: Any) -> Outcome:
    draft = Draft({key: value})
    draft.apply({key: rule})
    return draft.notes[0].outcome


def opposites(value: Any) -> list[Any]:
    """What a program does not read as the same."""
    if isinstance(value, bool):
        return [not value, str(not value).lower(), int(value)]
    if isinstance(value, int | float):
        return [value + 2, -1.0 - value, str(value + 2), bool(value)]
    return [f"not_{value}", not value] if value else [[1], "x"]


def test_the_opposite_of_what_changes_nothing_is_refused() -> None:
    assert len(NOT) > 100
    for program, key, rule in NOT:
        for harmless in rule.harmless:
            assert outcome(key, rule, harmless) == "no effect", (program, key, harmless)
        if rule.harmless == OFF:
            continue
        others = [other for value in rule.harmless for other in opposites(value)]
        for value in (*others, True, False, 0):
            if not any(type(value) is type(one) and value == one for one in rule.harmless):
                assert outcome(key, rule, value) == "refused", (program, key, value)


@pytest.mark.parametrize("value", [True, 1, 0.5, "x", "true", [1], {"a": 0}])
def test_what_is_switched_on_is_refused(value: Any) -> None:
    assert outcome("key", Not("why"), value) == "refused"


@pytest.mark.parametrize("value", ["True", "true", True])
def test_a_switch_may_be_a_text(value: Any) -> None:
    assert outcome("key", Not("why", (True,)), value) == "no effect"


def test_none_is_the_default() -> None:
    draft = Draft({"key": None})
    draft.apply({"key": Not("why", (True,))})
    assert draft.notes == []
