"""An alias as what is watched: which release, against which other.

Invariant: what is watched is what a rollback would take away: a running canary, else the holder.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.refs import Ref
from adapterworks.registry.lifecycle.aliases import standing
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import AliasMove, Resolved


@dataclass(frozen=True, slots=True)
class Pair:
    """Two releases of an adapter.

    Attributes:
        watched: whose answers may be worse.
        reference: whose they are compared with.
    """

    name: str
    alias: str
    watched: Resolved
    reference: Resolved


def pair_of(registry: Registry, ref: Ref, against: Ref | None = None) -> Pair:
    """Who is compared with whom.

    Args:
        ref: an alias.
        against: another release; if not given, the one that a rollback would bring back.

    Raises:
        InvalidInput: it is no alias, or there is nothing to compare with.
        NotFound: there is no such alias or release.
    """
    if ref.alias is None:
        raise InvalidInput(
            f"`{ref}` is a version, which never changes",
            hint=f"watch an alias: {ref.name}:prod; compare versions with `adapters eval`",
        )
    holder, *canaries = registry.weights(ref.name, ref.alias)
    number = canaries[0].version if canaries else holder.version
    watched = registry.resolve(Ref(ref.name, version=number))
    if against is not None:
        reference = registry.resolve(against)
    elif canaries:
        reference = registry.resolve(Ref(ref.name, version=holder.version))
    else:
        reference = _before(registry, ref.name, ref.alias, number)
    if reference.digest == watched.digest:
        raise InvalidInput(
            f"`{ref}` is `{watched}`, which cannot be compared with itself",
            hint="name another release with `--against`",
        )
    return Pair(ref.name, ref.alias, watched, reference)


def roll_back(registry: Registry, pair: Pair, *, who: str, why: str) -> AliasMove:
    """Take away what was watched, if nobody has moved the alias since.

    Raises:
        Conflict: somebody has, or there is nothing to go back to.
    """
    return registry.rollback(pair.name, pair.alias, who=who, why=why, expect=pair.watched.version)


def _before(registry: Registry, name: str, alias: str, number: int) -> Resolved:
    for version in reversed(standing(registry.history(name, alias))[:-1]):
        if version != number:
            with suppress(NotFound):  # deleted ones are stepped over, as a rollback does
                return registry.resolve(Ref(name, version=version))
    raise InvalidInput(
        f"`{name}:{alias}` had no other release before `{name}@{number}`",
        hint=f"name one with `--against {name}@N`",
    )
