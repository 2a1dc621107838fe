"""Aliases: movable pointers that move by compare-and-set, every move logged.

An alias has one holder and at most one canary beside it, which gets `weight` percent of the
requests. `resolve` answers the holder; the gateway asks `weights` and draws.

Promoting with weight 100 makes the version the holder and ends a canary. `rollback` undoes the last
step that still stands: it ends a running canary, else it goes back to the holder before; rolling
back again goes further back, it does not return. Deleted versions are stepped over. `retire` takes
the alias away; a promotion brings it back, with all of its history before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound
from adapterworks.manifests.refs import Ref, check_alias
from adapterworks.registry.index import log, lookup, schema, versions
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.lifecycle import protection
from adapterworks.registry.releases.types import UNSET, AliasMove, Event, Unset, Weighted

_aliases, _versions = schema.aliases, schema.versions
# A publish that moves an alias is told from them by `published` in its event.
_DID = {
    "promote": "promoted",
    "canary": "given a canary",
    "rollback": "rolled back",
    "retire": "removed",
}


def promote(
    connection: Connection,
    name: str,
    version: int,
    alias: str,
    *,
    who: str,
    why: str = "",
    expect: int | Unset | None = UNSET,
    weight: int = 100,
    cleared: int | None = None,
    since: int | None = None,
) -> AliasMove:
    """Point an alias at a version, or (weight < 100) try the version beside the holder.

    Args:
        expect: the version that must hold the alias now (`None`: the alias must not exist). With
            it, a canary that somebody else runs is no more than the holder to be moved unseen.
        weight: percent of requests for the version, 1–100; the holder keeps the rest.
        cleared: the settings that the version was found to fulfil (`protection.py`).
        since: it moves because the version is published, unless somebody has moved it after this
            sequence of the log: what a person decided meanwhile holds.

    Raises:
        Refused: the alias is protected, and that was not judged.
        NotFound: there is no such live version.
        Conflict: `expect` is given and another version holds the alias, or another is its canary;
            `since` is given and somebody has moved it.
        InvalidInput: the weight makes no sense.
    """
    check_alias(alias)
    if not 1 <= weight <= 100:
        raise InvalidInput(f"`{weight}` is not a weight", hint="give a percentage from 1 to 100")
    lookup.resolve(connection, Ref(name, version=version))
    judged = protection.require_cleared(connection, name, alias, cleared)
    row = _row(connection, name, alias)
    holder = None if row is None else row.version
    if expect is not UNSET:
        _require(name, alias, holder, expect)
        if row is not None and row.canary not in (None, version):
            raise Conflict(
                f"`{name}:{alias}` has a canary, `{name}@{row.canary}` at {row.weight} %, that "
                "this would end",
                hint=f"see whose: adapters log {name}:{alias}; end it first: adapters rollback "
                f"{name}:{alias} --expect {name}@{row.canary}",
            )
    if since is not None:
        events = log.every(connection, name, alias=alias, kinds=tuple(_DID), after=since)
        if decided := [event for event in events if not event.data.get("published")]:
            last = decided[-1]
            raise Conflict(
                f"`{name}:{alias}` was {_DID[last.kind]} by {last.who} at {last.at} meanwhile"
                + (f" ({last.why})" if last.why else ""),
                hint=f"see why: adapters log {name}:{alias}; move it all the same: adapters "
                f"promote {name}@{version} {alias}",
            )
    if weight == 100:
        mark = since is not None
        return _move(
            connection, row, name, alias, "promote", version, None, None, who, why, judged, mark
        )
    if holder is None:
        raise InvalidInput(
            f"`{name}:{alias}` has no holder that could keep {100 - weight} %",
            hint="promote the first version without a weight",
        )
    if holder == version:
        raise InvalidInput(
            f"`{name}@{version}` holds `{alias}` already; it cannot be its own canary",
            hint=f"end a running canary with: adapters promote {name}@{version} {alias}",
        )
    return _move(connection, row, name, alias, "canary", holder, version, weight, who, why, judged)


def rollback(
    connection: Connection,
    name: str,
    alias: str,
    *,
    who: str,
    why: str = "",
    expect: int | Unset = UNSET,
    seen: Sequence[AliasMove] = (),
) -> AliasMove:
    """Undo the last step of an alias that still stands (see the module's docstring).

    Args:
        expect: the version that is to be taken away: a running canary, else the holder. So two who
            saw the same trouble undo one step, not two.
        seen: its moves up to now, read before the lock was taken: a long history keeps nobody.

    Raises:
        NotFound: there is no such alias.
        Conflict: there is nothing to go back to, or `expect` is given and another version would go.
    """
    row = _row(connection, name, alias)
    if row is None:
        lookup.resolve(connection, Ref(name, alias=alias))
        raise NotFound(f"`{name}` has no alias `{alias}`")
    if expect is not UNSET:
        _require(name, alias, row.canary or row.version, expect)
    if row.canary is not None:
        return _move(connection, row, name, alias, "rollback", row.version, None, None, who, why)
    later = history(connection, name, alias, after=seen[-1].sequence if seen else 0)
    held = standing([*seen, *later])
    live = set(
        connection.scalars(
            sa.select(_versions.c.version).where(
                _versions.c.name == name,
                _versions.c.version.in_(held),
                _versions.c.deleted.is_(None),
            )
        )
    )
    earlier = [version for version in held[:-1] if version in live and version != row.version]
    if not earlier:
        raise Conflict(
            f"`{name}:{alias}` has no earlier version to go back to",
            hint=f"see its history: adapters log {name}:{alias}",
        )
    return _move(connection, row, name, alias, "rollback", earlier[-1], None, None, who, why)


def retire(
    connection: Connection,
    name: str,
    alias: str,
    *,
    who: str,
    why: str = "",
    expect: int | Unset = UNSET,
) -> Event:
    """Remove an alias, so that nothing answers under it; versions and history stay.

    Args:
        expect: the version that must hold the alias now.

    Raises:
        NotFound: there is no such alias.
        Conflict: `expect` is given and another version holds it.
    """
    row = _row(connection, name, alias)
    if row is None:
        lookup.resolve(connection, Ref(name, alias=alias))
        raise NotFound(f"`{name}` has no alias `{alias}`")
    if expect is not UNSET:
        _require(name, alias, row.version, expect)
    connection.execute(
        sa.delete(_aliases).where(_aliases.c.name == name, _aliases.c.alias == alias)
    )
    versions.bump(connection)
    return log.append(
        connection, name, "retire", who=who, why=why, version=row.version, alias=alias
    )


def let_go(connection: Connection, name: str, version: int, *, who: str, why: str = "") -> None:
    """Take every alias from a version that is to go: canaries end, what it holds is retired."""
    held = connection.execute(
        sa.select(_aliases).where(
            _aliases.c.name == name,
            (_aliases.c.version == version) | (_aliases.c.canary == version),
        )
    ).all()
    for row in held:
        if row.canary is not None:
            rollback(connection, name, row.alias, who=who, why=why)
        if row.version == version:
            retire(connection, name, row.alias, who=who, why=why)


def weights(connection: Connection, name: str, alias: str) -> tuple[Weighted, ...]:
    """The holder and the canary with their percentages, which sum to 100.

    Raises:
        NotFound: there is no such alias.
    """
    query = (
        sa.select(_versions.c.version, _versions.c.digest, _aliases.c.canary, _aliases.c.weight)
        .join(
            _aliases,
            (_aliases.c.name == _versions.c.name)
            & _versions.c.version.in_((_aliases.c.version, _aliases.c.canary)),
        )
        .where(_aliases.c.name == name, _aliases.c.alias == alias)
    )
    rows = connection.execute(query).all()
    if not rows:
        lookup.resolve(connection, Ref(name, alias=alias))
    holders = []
    for row in rows:
        canary = row.weight or 0
        share = canary if row.version == row.canary else 100 - canary
        holders.append(Weighted(row.version, row.digest, share))
    return tuple(sorted(holders, key=lambda held: held.version == rows[0].canary))


def is_held(connection: Connection, name: str, alias: str, version: int) -> bool:
    """Whether a version holds an alias alone."""
    row = _row(connection, name, alias)
    return row is not None and row.version == version and row.canary is None


def history(
    connection: Connection, name: str, alias: str | None = None, *, after: int = 0
) -> list[AliasMove]:
    """Every move of an alias (or of all aliases of a name), oldest first."""
    moves = log.every(connection, name, alias=alias, kinds=log.MOVES, after=after)
    return [log.to_move(event) for event in moves]


def standing(moves: Sequence[AliasMove]) -> list[int]:
    """The holders that promotions have stacked up and rollbacks have not taken off again."""
    stack: list[int] = []
    for move in moves:
        if move.kind == "rollback":
            while stack and stack[-1] != move.version:
                stack.pop()
        if not stack or stack[-1] != move.version:
            stack.append(move.version)
    return stack


def _move(
    connection: Connection,
    row: AnyRow | None,
    name: str,
    alias: str,
    kind: str,
    version: int,
    canary: int | None,
    weight: int | None,
    who: str,
    why: str,
    cleared: int | None = None,
    published: bool = False,
) -> AliasMove:
    values = {"version": version, "canary": canary, "weight": weight}
    if row is None:
        connection.execute(sa.insert(_aliases).values(name=name, alias=alias, **values))
    else:
        connection.execute(
            sa.update(_aliases)
            .where(_aliases.c.name == name, _aliases.c.alias == alias)
            .values(**values)
        )
    versions.bump(connection)
    event = log.append(
        connection,
        name,
        kind,
        who=who,
        why=why,
        version=version,
        alias=alias,
        previous=None if row is None else row.version,
        canary=canary,
        weight=weight,
        **({} if cleared is None else {"cleared": cleared}),
        **({"published": True} if published else {}),
    )
    return log.to_move(event)


def _row(connection: Connection, name: str, alias: str) -> AnyRow | None:
    return connection.execute(
        sa.select(_aliases).where(_aliases.c.name == name, _aliases.c.alias == alias)
    ).first()


def _require(name: str, alias: str, found: int | None, expect: int | None) -> None:
    """Compare before the set.

    Raises:
        Conflict: another version is there than whoever asks has seen.
    """
    if found != expect:
        raise Conflict(
            f"`{name}:{alias}` is {_shown(name, found)}, not {_shown(name, expect)}: "
            "somebody moved it",
            hint=f"see who: adapters log {name}:{alias}",
        )


def _shown(name: str, version: int | Unset | None) -> str:
    return "unset" if version is None else f"`{name}@{version}`"
