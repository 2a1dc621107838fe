"""A review by commands: blind, sides swapped, two reviewers, agreement, and an alias's gate."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from adapterworks.app import App
from adapterworks.builders.evaluation.statistics import mean_gain_interval
from adapterworks.builders.reviewing.ballots import Ballot, ballots
from adapterworks.builders.reviewing.outcome import preferences_of
from adapterworks.builders.reviewing.review import Item, Review, Side, read_review
from adapterworks.builders.reviewing.votes import Vote, Votes
from adapterworks.cli import review_shown
from adapterworks.cli.delete import command as delete
from adapterworks.cli.erase import command as erase
from adapterworks.cli.review import command
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import Conflict, IntegrityError, InvalidInput, Refused
from adapterworks.registry.lifecycle.protection import Rule
from adapterworks.registry.lifecycle.protection import Settings as Protected
from adapterworks.registry.registry import Registry
from adapterworks.settings import Settings
from tests.registry.releases import draft, folder

ROWS = 12


def publish(
    registry: Registry, path: Path, number: int, said: str, alike: Collection[int] = (12,)
) -> None:
    files = folder(path / str(number), number)
    lines = [
        {
            "row": row,
            "prompt": [{"role": "user", "content": f"code of case {row}?"}],
            "reference": f"A{row}",
            "answers": {"candidate": "the same" if row in alike else f"{said} {row}", "base": "x"},
            "scores": {},
        }
        for row in range(1, ROWS + 1)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (files / "predictions.jsonl").write_text(text)
    registry.publish(files, draft(number), who="tester")


class Office:
    def __init__(self, path: Path, alike: Collection[int] = (12,)) -> None:
        environment = {"ADAPTERS_HOME": str(path / "home"), "ADAPTERS_USER": "boss"}
        self.app = App(Settings.from_environment(environment))
        self.registry = self.app.registry
        for number, said in ((1, "old"), (2, "new")):
            publish(self.registry, path / "made", number, said, alike)
        self.folder = path / "home" / "reviews"

    def say(self, *arguments: str, typed: str | None = None) -> Result:
        done = CliRunner().invoke(command, arguments, obj=self.app, input=typed)
        if done.exception is not None:
            raise done.exception
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.say(*arguments, "--json").stdout)

    def judge(self, reviewer: str, prefers: Any, name: str = "round") -> None:
        """Judge all: `prefers(row)` is `old`, `new` or `tie`."""
        while (found := self.json("next", name, "--reviewer", reviewer))["open"]:
            ballot = found["next"]
            wanted = prefers(int(ballot["ballot"]))
            shown = [answer.split()[0] for answer in ballot["answers"]]
            choice = 0 if wanted == "tie" else 1 + shown.index(wanted)
            self.say("vote", name, ballot["ballot"], str(choice), "--reviewer", reviewer)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_two_reviewers_blind_and_what_they_come_to(office: Office) -> None:
    drawn = office.say("start", "medical@2", "medical@1", "--name", "round").stdout
    assert "12 of 12 rows of medical@2 and medical@1, 1 of them answered alike" in drawn
    shown = office.say("next", "round", "--reviewer", "ann", "--json").stdout
    assert not any(word in shown for word in ("medical", "sha256", "reference", "A1"))

    # What stands first for one reviewer stands second for the other, on every row.
    review = read_review(office.folder, "round")
    first, second = (
        {one.name: one.of for one in ballots(review, name, at)}
        for at, name in enumerate(("ann", "bob"))
    )
    assert len(first) == ROWS - 1
    assert all(second[name] == of[::-1] for name, of in first.items())
    assert len(set(first.values())) == 2

    office.judge("ann", lambda row: "new" if row <= 8 else "old")
    office.judge("bob", lambda row: "new" if row <= 7 else "tie" if row == 8 else "old")
    found = office.json("show", "round")
    # Of 11 rows that were shown; on the twelfth both say the same, a tie for each.
    shown_rows = sorted(map(int, first))
    ann = [1.0 if row <= 8 else -1.0 for row in shown_rows] + [0.0]
    bob = [1.0 if row <= 7 else 0.0 if row == 8 else -1.0 for row in shown_rows] + [0.0]
    assert found["preferred"] == pytest.approx(((sum(ann) + sum(bob)) / 24 + 1) / 2)
    rows, said = [*range(12)] * 2, ann + bob
    bounds = mean_gain_interval(np.array(said), 0.95, np.array(rows, dtype=float))
    assert (found["low"], found["high"]) == pytest.approx(
        ((bounds.low + 1) / 2, min(1.0, (bounds.high + 1) / 2))
    )
    assert (found["reviewers"], found["rows"], found["same"]) == (["ann", "bob"], 12, 1)
    (pair,) = found["agreed"]
    ours, theirs = np.array(ann[:-1]), np.array(bob[:-1])
    same = float((ours == theirs).mean())
    chance = sum(float((ours == v).mean() * (theirs == v).mean()) for v in (-1.0, 0.0, 1.0))
    assert (pair["ballots"], pair["same"]) == (11, pytest.approx(same))
    assert pair["kappa"] == pytest.approx((same - chance) / (1 - chance))
    chosen = [first[str(row)][0] == (0 if row <= 8 else 1) for row in shown_rows]
    chosen += [second[str(row)][0] == (0 if row <= 7 else 1) for row in shown_rows if row != 8]
    assert found["first_shown"] == pytest.approx(sum(chosen) / len(chosen))
    best, other = office.json("rank", "medical")
    assert (best["release"], other["release"]) == ("medical@2", "medical@1")


def test_an_alias_asks_what_people_prefer(office: Office) -> None:
    registry = office.registry
    registry.promote("medical", 1, "prod", who="boss", why="first")
    rule = Rule(preferred=0.5, reviewers=2)
    registry.protection.keep(Protected(aliases={"prod": rule}), who="boss")

    def promote() -> None:
        registry.promote("medical", 2, "prod", who="boss", why="better")

    with pytest.raises(Refused, match="nobody has reviewed it beside `medical@1`"):
        promote()
    office.say("start", "medical@2", "medical@1", "--name", "round")
    office.judge("ann", lambda row: "new")
    office.say("close", "round", "--why", "ann has")
    with pytest.raises(Refused, match="1 reviewed it beside `medical@1`, 2 must"):
        promote()
    office.judge("bob", lambda row: "old" if row < 9 else "new")
    office.say("close", "round", "--why", "both have")
    with pytest.raises(Refused, match=r"at least \d+.\d% of the time, 50.0% is asked for"):
        promote()
    for shown in ballots(read_review(office.folder, "round"), "bob", 1):  # the last word counts
        choice = str(1 + shown.of.index(0))
        office.say("vote", "round", shown.name, choice, "--reviewer", "bob")
    office.say("close", "round", "--why", "bob looked again", "--confidence", "0.5")
    with pytest.raises(Refused, match=r"closed at 50.0% confidence, 95.0% must"):
        promote()
    first = ballots(read_review(office.folder, "round"), "cleo", 2)[0]
    office.say("vote", "round", first.name, "1", "--reviewer", "cleo")
    office.say("close", "round", "--why", "cleo has begun")
    with pytest.raises(Refused, match="before 1 of its reviewers had judged every row"):
        promote()
    office.judge("cleo", lambda row: "new")
    office.say("close", "round", "--why", "all have")
    promote()
    assert registry.resolve("medical:prod").version == 2


def test_a_vote_is_of_what_was_shown_whoever_votes_first(office: Office) -> None:
    office.say("start", "medical@2", "medical@1", "--name", "round")
    shown = {name: office.json("next", "round", "--reviewer", name)["next"] for name in "ab"}
    for name in "ba":  # the second to look is the first to vote
        answers = [answer.split()[0] for answer in shown[name]["answers"]]
        choice = str(1 + answers.index("new"))
        office.say("vote", "round", shown[name]["ballot"], choice, "--reviewer", name)
    held = Votes(office.folder, read_review(office.folder, "round"))
    assert [vote.of[vote.choice - 1] for vote in held.all] == [0, 0]
    assert office.json("show", "round")["reviewers"] == ["b", "a"]


def test_others_judge_and_read_while_somebody_thinks(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.say("start", "medical@2", "medical@1", "--name", "round")
    typed = review_shown.typed

    def thinks(ballot: Ballot) -> int | str:
        """Bob judges all before Ann has typed anything."""
        monkeypatch.setattr(review_shown, "typed", typed)
        office.judge("bob", lambda _: "new")
        assert office.json("show", "round")["reviewers"] == ["bob"]
        assert len(office.json("rank", "medical")) == 2
        return typed(ballot)

    monkeypatch.setattr(review_shown, "typed", thinks)
    done = office.say("ask", "round", "--reviewer", "ann", typed="1\n" * (ROWS - 1))
    assert "0 left" in done.stdout
    votes = Votes(office.folder, read_review(office.folder, "round"))
    assert votes.looked == ["ann", "bob"]
    # What stood first for Ann was settled by her first look, whoever voted first.
    sides = {name: {vote.ballot: vote.of for vote in votes.all if vote.reviewer == name}
             for name in votes.looked}  # fmt: skip
    assert all(sides["bob"][name] == of[::-1] for name, of in sides["ann"].items())


def test_votes_that_are_not_understood_stay(office: Office) -> None:
    office.say("start", "medical@2", "medical@1", "--name", "round")
    office.judge("ann", lambda _: "new")
    path = office.folder / "round" / "votes.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    spoilt = b"".join([*lines[:3], lines[3].replace(b"{", b'{"later": 1, ', 1), *lines[4:]])
    path.write_bytes(spoilt)
    for asked in (("next", "round"), ("show", "round"), ("rank", "medical")):
        with pytest.raises(IntegrityError, match="line 4 is none"):
            office.say(*asked)
    assert path.read_bytes() == spoilt


def test_a_row_of_two_reviews_is_one_draw(office: Office) -> None:
    def interval() -> float:
        best = office.json("rank", "medical")[0]
        return float(best["high"]) - float(best["low"])

    for name, seed in (("round", "1"), ("again", "2")):
        office.say("start", "medical@2", "medical@1", "--name", name, "--seed", seed)
    questions = [
        {item.question: item.answers for item in read_review(office.folder, name).items}
        for name in ("round", "again")
    ]
    assert questions[0] == questions[1], "both have drawn all rows, in other orders"

    def judge(name: str) -> None:
        """The same of the same row, whatever number it has."""
        review = read_review(office.folder, name)
        rows = {item.number: item.reference for item in review.items}
        office.judge("ann", lambda row: "new" if int(rows[row][1:]) <= 7 else "old", name)

    judge("round")
    once = interval()
    judge("again")
    assert interval() == pytest.approx(once, rel=0.1)  # √2 less if they were draws of their own


def test_a_review_with_nothing_to_choose_is_a_tie_of_who_looked(tmp_path: Path) -> None:
    office = Office(tmp_path, alike=range(ROWS + 1))
    office.say("start", "medical@2", "medical@1", "--name", "round")
    with pytest.raises(InvalidInput, match="nobody has judged"):
        office.json("show", "round")
    assert "0 left" in office.say("ask", "round", "--reviewer", "ann").stdout
    assert "all of it" in office.say("next", "round", "--reviewer", "bob").stdout
    found = office.json("show", "round")
    assert (found["reviewers"], found["rows"], found["preferred"]) == (["ann", "bob"], ROWS, 0.5)
    assert 0 < found["low"] < 0.5 < found["high"] < 1
    office.registry.promote("medical", 1, "prod", who="boss", why="first")
    rule = Rule(preferred=round(found["low"] - 0.01, 2), reviewers=2)
    office.registry.protection.keep(Protected(aliases={"prod": rule}), who="boss")
    office.say("close", "round", "--why", "both looked")
    office.registry.promote("medical", 2, "prod", who="boss", why="no worse")
    assert [row["strength"] for row in office.json("rank", "medical")] == [0.0, 0.0]


def test_a_reviewer_who_has_judged_a_part_ties_on_the_same_part(tmp_path: Path) -> None:
    """Five of ten rows are answered alike; one of the others is judged: one of those counts."""
    side = Side("medical@2", "sha256:" + "a" * 64)
    items = tuple(
        Item(n, ({"role": "user", "content": "?"},), ("same", "same") if n < 5 else ("a", "b"), "")
        for n in range(10)
    )
    review = Review("r", "medical", side, side, "pairwise", 1, 10, items)
    cast = [Vote("ann", "7", 7, (0, 1), 1)]
    assert sorted(preferences_of(review, cast)) == [(0, 0.0), (7, 1.0)]
    every = [Vote("ann", str(n), n, (0, 1), 1) for n in range(5, 10)]
    assert len(preferences_of(review, every)) == 10


def test_what_is_erased_is_in_no_review(office: Office) -> None:
    office.say("start", "medical@2", "medical@1", "--name", "round")
    assert "code of case 1?" in (office.folder / "round" / "review.json").read_text()
    arguments = ["medical@1", "predictions.jsonl", "--why", "consent withdrawn", "--yes"]
    done = CliRunner().invoke(erase, arguments, obj=office.app)
    assert done.exit_code == 0, done.output
    assert "review `round` had these answers" in done.stderr
    left = [*office.app.settings.home.glob("reviews/**/*.json*")]
    assert not any("code of case 1?" in path.read_text() for path in left)
    assert not (office.folder / "round").exists()


def test_marks_and_what_is_typed(office: Office) -> None:
    office.say("start", "medical@2", "medical@1", "--scale", "likert", "--rows", "2", "--name", "m")
    review = read_review(office.folder, "m")
    order = ballots(review, "ann", 0)
    assert len(order) == 2 * sum(not item.same for item in review.items)
    typed = ["9", "s"] + ["5" if one.of == (0,) else "3" for one in order[1:]]
    done = office.say("ask", "m", "--reviewer", "ann", typed="\n".join(typed) + "\n")
    assert "1 left" in done.stdout
    mark = "5" if order[0].of == (0,) else "3"
    office.say("vote", "m", order[0].name, mark, "--reviewer", "ann")
    found = office.json("show", "m")
    alike = sum(item.same for item in review.items)
    assert found["preferred"] == pytest.approx(((2 - alike) * 0.5 / 2 + 1) / 2)
    assert found["first_shown"] is None
    with pytest.raises(Exception, match="`6` is no choice"):
        office.say("vote", "m", order[0].name, "6", "--reviewer", "ann")


def test_a_review_goes_with_a_purged_release_and_with_bytes_of_a_deleted_one(
    office: Office, tmp_path: Path
) -> None:
    office.say("start", "medical@2", "medical@1", "--name", "round")
    publish(office.registry, tmp_path / "made", 3, "newest")
    office.say("start", "medical@3", "medical@1", "--name", "later")
    office.registry.delete("medical", 2, who="boss")
    predictions = digest_file(tmp_path / "made" / "2" / "predictions.jsonl")
    asked = ["--why", "withdrew", "--yes"]
    done = CliRunner().invoke(erase, [predictions, *asked, "--json"], obj=office.app)
    assert json.loads(done.stdout)["reviews"] == ["round"]
    assert [path.name for path in office.folder.iterdir()] == ["later"]
    done = CliRunner().invoke(delete, ["medical@3", "--purge", *asked], obj=office.app)
    assert "review `later` had its answers: erased with its votes" in done.stderr
    assert not [*office.folder.iterdir()]


def test_a_review_that_cannot_be_read_stops_no_other_and_no_erasure(office: Office) -> None:
    office.say("start", "medical@2", "medical@1", "--name", "round")
    office.judge("ann", lambda row: "new")
    torn = office.folder / "torn"
    torn.mkdir()
    (torn / "review.json").write_bytes((office.folder / "round" / "review.json").read_bytes()[:99])
    listed = office.say("list", "--json")
    assert [one["name"] for one in json.loads(listed.stdout)] == ["round"]
    assert "torn/review.json` is no review" in listed.stderr
    assert len(office.json("rank", "medical")) == 2
    arguments = ["medical@1", "predictions.jsonl", "--why", "withdrew", "--yes", "--json"]
    done = CliRunner().invoke(erase, arguments, obj=office.app)
    assert json.loads(done.stdout)["reviews"] == ["round", "torn"]
    assert not [*office.folder.iterdir()]


def test_a_review_is_written_whole_or_not_at_all(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(BaseException):  # noqa: B017, PT011
        office.say("start", "medical@2", "medical@1", "--name", "round")
    assert not [*office.folder.rglob("*.json*")]
    monkeypatch.undo()
    office.say("start", "medical@2", "medical@1", "--name", "round")
    office.say("start", "medical@2", "medical@1", "--name", "round")  # the very same one
    with pytest.raises(Conflict, match="a review `round` already"):
        office.say("start", "medical@2", "medical@1", "--name", "round", "--seed", "7")
    path = office.folder / "round" / "review.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["review.json"]
