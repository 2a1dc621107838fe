"""The decision: what should exist, what does, and what is to be done about what differs.

Pure: it reads nothing and does nothing. `world.py` reads, `reconciler.py` does.

Invariants: every action comes with the reason for it; a version that a person rolled back is not
brought back, one whose gates failed is not promoted, and an alias is only taken away from an
adapter that this folder declared before.
"""

from __future__ import annotations

from collections.abc import Iterator

from adapterworks.reconciling.build_inputs import Stage
from adapterworks.reconciling.entries import (
    Action,
    Build,
    Differences,
    Entry,
    Finding,
    Load,
    Promote,
    Retire,
    Sign,
)
from adapterworks.reconciling.reasons import RowsChanged, reasons
from adapterworks.reconciling.state import Declared, Existing, Held, Version, World

PROD = "prod"


def differences(
    world: World, *, prune: bool = False, rows_changed: RowsChanged = lambda before, after: None
) -> Differences:
    """Compare.

    Args:
        world: what should exist and what does.
        prune: take the aliases of adapters away whose manifests are gone.
        rows_changed: what changed between two digests of a source's rows, in words.
    """
    files: dict[str, list[str]] = {}
    for item in world.declared:
        if item.name is not None:
            files.setdefault(item.name, []).append(item.file)
    entries = []
    for item in world.declared:
        twice = [file for file in files.get(item.name or "", ()) if file != item.file]
        if item.name is None or item.fault is not None or twice:
            entries.append(_faulty(item, twice))
        else:
            existing = world.existing.get(item.name, Existing(item.name))
            entries.append(_entry(item, existing, world, rows_changed))
    unreadable = [item.file for item in world.declared if item.name is None]
    gone = [
        existing
        for name, existing in sorted(world.existing.items())
        if name not in files
        and existing.folder in (world.folder, world.folder_name)
        and existing.aliases
    ]
    entries += [
        _gone(existing, unreadable, prune, is_ours=existing.folder == world.folder)
        for existing in gone
    ]
    known = files.keys() | {existing.name for existing in gone}
    return Differences(tuple(entries), tuple(sorted(world.existing.keys() - known)))


def _faulty(item: Declared, twice: list[str]) -> Entry:
    why = f"`{item.file}`: {item.fault}"
    if twice:
        others = " and ".join(f"`{file}`" for file in twice)
        why = f"`{item.file}`: {others} declares `{item.name}` too"
    return Entry(item.name or item.file, "!", item.file, None, (Finding("faulty", why),))


def _entry(item: Declared, existing: Existing, world: World, rows_changed: RowsChanged) -> Entry:
    assert item.name is not None
    made = [version for version in existing.versions if version.made is not None]
    if not made:
        why = "no version of it is published"
        if existing.versions:
            why = "its versions were pulled, imported or merged, none was built here"
        finding = Finding("not built", why + _going_on(item))
        return Entry(item.name, "+", item.file, None, (finding,), (Build(item.file, "train"),))
    compared, stale = _closest(item, made)
    ref = f"{item.name}@{compared.version}"
    if stale is not None:
        assert item.made is not None
        assert compared.made is not None
        found = tuple(reasons(item.made, compared.made, rows_changed))
        assert found, "a stale stage has a reason"
        if item.unfinished is not None:
            found = (*found[:-1], Finding(found[-1].what, found[-1].why + _going_on(item)))
        actions = (Build(item.file, stale),)
        return Entry(item.name, "~", item.file, ref, found, actions)
    return _published(item, existing, compared, ref, world)


def _closest(item: Declared, made: list[Version]) -> tuple[Version, Stage | None]:
    """The newest version that is as declared, else the newest of all, and what is stale of it."""
    for version in made:
        stale = item.made.stale(version.made) if item.made and version.made else None
        if stale is None:
            return version, None
    assert item.made is not None
    assert made[0].made is not None
    return made[0], item.made.stale(made[0].made)


def _going_on(item: Declared) -> str:
    if item.unfinished is None:
        return ""
    done = f", after {', '.join(item.unfinished)}" if item.unfinished else ""
    return f"; an unfinished build goes on where it was{done}"


def _published(
    item: Declared, existing: Existing, version: Version, ref: str, world: World
) -> Entry:
    """Of a version that is as declared: whether its alias points at it, and gateways hold it."""
    findings: list[Finding] = []
    actions: list[Action] = []
    notes: list[str] = []
    sign: Sign = "="
    held = existing.aliases.get(item.alias) if item.alias is not None else None
    if item.alias is not None and (held is None or held.version != version.version):
        finding, move = _behind(item.alias, held, existing, version)
        findings.append(finding)
        sign = "!" if move is None else "~"
        if move is not None:
            actions.append(move)
    elif version.failed:
        notes.append(f"`{item.alias}` was moved to it although: {'; '.join(version.failed)}")
    prod = existing.aliases.get(PROD)
    if prod is not None and item.alias != PROD and prod.version != version.version:
        notes.append(f"`{PROD}` is {item.name}@{prod.version}; `adapters promote {ref} {PROD}`")
    if sign != "!":
        resident, load = _residency(item, version, world)
        findings += resident
        if load:
            actions.append(Load(version.digest))
        if resident:
            sign = "~" if actions else "!"
        notes += _where(item, version, world, bool(resident))
    return Entry(existing.name, sign, item.file, ref, tuple(findings), tuple(actions), tuple(notes))


def _behind(
    alias: str, held: Held | None, existing: Existing, version: Version
) -> tuple[Finding, Promote | None]:
    """Why an alias is elsewhere, and whether it may be moved."""
    ref = f"{existing.name}@{version.version}"
    where = "nobody holds it" if held is None else f"it is {existing.name}@{held.version}"
    if version.failed:
        why = f"{ref} is built, `{alias}` stays: {'; '.join(version.failed)}"
        return Finding("gate failed", why), None
    if held is not None and held.canary == version.version:
        why = (
            f"`{alias}` tries {ref} at {held.weight} %; "
            f"`adapters promote {ref} {alias}` ends the trial"
        )
        return Finding("on trial", why), None
    moved = None if held is None else held.moved
    if moved is not None and moved.kind == "rollback" and moved.at > version.published:
        reason = f" ({moved.why})" if moved.why else ""
        why = (
            f"{moved.who} rolled `{alias}` back to {existing.name}@{moved.version}{reason}; "
            f"`adapters promote {ref} {alias}` brings {ref} back"
        )
        return Finding("rolled back", why), None
    move = Promote(version.version, alias, None if held is None else held.version)
    return Finding("alias behind", f"{ref} is as declared, `{alias}` is not: {where}"), move


def _residency(item: Declared, version: Version, world: World) -> tuple[list[Finding], bool]:
    """What running gateways lack of a pinned adapter, and whether asking them helps."""
    findings, load = [], False
    if not item.pinned:
        return [], False
    for gateway in world.gateways:
        engines = [engine for engine in gateway.engines if engine.base == version.base]
        if not engines:
            why = f"no engine of {gateway.url} serves its base; restart `adapters serve`"
            findings.append(Finding("not resident", why))
        for engine in engines:
            loaded = engine.loaded.get(version.digest)
            if loaded is None or (loaded.stage == "resident" and not loaded.pinned):
                state = "not loaded" if loaded is None else "loaded, but not kept,"
                why = f"`serve.pinned`, and {state} in {gateway.url}"
                findings.append(Finding("not resident", why))
                load = True
            elif loaded.stage == "refused":
                findings.append(Finding("refused", f"by {gateway.url}: {loaded.error}"))
    return findings, load


def _where(item: Declared, version: Version, world: World, told: bool) -> Iterator[str]:
    """Where a version can be asked now; nothing where a finding has said so (`told`)."""
    if told:
        return
    holding = [
        gateway.url
        for gateway in world.gateways
        if any(
            engine.loaded[version.digest].stage == "resident"
            for engine in gateway.engines
            if version.digest in engine.loaded
        )
    ]
    if holding:
        yield f"resident in {', '.join(holding)}"
    elif world.gateways:
        yield "loaded when it is asked for"
    elif item.pinned:
        yield "no gateway runs here; `adapters serve` loads it"


def _gone(existing: Existing, unreadable: list[str], prune: bool, *, is_ours: bool) -> Entry:
    held = ", ".join(f"`{alias}`" for alias in sorted(existing.aliases))
    why = f"its manifest is gone, {held} answers still"
    if unreadable:
        why += f"; `{unreadable[0]}` cannot be read and may be its manifest"
    elif not is_ours:
        why += (
            f"; a folder called `{existing.folder}` applied it, and which one was not noted then: "
            "it stays"
        )
    elif not prune:
        why += "; `--prune` removes it, the versions stay"
    actions = tuple(
        Retire(alias, holder.version) for alias, holder in sorted(existing.aliases.items())
    )
    return Entry(
        existing.name,
        "-",
        findings=(Finding("not declared", why),),
        actions=actions if prune and is_ours and not unreadable else (),
    )
