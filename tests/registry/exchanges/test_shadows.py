"""Answers of other releases beside those that are kept: never alone, and gone with them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapterworks.registry.exchanges import erasing
from adapterworks.registry.exchanges.exchange import Exchange, Subject
from adapterworks.registry.exchanges.feedback import NewFeedback, add
from adapterworks.registry.exchanges.schema import shadows
from adapterworks.registry.exchanges.shadows import pairs, put_shadow
from adapterworks.registry.exchanges.store import ORPHAN_SECONDS, Exchanges
from adapterworks.registry.index.database import Database
from tests.registry.exchanges.test_exchanges import NOW, bytes_under, exchange

TENANT = "tn_acme"


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Exchanges]:
    database = Database(database_url)
    yield Exchanges(database, tmp_path / "home" / "exchanges", tmp_path / "keys")
    database.close()


def shadow(number: int, text: str, release: str = "sha256:s", **changed: object) -> Exchange:
    """What another release says to the request of this number."""
    message = {"role": "assistant", "content": text}
    answered = replace(
        exchange(number), release=release, answer={"choices": [{"message": message}]}
    )
    return replace(answered, **changed)  # type: ignore[arg-type]


def test_a_pair_is_one_request_with_two_answers(store: Exchanges) -> None:
    store.put([exchange(0), exchange(1), exchange(2, adapter="code")])
    assert put_shadow(store, shadow(1, "another"))
    assert put_shadow(store, shadow(0, " answer 0\n"))
    assert put_shadow(store, shadow(0, "a third", "sha256:t"))
    assert put_shadow(store, shadow(0, "again", "sha256:t"))  # a release answers once
    assert put_shadow(store, shadow(2, "code's"))
    add(store, TENANT, Subject("req-1", "medical", "sha256:r", True), NewFeedback(thumb="up"), NOW)
    found = list(pairs(store, adapter="medical"))
    assert [(p.exchange.receipt, p.release, p.answer, p.same) for p in found] == [
        ("req-1", "sha256:s", "another", False),
        ("req-0", "sha256:s", " answer 0\n", True),
        ("req-0", "sha256:t", "a third", False),
    ]
    assert [p.number for p in found] == sorted({p.number for p in found})
    assert (found[0].exchange.text, found[0].exchange.feedback[0].thumb) == ("answer 1", "up")
    both = {"sha256:r", "sha256:t"}
    assert [p.answer for p in pairs(store, adapter="medical", releases=both)] == ["a third"]
    assert list(pairs(store, adapter="medical", tenant="tn_other")) == []
    late = pairs(store, adapter="medical", since=NOW + 0.5)
    assert [p.exchange.receipt for p in late] == ["req-1"]


def test_nothing_is_kept_beside_nothing(store: Exchanges, tmp_path: Path) -> None:
    store.put([exchange(1, tenant="tn_other")])
    assert not put_shadow(store, shadow(0, "before its exchange"))
    assert not put_shadow(store, shadow(1, "of another's"))
    store.put([exchange(2)])
    store.delete(TENANT, "req-2")
    assert not put_shadow(store, shadow(2, "too late"))
    folder = tmp_path / "home" / "exchanges" / TENANT
    assert list(folder.iterdir()) == []


def test_it_goes_with_its_exchange(store: Exchanges, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "exchanges" / TENANT
    store.put([exchange(0), exchange(1), exchange(2, expires=NOW - 1)])
    for number in range(3):
        assert put_shadow(store, shadow(number, f"planted {number}"))
    assert b"planted" not in bytes_under(tmp_path), "it is sealed"
    assert len(list(folder.iterdir())) == 6
    store.delete(TENANT, "req-0")
    store.sweep(time.time())
    assert [p.exchange.receipt for p in pairs(store, adapter="medical")] == ["req-1"]
    with store.database.read() as connection:
        assert list(connection.scalars(sa.select(shadows.c.receipt))) == ["req-1"]
    assert len(list(folder.iterdir())) == 2
    store.sweep(time.time() + 2 * ORPHAN_SECONDS)  # files that have rows are no orphans
    assert len(list(pairs(store, adapter="medical"))) == 1


def test_an_erased_tenant_has_none_and_gets_none(store: Exchanges) -> None:
    store.put([exchange(0)])
    put_shadow(store, shadow(0, "x"))
    erasing.erase(store, TENANT, NOW + 100)
    assert list(pairs(store, adapter="medical")) == []
    store.put([exchange(5, created=NOW + 200, expires=NOW + 10_000)])
    assert not put_shadow(store, shadow(5, "asked before", created=NOW + 50))
    assert put_shadow(store, shadow(5, "asked after", created=NOW + 200))
