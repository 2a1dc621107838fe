"""Budgets in tokens and in money: what may be sent, and what an estimate of the whole says."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.endpoints import asking
from adapterworks.builders.endpoints.budget import Budget
from adapterworks.builders.endpoints.cache import open_cache
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.builders.endpoints.price import Price
from adapterworks.builders.synthesis.making import Estimate, Made, estimate
from tests.builders.endpoints.standin import completion, endpoint

PRICE = Price(Decimal("2"), Decimal("10"))


def chats(count: int) -> list[Chat]:
    return [Chat([{"role": "user", "content": f"question {n}"}], 100) for n in range(count)]


def test_money_is_exact_and_never_exceeded(tmp_path: Path) -> None:
    """A request of 74 bytes and 64 tokens of a template may cost (74 · 2 + 100 · 10) / 1e6."""
    (chat_,) = chats(1)
    most = PRICE.of(chat_.most_prompt, 100)
    assert most == Decimal(chat_.most_prompt * 2 + 1000) / 1_000_000

    def dear(body: dict[str, Any]) -> Any:
        return 200, completion("x", usage={"prompt_tokens": 50, "completion_tokens": 90}), {}

    with endpoint(dear) as asked, open_cache(tmp_path / "kept.jsonl") as kept:
        who = Endpoint(asked.url, "m")
        spent = PRICE.of(50, 90)
        # Two that cost what they cost, and a third that is sure to be allowed, to the last digit.
        budget = Budget(10**9, most_cost=2 * spent + most, prices={who: PRICE})
        assert len(budget.ask(kept, who, chats(9))) == 3
        assert (budget.cost, budget.spent, budget.tokens) == (3 * spent, True, 420)
        less = Budget(10**9, most_cost=2 * spent + most - Decimal("1e-9"), prices={who: PRICE})
        assert len(less.ask(kept, who, chats(9))) == 2
        # What was kept is in the sum as if it were asked again, and was sent once.
        assert len(asked.bodies) == 3
        assert kept.sent == {who: (150, 270)}
        other = Budget(10**9, most_cost=Decimal(0), prices={Endpoint(asked.url, "other"): PRICE})
        assert len(other.ask(kept, who, chats(2))) == 2, "another model's price"


def test_what_may_have_been_billed_unheard_is_in_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy gives up on the first try of each; a model behind it may have answered."""
    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.0)
    status = 504

    def gives_up(body: dict[str, Any]) -> Any:
        first = sum(one["messages"] == body["messages"] for one in asked.bodies) == 1
        return (status, {}, {}) if first else (200, completion("x"), {})

    (one, two) = chats(2)
    with endpoint(gives_up) as asked:
        who = Endpoint(asked.url, "m")
        with open_cache(tmp_path / "kept.jsonl") as kept:
            budget = Budget(one.most_tokens + two.most_tokens + 9)
            assert budget.ask(kept, who, [one, two], parallel=1) == []
            assert len(asked.bodies) == 2, "neither is sent again: both may have been billed"
            assert (budget.spent, budget.tokens) == (True, one.most_tokens + two.most_tokens)
        asked.bodies.clear()
        with open_cache(tmp_path / "kept.jsonl") as kept:
            enough = Budget(10**9)
            (said,) = enough.ask(kept, who, [one])
            assert (said.text, said.lost) == ("x", 1)
            assert enough.tokens == one.most_tokens + 10
            paid = enough.tokens + one.most_tokens + two.most_tokens  # with the tries before
            assert kept.paid == paid
            assert kept.sent == {who: (one.most_prompt + 7, 100 + 3)}
        with open_cache(tmp_path / "kept.jsonl") as kept:
            assert (kept.ask(who, [one]), kept.paid) == ([said], paid)
            status = 429  # nobody bills that
            asked.bodies.clear()
            least = Budget(two.most_tokens)
            assert [said.lost for said in least.ask(kept, who, [two])] == [0]
            assert len(asked.bodies) == 2


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_second_try_is_paid_with_what_others_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parallel: int
) -> None:
    """What is allowed at once reserves all of the budget; each answer costs a tenth of it or less.
    The first chat, and one of the last, are to be sent twice."""
    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.0)
    all_ = chats(50)

    def answer(body: dict[str, Any]) -> Any:
        question = body["messages"][0]["content"]
        tries = sum(one["messages"] == body["messages"] for one in asked.bodies)
        fails = question in ("question 0", "question 48") and tries == 1
        return (500, {}, {}) if fails else (200, completion("x"), {})

    with endpoint(answer) as asked:
        who = Endpoint(asked.url, "m")
        with open_cache(tmp_path / "kept.jsonl") as kept:
            budget = Budget(sum(one.most_tokens for one in all_))
            said = budget.ask(kept, who, all_, parallel=parallel)
        assert ([one.lost for one in said].count(1), len(said), budget.spent) == (2, 50, False)
        assert budget.tokens == 500 + all_[0].most_tokens + all_[48].most_tokens
        # Kept answers hold what they cost, from the first on.
        with open_cache(tmp_path / "kept.jsonl") as kept:
            again = Budget(budget.tokens)
            assert len(again.ask(kept, who, all_[:40])) == 40
            assert (len(asked.bodies), again.spent) == (52, False)


def test_where_it_is_used_up_the_answers_before_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third is never answered: what it may have cost is counted, as what the others did."""
    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.0)
    asked_for = chats(4)

    def answer(body: dict[str, Any]) -> Any:
        fails = body["messages"][0]["content"] == "question 2"
        return (504, {}, {}) if fails else (200, completion("x"), {})

    most = asked_for[0].most_tokens
    with endpoint(answer) as asked, open_cache(tmp_path / "kept.jsonl") as kept:
        budget = Budget(4 * most)
        assert len(budget.ask(kept, Endpoint(asked.url, "m"), asked_for)) == 2
        assert budget.spent
        assert budget.tokens == 30 + 3 * most, "three tries fit beside 30 tokens"
        assert len(asked.bodies) == 3 + 3


def test_what_an_endpoint_does_not_count_costs_the_most() -> None:
    (one,) = chats(1)
    assert Answer("x", False, 0, 0).spent(one) == (one.most_prompt, 100)
    assert Answer("x", False, 5, 0).spent(one) == (5, 0)
    assert Answer("x", False, 5, 1, lost=2).spent(one) == (5 + 2 * one.most_prompt, 201)


@pytest.mark.parametrize(
    ("items", "wanted", "expected"),
    [
        (40, None, (20, 4000, "8")),  # ten items gave five rows
        (40, 10, (10, 2000, "4")),
        (40, 300, (20, 4000, "8")),  # there are no more
        (None, 100, (100, 20000, "40")),
        (None, None, None),
    ],
)
def test_the_whole_goes_on_as_it_began(items: Any, wanted: Any, expected: Any) -> None:
    made = Made([chat("q", "a")] * 4, items=10, found=5, tokens=1000, cost=Decimal(2))
    found = estimate(made, items, wanted)
    if expected is None:
        assert found is None
    else:
        assert found == Estimate(expected[0], expected[1], Decimal(expected[2]))
    assert estimate(Made(), items, wanted) is None
