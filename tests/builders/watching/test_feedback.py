"""What people said, as scores: each answer once, in the order in which it was said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.builders.watching.alias import Pair
from adapterworks.builders.watching.feedback import watch_feedback
from adapterworks.manifests.refs import Ref
from adapterworks.registry.exchanges.exchange import Subject
from adapterworks.registry.exchanges.feedback import NewFeedback, add
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.index.database import Database
from adapterworks.registry.releases.types import Resolved


def version(number: int) -> Resolved:
    return Resolved("medical", number, f"sha256:{number}", Ref("medical", version=number))


PAIR = Pair("medical", "prod", version(2), version(1))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Exchanges]:
    database = Database(f"sqlite:///{tmp_path / 'index.db'}")
    yield Exchanges(database, tmp_path / "exchanges", tmp_path / "keys")
    database.close()


def say(store: Exchanges, release: int, receipt: str, tenant: str = "acme", **said: object) -> None:
    subject = Subject(receipt, "medical", f"sha256:{release}", False)
    add(store, tenant, subject, NewFeedback(**said), time.time())  # type: ignore[arg-type]


def test_an_answer_counts_once_by_what_was_said_first(store: Exchanges) -> None:
    say(store, 2, "a", thumb="up", reviewer="x")
    say(store, 2, "a", thumb="down", reviewer="y")
    say(store, 2, "b", thumb="down", score=0.25)  # the score is finer
    say(store, 2, "c", label="late")  # says nothing of good or bad
    say(store, 1, "d", thumb="down")
    say(store, 1, "e", tenant="globex", thumb="up")
    heard = watch_feedback(store, PAIR, confidence=0.95, most=0.02)
    assert (heard.now, heard.before, heard.answers) == (0.625, 0.5, (2, 2))
    assert heard.decision.verdict == "undecided"
    assert heard.decision.drop == pytest.approx(-0.125)
    own = watch_feedback(store, PAIR, tenant="acme", confidence=0.95, most=0.02)
    assert (own.now, own.before, own.answers) == (0.625, 0.0, (2, 1))


def test_nothing_said_is_nothing_known(store: Exchanges) -> None:
    heard = watch_feedback(store, PAIR, confidence=0.95, most=0.02)
    assert (heard.now, heard.before, heard.answers) == (None, None, (0, 0))
    assert (heard.decision.bounds.low, heard.decision.bounds.high) == (-1, 1)


def test_a_worse_release_is_found(store: Exchanges) -> None:
    for number in range(70):
        say(store, 1, f"before-{number}", thumb="up")
        say(store, 2, f"now-{number}", thumb="down")
    heard = watch_feedback(store, PAIR, confidence=0.95, most=0.1)
    assert heard.decision.verdict == "drop"
    assert (heard.now, heard.before) == (0.0, 1.0)
