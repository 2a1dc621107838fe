"""The event log: whole lines, in order, on disk before anybody hears of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from adapterworks.builders.training.events import Event, EventLog, parse_lines, read_events


def test_an_event_is_one_line_on_disk_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1234.56789)
    path = tmp_path / "very" / "deep" / "events.jsonl"
    lines: list[str] = []
    log = EventLog(path, lambda event: lines.extend(path.read_text().splitlines()))
    log.emit("step", loss=0.5, name="Größe")
    log.emit("end")
    first = '{"event":"step","time":1234.568,"loss":0.5,"name":"Größe"}'
    assert lines == [first, first, '{"event":"end","time":1234.568}']


def test_every_listener_hears_every_event_and_the_log_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    heard: dict[str, list[Event]] = {"a": [], "b": []}
    EventLog(path, heard["a"].append, heard["b"].append).emit("one", number=1)
    EventLog(path, heard["a"].append).emit("two")
    assert [event["event"] for event in heard["a"]] == ["one", "two"]
    assert [event["number"] for event in heard["b"]] == [1]
    assert read_events(path) == heard["a"]


def test_an_event_of_another_process_is_told_and_not_written_again(tmp_path: Path) -> None:
    heard: list[Event] = []
    log = EventLog(tmp_path / "events.jsonl", heard.append)
    log.pass_on({"event": "step"})
    assert heard == [{"event": "step"}]
    assert read_events(log.path) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ('{"n":1}\n{"n":2}\n', [1, 2]),
        ('{"n":1}\n{"n":2}', [1]),  # the writer is not done, or was killed
        ('{"n":1}\n{"n":{"n":3}\n{"n":4}\n', [1, 4]),  # killed in a line that the next one ended
        ('\n  \n{"n":1}\n', [1]),
        ("", []),
    ],
)
def test_only_whole_events_are_read(text: str, numbers: list[int], tmp_path: Path) -> None:
    assert [event["n"] for event in parse_lines(text.encode())] == numbers
    path = tmp_path / "events.jsonl"
    path.write_text(text)
    assert [event["n"] for event in read_events(path)] == numbers


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_events(tmp_path / "gone.jsonl") == []


def test_other_letters_are_themselves(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(path).emit("said", text="über\n\u2028中")
    (line,) = path.read_bytes().decode().removesuffix("\n").split("\n")
    assert json.loads(line)["text"] == "über\n\u2028中"
    assert "中" in line
    assert [event["text"] for event in read_events(path)] == ["über\n\u2028中"]
