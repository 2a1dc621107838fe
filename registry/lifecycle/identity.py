"""Whose the blob store is: index and store carry one id, and nothing is written where it differs.

    index    store    then
    A        A        they belong together
    A        B        refused
    one, or neither   they get one id if they fit: both are empty, or the store has the records of
                      the newest releases that the index lists; else refused

So an index of another environment, a blank one (a variable was forgotten, a database restored under
another name) or another store can neither publish nor collect. Indexes and stores of before
2026-11-29 have no id and get one with the first write.
"""

from __future__ import annotations

import uuid

from adapterworks.manifests.errors import Refused
from adapterworks.registry.blobs.store import Store
from adapterworks.registry.index import stores
from adapterworks.registry.index.database import Database

# Releases of which one must be in the store: a damaged store is a matter for `verify`.
_ASKED = 5


def require_own(database: Database, blobs: Store, *, claim: bool = True) -> None:
    """Check that index and store belong together, giving both an id where they fit.

    Args:
        claim: write the id; else only look.

    Raises:
        Refused: they do not, with what each of them is.
    """
    if _belong_together(database, blobs):
        return
    try:
        _check_fit(database, blobs)
    except Refused:
        # Who was first has joined them since, and what is seen are its bytes.
        if not _belong_together(database, blobs):
            raise
        return
    if claim:
        join(database, blobs)


def _belong_together(database: Database, blobs: Store) -> bool:
    """Whether both carry one id; False if one of them has none yet.

    Raises:
        Refused: each has another one.
    """
    with database.read() as connection:
        own = stores.identity(connection)
    there = blobs.identity()
    if own is None or there is None:
        return False
    _check_equal(database, blobs, own, there)
    return True


def join(database: Database, blobs: Store) -> None:
    """Give index and store one id, that of either if it has one.

    Raises:
        Refused: each has another one.
    """
    wanted = blobs.identity() or uuid.uuid4().hex
    with database.write() as connection:
        own = stores.keep_identity(connection, wanted)
    _check_equal(database, blobs, own, blobs.claim(own))


def difference(database: Database, blobs: Store) -> str | None:
    """What is wrong if each of them has another id."""
    with database.read() as connection:
        own = stores.identity(connection)
    there = blobs.identity()
    if own is None or there is None or own == there:
        return None
    return (
        f"`{blobs.url}` is another index's store: its id is {there[:8]}, the index "
        f"`{shown(database)}` belongs to store {own[:8]}"
    )


def shown(database: Database) -> str:
    """The index's place without a password."""
    return database.engine.url.render_as_string(hide_password=True)


def _check_equal(database: Database, blobs: Store, own: str, there: str) -> None:
    if own != there:
        raise Refused(
            difference(database, blobs) or f"`{blobs.url}` is another index's store",
            hint="check `ADAPTERS_DATABASE` and `ADAPTERS_BLOBS`: one is of another registry",
        )


def _check_fit(database: Database, blobs: Store) -> None:
    with database.read() as connection:
        blank = stores.is_blank(connection)
        newest = stores.newest_live(connection, _ASKED)
    if blank and next(iter(blobs.list()), None) is not None:
        raise Refused(
            f"the index `{shown(database)}` is empty and `{blobs.url}` is not: they do not belong "
            "together",
            hint="set `ADAPTERS_DATABASE` to the index of this store; if that is lost: "
            "adapters registry rebuild-index",
        )
    if newest and not any(blobs.exists(digest) for digest in newest):
        raise Refused(
            f"`{blobs.url}` has none of the releases that the index `{shown(database)}` lists: "
            "they do not belong together",
            hint="set `ADAPTERS_BLOBS` to the store of this index; if that is lost, restore its "
            "bytes first: adapters verify --all --repair STORE",
        )
