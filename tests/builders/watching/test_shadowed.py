"""Two releases on the same requests of clients: by people, by a metric, by a judge."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.builders.data.rows import chat as chat_row
from adapterworks.builders.endpoints.budget import Budget
from adapterworks.builders.endpoints.cache import open_cache
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.builders.evaluation.judge import comparing
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.watching.alias import Pair
from adapterworks.builders.watching.shadowed import (
    Compared,
    Losses,
    both_of,
    by_judge,
    by_metric,
    by_reviews,
    compare_shadowed,
)
from adapterworks.cli.main import cli
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.registry.exchanges import reviews
from adapterworks.registry.exchanges.exchange import Exchange, Subject
from adapterworks.registry.exchanges.feedback import NewFeedback, add
from adapterworks.registry.exchanges.shadows import put_shadow
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.index.database import Database
from tests.builders.endpoints.standin import completion, endpoint
from tests.builders.watching.test_feedback import PAIR
from tests.builders.watching.test_paired import Shelf, shelf

__all__ = ["shelf"]

NOW = time.time()
WATCHED, REFERENCE = PAIR.watched.digest, PAIR.reference.digest


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Exchanges]:
    database = Database(f"sqlite:///{tmp_path / 'index.db'}")
    yield Exchanges(database, tmp_path / "exchanges", tmp_path / "keys")
    database.close()


def exchange(number: int, text: str, pair: Pair = PAIR, **changed: Any) -> Exchange:
    """A request that the reference has answered."""
    values = {
        "id": f"chatcmpl-{number}", "receipt": f"req-{number}", "tenant": "acme",
        "adapter": "medical", "ref": "medical:prod", "release": pair.reference.digest, "base": "b",
        "template": "", "share": "own", "stored": False,
        "request": {"messages": [{"role": "user", "content": f"say {number}"}]},
        "answer": {"choices": [{"message": {"role": "assistant", "content": text}}]},
        "metadata": {}, "redacted": (), "created": NOW + number, "expires": NOW + 10_000, **changed,
    }  # fmt: skip
    return Exchange(**values)


def shadow(store: Exchanges, item: Exchange, text: str, pair: Pair = PAIR) -> None:
    """The watched release has answered it too; the other way about if that was asked first."""
    other = pair.reference if item.release == pair.watched.digest else pair.watched
    said = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    assert put_shadow(store, replace(item, release=other.digest, answer=said))


def pairs(store: Exchanges, count: int, watched: Any, reference: Any, pair: Pair = PAIR) -> None:
    for number in range(count):
        item = exchange(number, reference(number), pair)
        store.put([item])
        shadow(store, item, watched(number), pair)


def say(store: Exchanges, number: int, at: float, release: str = REFERENCE, **said: Any) -> None:
    subject = Subject(f"req-{number}", "medical", release, True)
    add(store, "acme", subject, NewFeedback(**said), at)


def compare(store: Exchanges, losses: Losses, **more: Any) -> Compared:
    given = {"confidence": 0.95, "most": 0.02, **more}
    return compare_shadowed(store, PAIR, "it", losses, **given)


def test_a_metric_needs_to_know_what_is_right_by_the_first_word_on_it(store: Exchanges) -> None:
    pairs(store, 6, lambda n: f"{n}" if n < 3 else "no", lambda n: f"{n}")
    say(store, 4, NOW + 10, thumb="up")
    say(store, 1, NOW + 11, thumb="down", correction="1")
    say(store, 1, NOW + 12, correction="something else")
    say(store, 5, NOW + 13, correction="5")
    say(store, 5, NOW + 15, correction="no")
    say(store, 3, NOW + 13, thumb="down")  # nobody says what it should have been
    say(store, 0, NOW + 14, correction="zero")
    found = both_of(store, PAIR)
    # In the order in which it was said: 4 is lost, 1 is not, 5 is, 0 is wrong of both.
    assert list(by_metric(metric("exact_match"))(list(found))) == [1.0, 0.0, 1.0, 0.0]
    told = compare(store, by_metric(metric("exact_match")))
    assert (told.pairs, told.judged, told.same) == (6, 4, 3)
    assert (told.decision.verdict, told.decision.drop) == ("undecided", pytest.approx(1 / 2))


def test_a_schema_that_was_asked_for_needs_nobody(store: Exchanges) -> None:
    schema = {"type": "object", "required": ["code"]}
    for number, text in enumerate(('{"code": 1}', "no JSON")):
        asked = exchange(number, text).request
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        item = exchange(number, text, request={**asked, "response_format": wanted})
        store.put([item])
        shadow(store, item, "[]")
    store.put([exchange(7, "free text")])
    shadow(store, exchange(7, "free text"), "other text")
    found = list(both_of(store, PAIR))
    assert list(by_metric(metric("json_schema"))(found)) == [1.0, 0.0]


def test_whose_answer_the_client_saw_does_not_matter_and_a_conversation_counts_once(
    store: Exchanges,
) -> None:
    seen = exchange(0, "watched", release=WATCHED)
    store.put([seen])
    shadow(store, seen, "reference")
    turns: list[Any] = [{"role": "user", "content": "say 5"}]
    said = {"role": "assistant", "content": "five"}
    first = exchange(5, "five", request={"messages": turns})
    later = exchange(6, "six", request={"messages": [*turns, said, *turns]})
    others = exchange(7, "x", request={"messages": [*turns, said, *turns]}, tenant="globex")
    images = [{"role": "user", "content": [{"type": "text", "text": "x"}]}]
    unread = exchange(8, "x", request={"messages": images})
    for item in (first, later, others, unread):
        store.put([item])
        shadow(store, item, "else")
    found = list(both_of(store, PAIR))
    assert [(b.exchange.receipt, b.watched, b.reference) for b in found] == [
        ("req-0", "watched", "reference"),
        ("req-5", "else", "five"),
        ("req-7", "else", "x"),
    ]
    assert [b.exchange.receipt for b in both_of(store, PAIR, tenant="globex")] == ["req-7"]


def test_people_count_once_two_have_judged(store: Exchanges) -> None:
    pairs(store, 4, lambda n: "same" if n == 3 else f"watched {n}", lambda n: "same")
    prefers = {"ann": "same", "bob": "watched"}
    for reviewer, begin in prefers.items():
        for _ in range(3 if reviewer == "ann" else 2):
            ballot = reviews.take(store, "acme", reviewer, NOW)
            assert ballot is not None
            wanted = begin if ballot.exchange.receipt != "req-0" else "same"
            choice = next(n for n, t in enumerate(ballot.answers, 1) if t.startswith(wanted))
            reviews.judge(store, "acme", ballot.id, reviewer, choice, NOW)
    told = compare(store, by_reviews(store, PAIR))
    # Both prefer the reference on one, and they disagree on another; the third has one judgement.
    assert (told.pairs, told.judged, told.same) == (4, 2, 1)
    assert told.decision.drop == pytest.approx(0.5)
    turned = replace(PAIR, watched=PAIR.reference, reference=PAIR.watched)
    assert sorted(by_reviews(store, turned)(list(both_of(store, turned)))) == [-1.0, 0.0]


def test_a_judge_is_asked_until_it_is_decided_and_is_shown_nothing_that_is_withheld(
    store: Exchanges, tmp_path: Path
) -> None:
    for number, changed in ((900, {"share": "none"}), (901, {"tenant": "globex"})):
        item = exchange(number, "planted", **changed)
        store.put([item])
        shadow(store, item, "planted too")
    pairs(store, 200, lambda n: "same" if n % 4 == 0 else f"worse {n}", lambda n: "same")

    leaked: list[bool] = []

    def prefers(body: dict[str, Any]) -> Any:
        text = str(body["messages"][-1]["content"])
        leaked.append("planted" in text)
        first = "A" if "### ANSWER A\nsame" in text else "B"
        return 200, completion(f"Verdict: {first}"), {}

    with endpoint(prefers) as asked, open_cache(tmp_path / "kept.jsonl") as kept:
        judge, budget = Endpoint(asked.url, "judge"), Budget(10**9)
        losses = by_judge(judge, kept, budget, parallel=4, sharing=["acme"])
        told = compare(store, losses)
        assert not any(leaked)
        assert told.decision.verdict == "drop"
        assert told.judged < 60, "it is known early"
        assert len(asked.bodies) == 2 * 3 * told.judged // 4, "equal answers are asked of nobody"
        again = compare(store, losses)
        assert (again, kept.asked) == (told, len(asked.bodies))
        (chat, *_) = comparing(chat_row("say 1", ""), "worse 1", "same")
        poor = Budget(chat.most_tokens + 100)
        few = compare(store, by_judge(judge, kept, poor, parallel=4))
        assert poor.spent
        assert few.judged < told.judged


def kept_by(shelf: Shelf, count: int) -> Pair:
    """Requests that `medical@1` has answered and `medical@2` as a shadow, all of them corrected."""
    migrate(shelf.app.registry.database)
    resolved = [shelf.app.registry.resolve(f"medical@{number}") for number in (2, 1)]
    pair = Pair("medical", "candidate", *resolved)
    store = shelf.app.exchanges
    pairs(store, count, lambda n: "no" if n % 2 else f"{n}", lambda n: f"{n}", pair)
    for number in range(count):
        say(store, number, NOW + number, pair.reference.digest, correction=f"{number}")
    return pair


def run(shelf: Shelf, *arguments: str) -> Any:
    shelf.app.registry.promote("medical", 1, "prod", who="tester")
    shelf.app.registry.promote("medical", 2, "candidate", who="tester")
    given = ["watch", "medical:candidate", "--against", "medical:prod", "--json", *arguments]
    result = CliRunner().invoke(cli, given, obj=shelf.app)
    if result.exception is not None and not isinstance(result.exception, Refused):
        raise result.exception
    return json.loads(result.stdout), result.exception


def test_a_candidate_is_watched_as_a_shadow(shelf: Shelf) -> None:
    kept_by(shelf, 80)
    told, error = run(shelf, "--from", "shadow", "--metric", "exact_match")
    assert (told["verdict"], told["pairs"], told["same"]) == ("drop", 80, 40)
    assert (told["watched"], told["reference"]) == ("medical@2", "medical@1")
    assert isinstance(error, Refused)
    assert "of 80 requests (40 answered alike): exact_match dropped by" in str(error)
    assert shelf.asked == [], "no model is asked"
    told, error = run(shelf, "--from", "shadow")
    assert (told["verdict"], told["judged"], error) == ("undecided", 0, None)
    assert told["metric"] == "preference of reviewers"


def test_what_clients_asked_is_asked_again_of_both(shelf: Shelf) -> None:
    kept_by(shelf, 120)
    shelf.wrong[2] = lambda number: number % 2 == 1
    told, error = run(shelf, "--from", "capture", "--metric", "exact_match")
    assert (told["verdict"], told["of"], told["kept"]) == ("drop", 120, 120)
    assert isinstance(error, Refused)
    assert {number for _, number in shelf.asked} <= {*range(120)}
    assert {release for release, _ in shelf.asked} == {1, 2}


def test_what_a_metric_cannot_score_is_left_out_with_the_reason(shelf: Shelf) -> None:
    """`exact_number` has to be told what is right, and needs a number in it."""
    pair = kept_by(shelf, 4)
    told, _ = run(shelf, "--from", "capture", "--metric", "exact_number")
    assert (told["of"], told["kept"]) == (4, 4)
    store = shelf.app.exchanges
    store.put([exchange(9, "none", pair)])
    say(store, 9, NOW + 9, pair.reference.digest, correction="no number here")
    shelf.app.registry.promote("medical", 1, "prod", who="tester")
    given = ["watch", "medical:candidate", "--against", "medical:prod", "--from", "capture"]
    result = CliRunner().invoke(cli, [*given, "--metric", "exact_number"], obj=shelf.app)
    assert "1 cannot be scored by `exact_number`: row 1 has no number" in result.stderr
    found = list(both_of(store, pair))
    assert len(list(by_metric(metric("exact_number"))(found))) == 4


def test_of_a_shadow_it_is_said_why_nothing_is_judged(shelf: Shelf) -> None:
    migrate(shelf.app.registry.database)
    resolved = [shelf.app.registry.resolve(f"medical@{number}") for number in (2, 1)]
    pair = Pair("medical", "candidate", *resolved)
    pairs(shelf.app.exchanges, 1, lambda n: "1", lambda n: "2", pair)
    shelf.app.registry.promote("medical", 2, "candidate", who="tester")
    given = ["watch", "medical:candidate", "--against", "medical@1", "--from", "shadow"]
    given += ["--metric", "exact_number"]
    result = CliRunner().invoke(cli, given, obj=shelf.app)
    assert "nobody has said what is right of these 1 requests" in result.stderr
    say(shelf.app.exchanges, 0, NOW, pair.reference.digest, correction="none")
    result = CliRunner().invoke(cli, given, obj=shelf.app)
    assert "1 cannot be scored by `exact_number`: row 1 has no number" in result.stderr


def test_what_makes_no_sense_is_refused(shelf: Shelf) -> None:
    kept_by(shelf, 1)
    for arguments, said in (
        (("--from", "shadow", "--metric", "bleu"), "no mean of one score"),
        (("--from", "shadow", "--metric", "exact_match", "--judge", "x"), "exclude each other"),
        (("--from", "capture", "--judge", "http://x/v1#m"), "`--judge` is not of capture"),
        (("--from", "capture", "--metric", "json_schema"), "1 cannot be scored by `json_schema`"),
        (("--from", "capture", "--metric", "grader:code"), "no column `code`"),
        (("--max-tokens", "5"), "`--max-tokens` is not of rows"),
    ):
        with pytest.raises(InvalidInput, match=said):
            run(shelf, *arguments)
