"""What is asked beside what is known: what drifts is found and named, what does not is let be."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapterworks.builders.evaluation.sequences import sequence_interval
from adapterworks.builders.watching.inputs import Inputs, halves, watch_inputs
from adapterworks.cli.watch_alarm import Alarm, raise_alarm, write_metrics
from adapterworks.gateway.webhooks.events import logged, of_log
from adapterworks.manifests.errors import InvalidInput, Refused
from tests.builders.watching.test_paired import Shelf, shelf
from tests.registry.exchanges.test_exchanges import exchange
from tests.small_base import base, bases

__all__ = ["base", "bases", "shelf"]

CARDS, LOANS = "my card was swallowed at {}", "what is the rate of a loan in {}"


def drawn(count: int, seed: int, loans: float, tail: str = "") -> list[str]:
    generator = np.random.Generator(np.random.PCG64(seed))
    return [
        (LOANS if generator.random() < loans else CARDS).format(
            f"street {int(generator.integers(1000))}"
        )
        + tail
        for _ in range(count)
    ]


def look(traffic: list[str], **options: Any) -> Inputs:
    values: dict[str, Any] = {"confidence": 0.95, "most": 0.1, "topics": 2, **options}
    return watch_inputs(drawn(800, 1, 0.3), traffic, **values)


def test_a_topic_that_grows_is_named_with_its_bounds() -> None:
    found = look(drawn(600, 2, 0.75))
    assert found.verdict == "drift"
    moved = [one for one in found.aspects if one.name.startswith("topic")]
    loans = next(one for one in moved if "loan" in " ".join(one.words))
    assert loans.verdict == "drift"
    assert loans.before == pytest.approx(0.3, abs=0.06)
    assert loans.now == pytest.approx(0.75, abs=0.06)
    assert 0.1 < loans.low < loans.now - loans.before < loans.high
    # Five aspects of two streams each: every sequence has a tenth of the error.
    asked = np.array([float("loan" in text) for text in drawn(600, 2, 0.75)])
    assert len(found.aspects) == 5
    assert loans.now == pytest.approx(asked.mean())  # the topic is the word
    now = sequence_interval(asked, 1 - 0.05 / 10)
    then = (now.low - loans.low, now.high - loans.high)  # high and low of what is known
    assert then[0] > loans.before > then[1]
    _, known = halves(drawn(800, 1, 0.3))
    assert loans.before == pytest.approx(np.mean(["loan" in text for text in known]))
    assert halves(drawn(800, 1, 0.3)[::-1])[1] == known


def test_lengths_and_what_nobody_has_seen() -> None:
    longer = look(drawn(400, 3, 0.3, tail=" and please answer at once because it is urgent"))
    verdicts = {one.name: one.verdict for one in longer.aspects}
    assert verdicts["length"] == "drift"
    strange = look([f"кофе {n}" for n in range(400)])
    assert {one.name: one.verdict for one in strange.aspects}["likeness"] == "drift"
    assert look([]).verdict == "undecided"
    with pytest.raises(InvalidInput, match="3 questions are known"):
        watch_inputs(["a", "b", "c"], [], confidence=0.95, most=0.1)


def test_without_a_change_there_is_no_alarm() -> None:
    """Four streams, looked at twice each, with no shift let pass."""
    alarms = sum(
        any(look(drawn(count, seed, 0.3), most=0.0).verdict == "drift" for count in (100, 400))
        for seed in range(100, 104)
    )
    assert alarms == 0
    assert look(drawn(2000, 7, 0.3), most=0.3).verdict == "steady"


def test_an_alarm_is_noted_once_and_told(shelf: Shelf, tmp_path: Path) -> None:
    store = shelf.app.exchanges
    now = time.time()
    store.put(
        [
            exchange(n, created=now + n / 1000, request={"messages": [
                {"role": "user", "content": f"how much is {n} and {n}, and why is it so much?"}
            ]})
            for n in range(300)
        ]
    )  # fmt: skip
    metrics = tmp_path / "medical.prom"
    for _ in (1, 2):
        told, error = shelf.run("--from", "inputs", "--metrics", str(metrics))
        assert isinstance(error, Refused)  # exit code 6
        assert told["verdict"] == "drift"
        assert (told["asked"], told["known"]) == (300, 400)
    with shelf.app.registry.database.read() as connection:
        events, _ = logged(connection, 0)
    alarms = [event for event in events if event.kind == "alarm"]
    assert [(event.alias, event.version) for event in alarms] == [("prod", 2)]
    (said,) = of_log(alarms[0], lambda *_: {})
    assert (said.type, said.data["watched"]) == ("alias.alarm", "inputs")
    assert "how much" not in said.body()
    lines = metrics.read_text().splitlines()
    rows = tmp_path / "rows.jsonl"
    labels = f'alias="medical:prod",from="inputs",rows="{rows}",confidence="0.95",max_shift="0.1"'
    assert f"adapters_watch_alarm{{{labels}}} 1" in lines
    assert f"adapters_watch_questions{{{labels}}} 300" in lines
    assert any(line.startswith(f"adapters_watch_shift{{{labels},what=") for line in lines)


def test_looks_that_differ_have_an_alarm_each(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One tenant's answers are worse and another's are not: each look says so once."""
    monkeypatch.setattr("adapterworks.registry.facets.log.PAGE", 3)

    def look(wrong: bool, **looked: str) -> None:
        alarm = Alarm("medical", 2, "prod", "feedback", "worse", looked)
        raise_alarm(shelf.app, alarm, None, [], wrong=wrong)

    for _ in range(3):
        look(True, tenant="acme", metric="feedback")
        look(False, tenant="globex", metric="feedback")
        for at in range(9):  # other facts, and other looks' alarms, are newer
            shelf.app.registry.log.note("medical", 2, "proof", who="t", result=str(at))
            look(at % 2 == 0, tenant="acme", metric="other")
    look(False, tenant="acme", metric="feedback")
    look(False, tenant="acme", metric="feedback")
    events = shelf.app.registry.log.events("medical", version=2, limit=200)
    told = [
        one.kind for one in reversed(events)
        if one.data.get("tenant") in ("acme", "globex") and one.data["metric"] == "feedback"
    ]  # fmt: skip
    assert told == ["alarm", "alarm-over"]


def test_what_begins_again_is_told_again(shelf: Shelf) -> None:
    def look(wrong: bool) -> None:
        alarm = Alarm("medical", 2, "prod", "inputs", "drift")
        raise_alarm(shelf.app, alarm, None, [], wrong=wrong)

    for wrong in (False, True, True, False, False, True):
        look(wrong)
    raise_alarm(
        shelf.app, Alarm("medical", 2, "prod", "rows", "worse"), None, [], wrong=True
    )  # something else
    with shelf.app.registry.database.read() as connection:
        events, _ = logged(connection, 0)
    told = [(one.kind, one.data["watched"]) for one in events if one.kind.startswith("alarm")]
    assert told == [
        ("alarm", "inputs"), ("alarm", "inputs"), ("alarm", "rows")
    ]  # fmt: skip


def test_metrics_are_quoted(tmp_path: Path) -> None:
    write_metrics(tmp_path / "m", [("drop", {"alias": 'a"b\\c'}, 0.25)])
    assert (tmp_path / "m").read_text().splitlines()[-1] == (
        'adapters_watch_drop{alias="a\\"b\\\\c"} 0.25'
    )
