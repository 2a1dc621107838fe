"""The review queue: two reviewers, blind, each order once, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound, Unavailable
from adapterworks.registry.exchanges import erasing, reviews
from adapterworks.registry.exchanges.preferences import preferences
from adapterworks.registry.exchanges.reviews import OPEN_SECONDS, Ballot
from adapterworks.registry.exchanges.shadows import put_shadow
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.index.database import Database
from tests.registry.exchanges.test_exchanges import NOW, exchange
from tests.registry.exchanges.test_shadows import shadow

TENANT = "tn_acme"


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Exchanges]:
    database = Database(database_url)
    yield Exchanges(database, tmp_path / "home" / "exchanges", tmp_path / "keys")
    database.close()


def filled(store: Exchanges, pairs: int, alone: int = 0) -> None:
    store.put([exchange(number) for number in range(pairs + alone)])
    for number in range(pairs):
        assert put_shadow(store, shadow(number, f"other {number}"))


def taken(store: Exchanges, reviewer: str, now: float = NOW, **more: str) -> Ballot:
    found = reviews.take(store, TENANT, reviewer, now, **more)
    assert found is not None
    return found


def all_by(store: Exchanges, reviewer: str, wanted: str) -> list[Ballot]:
    """Judge everything, for the answer that begins so."""
    shown = []
    while (ballot := reviews.take(store, TENANT, reviewer, NOW)) is not None:
        choice = next(n for n, text in enumerate(ballot.answers, 1) if text.startswith(wanted))
        reviews.judge(store, TENANT, ballot.id, reviewer, choice, NOW)
        shown.append(ballot)
    return shown


def test_two_reviewers_see_both_orders_and_a_third_sees_nothing(store: Exchanges) -> None:
    filled(store, 12)
    ann = all_by(store, "ann", "answer")
    bob = all_by(store, "bob", "other")
    first = {b.exchange.receipt: b.answers for b in ann}
    assert len(first) == 12
    assert {b.exchange.receipt: b.answers[::-1] for b in bob} == first
    assert len({answers[0].startswith("answer") for answers in first.values()}) == 2, "a coin"
    assert reviews.take(store, TENANT, "cy", NOW) is None
    found = reviews.judged(store, tenant=TENANT, adapter="medical")
    assert {one.preferred for one in found if one.reviewer == "ann"} == {1}
    assert {one.preferred for one in found if one.reviewer == "bob"} == {-1}
    (told,) = preferences(found)
    assert (told.release, told.against) == ("sha256:r", "sha256:s")
    assert (told.answers, told.better, told.worse, told.neither) == (12, 12, 12, 0)
    (agreed,) = told.agreed
    assert (agreed.first, agreed.second, agreed.answers, agreed.same) == ("ann", "bob", 12, 0)
    assert agreed.kappa == 0


def test_what_a_place_gives_is_taken_back(store: Exchanges) -> None:
    filled(store, 12)
    for reviewer in ("ann", "bob"):
        all_by(store, reviewer, "answer")
    (told,) = preferences(reviews.judged(store))
    assert (told.better, told.first_shown, told.agreed[0].same) == (24, 0.5, 1)


def test_two_who_look_at_the_same_time_are_shown_different_orders(store: Exchanges) -> None:
    filled(store, 1)
    ann, bob = taken(store, "ann"), taken(store, "bob")
    assert ann.answers == bob.answers[::-1]
    assert taken(store, "ann").id == ann.id, "it stays what is shown until it is judged"
    assert reviews.take(store, TENANT, "cy", NOW) is None
    # Whoever leaves it lets another one in; what is then said late is said of nothing.
    cy = taken(store, "cy", NOW + OPEN_SECONDS + 1)
    with pytest.raises(NotFound, match="`ann` is not asked"):
        reviews.judge(store, TENANT, ann.id, "ann", 1, NOW)
    assert cy.answers in (ann.answers, bob.answers)


def test_what_one_has_judged_comes_before_what_none_has(store: Exchanges) -> None:
    filled(store, 3, alone=2)
    ballots = [taken(store, "ann")]
    reviews.judge(store, TENANT, ballots[0].id, "ann", 0, NOW)
    ballots.append(taken(store, "ann"))
    assert ballots[0].waiting == 5
    assert ballots[1].waiting == 4
    reviews.judge(store, TENANT, ballots[1].id, "ann", 0, NOW)
    assert [taken(store, "bob").exchange.receipt] == [ballots[0].exchange.receipt]


def test_an_answer_alone_is_right_or_wrong_and_equal_ones_are_alone(store: Exchanges) -> None:
    filled(store, 0, alone=2)
    assert put_shadow(store, shadow(1, "answer 1"))
    shown = [taken(store, "ann")]
    reviews.judge(store, TENANT, shown[0].id, "ann", 1, NOW)
    shown.append(taken(store, "ann"))
    reviews.judge(store, TENANT, shown[1].id, "ann", 0, NOW)
    assert [(b.answers, b.choices) for b in shown] == [
        (("answer 0",), (1, 0)), (("answer 1",), (1, 0))
    ]  # fmt: skip
    (told,) = preferences(reviews.judged(store))
    assert (told.against, told.better, told.worse, told.first_shown) == ("", 1, 1, None)


def test_a_judgement_names_what_was_shown_and_stays(store: Exchanges) -> None:
    filled(store, 1)
    ballot = taken(store, "ann")
    with pytest.raises(InvalidInput, match="`3` is no choice"):
        reviews.judge(store, TENANT, ballot.id, "ann", 3, NOW)
    for tenant, reviewer in ((TENANT, "bob"), ("tn_other", "ann")):
        with pytest.raises(NotFound):
            reviews.judge(store, tenant, ballot.id, reviewer, 1, NOW)
    review, new = reviews.judge(store, TENANT, ballot.id, "ann", 1, NOW)
    assert (new, review.choice) == (True, 1)
    assert review.preferred == (1 if ballot.answers[0] == "answer 0" else -1)
    assert reviews.judge(store, TENANT, ballot.id, "ann", 1, NOW + 9) == (review, False)
    with pytest.raises(Conflict, match="judged otherwise"):
        reviews.judge(store, TENANT, ballot.id, "ann", 2, NOW)


def test_each_tenant_its_own_and_nothing_that_is_gone(store: Exchanges) -> None:
    store.put([exchange(0), exchange(1, tenant="tn_other"), exchange(2, adapter="code")])
    assert taken(store, "ann", adapter="code").exchange.receipt == "req-2"
    ballot = taken(store, "bob", adapter="medical")
    assert (ballot.exchange.receipt, ballot.waiting) == ("req-0", 1)
    assert reviews.take(store, "tn_nobody", "ann", NOW) is None
    store.delete(TENANT, "req-0")
    store.delete(TENANT, "req-2")
    assert reviews.take(store, TENANT, "bob", NOW) is None, "held, and gone since"
    reviews.take(store, "tn_other", "ann", NOW)
    erasing.erase(store, "tn_other", NOW)
    assert reviews.take(store, "tn_other", "ann", NOW) is None
    store.put([replace(exchange(7), expires=NOW + 5)])
    assert reviews.take(store, TENANT, "ann", NOW + 6) is None


def test_what_another_key_has_sealed_holds_up_no_reviewer(store: Exchanges, tmp_path: Path) -> None:
    filled(store, 0, alone=3)
    folder = tmp_path / "home" / "exchanges" / TENANT
    (folder / "req-0").write_bytes((folder / "req-1").read_bytes())  # it does not open there
    (folder / "req-1").unlink()
    ballot = taken(store, "ann")
    assert ballot.exchange.receipt == "req-2"
    reviews.judge(store, TENANT, ballot.id, "ann", 1, NOW)
    assert reviews.take(store, TENANT, "ann", NOW) is None


def test_where_hardly_anything_can_be_read_it_is_said(
    store: Exchanges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway without the keys would try each of ten thousand answers at every call."""
    monkeypatch.setattr(reviews, "_MOST_UNREAD", 2)
    filled(store, 0, alone=3)
    for path in (tmp_path / "home" / "exchanges" / TENANT).iterdir():
        path.unlink()
    with pytest.raises(Unavailable, match="2 answers that wait cannot be read here") as caught:
        reviews.take(store, TENANT, "ann", NOW)
    assert "ADAPTERS_KEYS_DIR" in (caught.value.hint or "")
