"""What people type for a release, as a reference: short digests, names that are not quite there.

medical@1a67f254f97b    the release whose digest begins so, if one does (7 digits or more)
medical                 where nothing holds `prod`: the newest version, said on stderr, and only
                        for commands that read
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.refs import DEFAULT_ALIAS, Ref, check_name, parse_ref

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry

_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{7,63})")
_VERSION_LIKE = re.compile(r"[1-9][0-9]{0,8}")


def read_ref(text: str, registry: Callable[[], Registry]) -> Ref:
    """A reference; the beginning of a digest stands for the one that begins so.

    Args:
        registry: opened only if a digest has to be looked for.

    Raises:
        InvalidInput: not a reference, or more than one digest begins so.
        NotFound: none does.
    """
    name, at, selector = text.partition("@")
    match = _PREFIX.fullmatch(selector)
    if not at or match is None or _VERSION_LIKE.fullmatch(selector):
        return parse_ref(text)
    check_name(name)
    found = registry().digests(name, f"sha256:{match[1]}")
    if not found:
        raise NotFound(
            f"no release of `{name}` has a digest that begins with `{match[1]}`",
            hint=f"see them: adapters list {name}",
        )
    if len(found) > 1:
        raise InvalidInput(
            f"`{match[1]}` begins the digests of {len(found)} releases of `{name}`",
            hint="write more of it",
        )
    return Ref(name, digest=found[0])


def look_for(text: str, registry: Registry, say: Callable[[str], None]) -> Ref:
    """As `read_ref`, for commands that only read: a name alone is its newest version if need be."""
    ref = read_ref(text, lambda: registry)
    if ref.alias != DEFAULT_ALIAS or ":" in text:
        return ref
    try:
        registry.resolve(ref)
    except NotFound:
        newest = registry.versions(ref.name, limit=1)
        if not newest:
            raise
        say(f"nothing holds `{ref}`; this is the newest version, {ref.name}@{newest[0].version}")
        return Ref(ref.name, version=newest[0].version)
    return ref


def nearest(word: str, known: Iterable[str]) -> str | None:
    """What was probably meant."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)
