"""`[[stages]]`: several trainings in one build, each a manifest of its own.

    [[stages]]
    name = "sft"

    [[stages]]
    name = "preferences"
    objective = { kind = "dpo" }
    data.train = "pairs.jsonl"

A stage says what differs from the rest of the manifest. Every stage but the last publishes under an
alias of its name; the next one begins there (`[start] from = "NAME:sft"`). A profile and `--set`
name stages by their names: `[profiles.quick.stages.sft]`, `--set stages.sft.train.epochs=1`.
`[[evaluate.gates]]` of the manifest judge what the build is for, its last stage; a stage before it
is judged by gates of its own, if it has any, and ends the build where one fails.

Invariant: base, method and name are those of all stages, so what one leaves the next can continue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from adapterworks.manifests.checking import KeyPath, Problem
from adapterworks.manifests.merge import Merged, Origin, Table
from adapterworks.manifests.messages import describe, suggest

STAGES = "stages"
# What a stage may say of its own.
TABLES = ("objective", "data", "train", "evaluate")
NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,31}$"  # a `Word` of records, and an alias


def stage_problems(table: Table) -> Iterator[Problem]:
    """What is wrong with the stages of a document, profiles included, as they are written."""
    stages = table.get(STAGES, [])
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        found = describe(stages)
        yield Problem((STAGES,), f"expected tables of an array, got {found}", "write `[[stages]]`")
        return
    names = [stage.get("name") for stage in stages]
    publish = table.get("publish")
    taken = {"prod", publish.get("alias") if isinstance(publish, dict) else None}
    for index, name in enumerate(names):
        key: KeyPath = (STAGES, index, "name")
        if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
            hint = "lower-case letters, digits, `-` and `_`, at most 32, a letter first"
            yield Problem(key, f"a stage needs a name, not {describe(name)}", hint)
        elif name in names[:index]:
            yield Problem(key, f"two stages are called `{name}`", "name them apart")
        elif name in taken and index + 1 < len(names):
            yield Problem(
                key, f"the stage moves an alias of its name, and `{name}` is taken", "rename it"
            )
        yield from _unknown((STAGES, index), stages[index], ("name", *TABLES))
    if len(stages) == 1:
        yield Problem((STAGES,), "one stage is the manifest itself", "move its keys there")
    profiles = table.get("profiles", {})
    for profile, values in profiles.items() if isinstance(profiles, dict) else ():
        given = values.get(STAGES, {}) if isinstance(values, dict) else {}
        at: KeyPath = ("profiles", profile, STAGES)
        if not isinstance(given, dict):
            yield Problem(
                at,
                "a profile names the stages that it changes",
                f"write `[profiles.{profile}.stages.{names[0] if names else 'NAME'}]`",
            )
            continue
        yield from _unknown(at, given, [str(name) for name in names])
        for name, keys in given.items():
            if isinstance(keys, dict):
                yield from _unknown((*at, name), keys, TABLES)


def _unknown(at: KeyPath, keys: Table, known: Any) -> Iterator[Problem]:
    for key in keys:
        if key not in known:
            yield Problem((*at, key), f"no stage can say `{key}` here", suggest(key, [*known]))


def stage_names(merged: Merged) -> list[str]:
    """The stages' names, in their order."""
    return [*merged.table.get(STAGES, {})]


def stage_of(merged: Merged, name: str) -> Merged:
    """One stage as a manifest: the rest of the manifest with its keys laid over, beginning where
    the stage before ended."""
    names = stage_names(merged)
    index = names.index(name)
    rest = {key: deepcopy(value) for key, value in merged.table.items() if key != STAGES}
    own = Merged(rest, {p: o for p, o in merged.origins.items() if p[0] != STAGES})
    table = deepcopy(merged.table[STAGES][name])
    # Another objective's keys mean nothing to this one.
    before, now = rest.get("objective"), table.get("objective")
    if isinstance(before, dict) and isinstance(now, dict):
        same = now.get("kind", before.get("kind")) == before.get("kind")
        rest["objective"] = before if same else {}
    if index + 1 < len(names) and isinstance(rest.get("evaluate"), dict):
        rest["evaluate"].pop("gates", None)
    own.lay_over(table, Origin((STAGES, index)))
    for path in _leaves(table):
        origin = merged.origin((STAGES, name, *path))
        if origin.path[0] != STAGES or origin.override is not None:  # a profile's, or `--set`'s
            own.origins[path] = origin
    if index:
        adapter = rest.get("adapter")
        called = adapter.get("name") if isinstance(adapter, dict) else None
        rest["start"] = {"from": f"{called}:{names[index - 1]}"}
    if index + 1 < len(names):
        publish = rest.get("publish")
        rest["publish"] = {**(publish if isinstance(publish, dict) else {}), "alias": name}
    return own


def _leaves(table: Table, at: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*at, key))
        else:
            yield (*at, key)
