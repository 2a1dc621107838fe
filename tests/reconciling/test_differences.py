"""The decision alone: what exists and what should, as values; nothing is built, read or opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapterworks.reconciling.build_inputs import BuildInputs, SourceRows
from adapterworks.reconciling.differences import differences
from adapterworks.reconciling.entries import Build, Differences, Entry, Load, Promote, Retire
from adapterworks.reconciling.state import (
    Declared,
    EngineState,
    Existing,
    GatewayState,
    Held,
    Loaded,
    Version,
    World,
)
from adapterworks.registry.releases.types import AliasMove

MADE = BuildInputs(
    settings={
        "method.rank": 16,
        "train.epochs": 3.0,
        "evaluate.gates": [],
        "adapter.tags": [],
        "base.model": "tiny",
        "train.trackers": [],
    },
    base="sha256:base",
    splits={"train": "sha256:1", "validation": "sha256:2", "test": "sha256:3"},
    sources=(SourceRows("data.train", "train.jsonl", "sha256:t", 24),),
    code={"train": {"torch": "2.13.0"}, "evaluate": {"exact_match": "sha256:m"}},
)


def declared(name: str = "tiny", **changes: Any) -> Declared:
    values = {"file": f"{name}.toml", "name": name, "alias": "candidate", "made": MADE}
    return Declared(**{**values, **changes})


def version(
    number: int = 1, made: BuildInputs | None = MADE, failed: tuple[str, ...] = ()
) -> Version:
    return Version(number, f"sha256:v{number}", "sha256:base", made, failed, f"2026-01-0{number}")


def existing(
    *versions: Version, name: str = "tiny", aliases: dict[str, Held] | None = None, **values: Any
) -> Existing:
    held = {"candidate": Held(versions[0].version)} if aliases is None and versions else aliases
    return Existing(name, versions, held or {}, **values)


def compare(item: Declared, *found: Existing, prune: bool = False, **world: Any) -> Differences:
    by_name = {one.name: one for one in found}
    return differences(World("ads", (item,), by_name, **world), prune=prune)


def only(found: Differences) -> Entry:
    (entry,) = found.entries
    return entry


def test_nothing_differs() -> None:
    entry = only(compare(declared(), existing(version())))
    assert (entry.sign, entry.ref, entry.findings, entry.actions) == ("=", "tiny@1", (), ())
    assert not entry.differs


def test_what_is_not_there_is_built() -> None:
    entry = only(compare(declared(made=None)))
    assert entry.sign == "+"
    assert entry.actions == (Build("tiny.toml", "train"),)
    resumed = only(compare(declared(made=None, unfinished=("train",))))
    assert "an unfinished build goes on where it was, after train" in resumed.findings[0].why


def test_what_was_only_imported_is_not_built() -> None:
    entry = only(compare(declared(), existing(version(made=None))))
    assert entry.findings[0].what == "not built"
    assert "imported" in entry.findings[0].why


@pytest.mark.parametrize(
    ("change", "stage", "what", "why"),
    [
        ({"settings": {"method.rank": 8}}, "train", "method changed", "`method.rank` 16 → 8"),
        ({"settings": {"train.epochs": 1.5}}, "train", "training changed", "3 → 1.5"),
        ({"settings": {"evaluate.gates": [{}]}}, "evaluate", "evaluation stale", "differs"),
        ({"settings": {"adapter.tags": ["x"]}}, "publish", "card stale", "`adapter.tags` differs"),
        ({"base": "sha256:other"}, "train", "base changed", "the same name has other values"),
        ({"code": {"train": {"torch": "2.14.0"}}}, "train", "training changed", "`torch` 2.13.0 →"),
        (
            {"code": {"evaluate": {"exact_match": "sha256:n"}}},
            "evaluate",
            "evaluation stale",
            "`exact_match` differs",
        ),
        (
            {
                "splits": {"train": "sha256:9"},
                "sources": (SourceRows("data.train", "train.jsonl", "sha256:u", 25),),
            },
            "train",
            "data changed",
            "`data.train` train.jsonl: 24 → 25 rows",
        ),
        ({"splits": {"test": "sha256:9"}}, "ask", "data changed", "the test rows come out"),
    ],
)
def test_what_is_stale_is_built_again_and_says_what_changed(
    change: dict[str, Any], stage: str, what: str, why: str
) -> None:
    values = {
        key: {**getattr(MADE, key), **value} if isinstance(value, dict) else value
        for key, value in change.items()
    }
    entry = only(compare(declared(made=replace(MADE, **values)), existing(version())))
    assert entry.sign == "~"
    assert entry.actions == (Build("tiny.toml", stage),)  # type: ignore[arg-type]
    (finding,) = entry.findings
    assert finding.what == what
    assert why in finding.why


def test_rows_that_were_read_here_are_named() -> None:
    sources = (SourceRows("data.train", "train.jsonl", "sha256:u", 24),)
    splits = {**(MADE.splits or {}), "train": "sha256:9"}
    item = declared(made=replace(MADE, sources=sources, splits=splits))
    world = World("ads", (item,), {"tiny": existing(version())})
    asked = []

    def rows_changed(before: str, after: str) -> str:
        asked.append((before, after))
        return "1 changed (row 7)"

    entry = only(differences(world, rows_changed=rows_changed))
    assert entry.findings[0].why == "`data.train` train.jsonl: 24 rows, 1 changed (row 7)"
    assert asked == [("sha256:t", "sha256:u")]


def test_what_changes_no_result_is_no_difference() -> None:
    """Trackers are told; a base that is not prepared, an old lock are not held against it."""
    tracked = replace(MADE, settings={**MADE.settings, "train.trackers": ["tensorboard"]})
    assert only(compare(declared(made=tracked), existing(version()))).sign == "="
    unprepared = replace(MADE, base=None, splits=None)
    assert only(compare(declared(made=unprepared), existing(version()))).sign == "="
    old = replace(MADE, code={}, splits=None, sources=())
    assert only(compare(declared(), existing(version(made=old)))).sign == "="


def test_a_base_that_is_not_prepared_and_named_otherwise_is_a_difference() -> None:
    moved = replace(MADE, base=None, settings={**MADE.settings, "base.model": "other"})
    entry = only(compare(declared(made=moved), existing(version())))
    assert entry.findings[0].what == "base changed"
    assert "`base.model` tiny → other" in entry.findings[0].why


def test_an_older_version_that_is_as_declared_is_promoted_and_not_built() -> None:
    newer = version(2, replace(MADE, settings={**MADE.settings, "method.rank": 8}))
    entry = only(compare(declared(), existing(newer, version(1))))
    assert (entry.sign, entry.ref) == ("~", "tiny@1")
    assert entry.findings[0].what == "alias behind"
    assert entry.actions == (Promote(1, "candidate", 2),)


def test_an_alias_that_nobody_holds_is_made() -> None:
    entry = only(compare(declared(), existing(version(), aliases={})))
    assert entry.actions == (Promote(1, "candidate", None),)
    assert only(compare(declared(alias=None), existing(version(), aliases={}))).sign == "="


def test_a_failed_gate_needs_a_person() -> None:
    found = existing(version(2, failed=("exact_match: too low",)), aliases={"candidate": Held(1)})
    entry = only(compare(declared(), found))
    assert (entry.sign, entry.actions) == ("!", ())
    assert entry.differs
    assert entry.findings[0].what == "gate failed"
    assert "exact_match: too low" in entry.findings[0].why


def test_a_failed_gate_that_a_person_overruled_is_no_difference() -> None:
    entry = only(compare(declared(), existing(version(failed=("too low",)))))
    assert entry.sign == "="
    assert "although: too low" in entry.notes[0]


@pytest.mark.parametrize(("at", "sign"), [("2026-01-03", "!"), ("2026-01-01", "~")])
def test_what_a_person_rolled_back_stays_there(at: str, sign: str) -> None:
    """Only a rollback after the version was published speaks of that version."""
    moved = AliasMove(
        1, "tiny", "candidate", "rollback", 1, 2, None, None, at, "ann", "worse on call"
    )
    found = existing(version(2), aliases={"candidate": Held(1, moved=moved)})
    entry = only(compare(declared(), found))
    assert entry.sign == sign
    if sign == "!":
        assert "ann rolled `candidate` back to tiny@1 (worse on call)" in entry.findings[0].why


def test_a_canary_is_let_run() -> None:
    found = existing(version(2), aliases={"candidate": Held(1, canary=2, weight=10)})
    entry = only(compare(declared(), found))
    assert (entry.sign, entry.findings[0].what) == ("!", "on trial")


def test_prod_is_a_person_s_to_move() -> None:
    found = existing(version(2), aliases={"candidate": Held(2), "prod": Held(1)})
    entry = only(compare(declared(), found))
    assert entry.sign == "="
    assert entry.notes == ("`prod` is tiny@1; `adapters promote tiny@2 prod`",)


def gateway(*loaded: tuple[str, Loaded], base: str = "sha256:base") -> GatewayState:
    engine = EngineState(base, dict(loaded), 2)
    return GatewayState(Path("gateway-1.sock"), "http://127.0.0.1:1", (engine,))


@pytest.mark.parametrize(
    ("running", "what", "loads"),
    [
        ((), None, False),
        ((gateway(),), "not resident", True),
        ((gateway(("sha256:v1", Loaded("resident", False, None))),), "not resident", True),
        ((gateway(("sha256:v1", Loaded("resident", True, None))),), None, False),
        ((gateway(("sha256:v1", Loaded("loading", True, None))),), None, False),
        ((gateway(("sha256:v1", Loaded("refused", True, "no proof"))),), "refused", False),
        ((gateway(base="sha256:other"),), "not resident", False),
    ],
)
def test_a_pinned_adapter_is_kept_where_a_gateway_runs(
    running: tuple[GatewayState, ...], what: str | None, loads: bool
) -> None:
    entry = only(compare(declared(pinned=True), existing(version()), gateways=running))
    assert [finding.what for finding in entry.findings] == ([what] if what else [])
    assert entry.actions == ((Load("sha256:v1"),) if loads else ())
    assert entry.sign == ("~" if loads else "!" if what else "=")
    others = only(compare(declared(), existing(version()), gateways=running))
    assert others.sign == "="  # what is not pinned is loaded when it is asked for


def test_a_faulty_manifest_and_a_name_declared_twice() -> None:
    items = (
        declared("bad", made=None, fault="missing table `data`"),
        declared("tiny"),
        replace(declared("tiny"), file="again.toml"),
        declared("good"),
    )
    found = {"good": existing(version(), name="good"), "tiny": existing(version())}
    entries = differences(World("ads", items, found)).entries
    assert [entry.sign for entry in entries] == ["!", "!", "!", "="]
    assert "`bad.toml`: missing table `data`" in entries[0].findings[0].why
    assert "`again.toml` declares `tiny` too" in entries[1].findings[0].why


def test_only_what_this_folder_declared_once_is_pruned() -> None:
    found = [
        existing(version(), folder="ads"),
        existing(version(), name="gone", folder="ads", aliases={"prod": Held(1), "b": Held(2)}),
        existing(version(), name="theirs", folder="others"),
        existing(version(), name="imported"),
        existing(version(), name="silent", folder="ads", aliases={}),
    ]
    kept = compare(declared(), *found)
    assert [(entry.name, entry.sign, entry.differs) for entry in kept.entries] == [
        ("tiny", "=", False),
        ("gone", "-", False),
    ]
    assert kept.others == ("imported", "silent", "theirs")
    pruned = compare(declared(), *found, prune=True)
    (gone,) = pruned.differing
    assert gone.actions == (Retire("b", 2), Retire("prod", 1))


def test_what_a_folder_of_the_same_name_applied_is_not_pruned() -> None:
    """Another team's; and of what an earlier version noted, the name is all that is known."""
    ours, theirs = "git.bank.internal/kyc:adapters", "git.bank.internal/cards:adapters"
    found = {
        name: existing(version(), name=name, folder=folder)
        for name, folder in (("gone", ours), ("theirs", theirs), ("old", "adapters"))
    }
    world = World(ours, (declared(),), found, folder_name="adapters")
    pruned = {entry.name: entry for entry in differences(world, prune=True).entries}
    assert pruned.keys() == {"tiny", "gone", "old"}
    assert pruned["gone"].actions == (Retire("candidate", 1),)
    assert pruned["old"].actions == ()
    assert "a folder called `adapters` applied it" in pruned["old"].findings[0].why


def test_nothing_is_pruned_while_a_manifest_cannot_be_read() -> None:
    """The unreadable one may be the manifest that is thought to be gone."""
    items = (declared(), Declared("broken.toml", None, fault="not TOML"))
    found = {
        "tiny": existing(version()),
        "gone": existing(version(), name="gone", folder="ads"),
    }
    entries = differences(World("ads", items, found), prune=True).entries
    assert entries[-1].actions == ()
    assert "`broken.toml` cannot be read" in entries[-1].findings[0].why
