"""How a build is shown while it runs: a live line on a terminal, plain lines elsewhere.

Invariant: everything shown comes from the build's events, so a build's log replays its display.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import click

# What a step tells beside its loss, where its objective has it.
_TOLD = ("reward_accuracy", "margin", "reward", "kl", "length", "entropy")
# In lines, a step is told at most this often, in seconds.
_INTERVAL = 10.0


def seconds(value: float) -> str:
    """A time span for people: `45 s`, `3 min 05 s`, `1 h 02 min`."""
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def step_line(event: dict[str, Any]) -> str:
    """One training step in words."""
    told = "".join(f"{name} {event[name]:.3f}  " for name in _TOLD if name in event)
    return (
        f"step {event['step']}/{event['steps']}  loss {event['loss']:.4f}  {told}"
        f"{event['tokens_per_second']:.0f} tokens/s  {seconds(event['seconds_left'])} left"
    )


def reference_line(event: dict[str, Any]) -> str:
    """What the policy is held near, and how far from it it begins, in words."""
    return (
        f"reference: {event['reference']}; before the first step the policy differs from it by at "
        f"most {event['max_difference']:.2g} nats a token ({event['tokens']} tokens)"
    )


def tracker_line(event: dict[str, Any]) -> str:
    """A tracker that takes no more, in words."""
    return (
        f"the tracker `{event['tracker']}` is told no more from step {event['step']} on: "
        f"{event['message']}"
    )


def alarm_line(event: dict[str, Any]) -> str:
    """An alarm of a training on sampled answers, in words."""
    return f"alarm at step {event['step']}: {event['message']}"


class Lines:
    """A listener of build events that tells them in lines, steps not too often.

    Args:
        say: told each line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said = -_INTERVAL
        self._stopping = False

    def say(self, line: str) -> None:
        """Tell one line that stays."""
        self._say(line)

    def __call__(self, event: dict[str, Any]) -> None:
        """Tell of an event."""
        kind = event["event"]
        if kind == "step":
            self.advance(step_line(event), event["step"], event["steps"])
        elif kind == "evaluate":
            self.evaluating(event["subject"], event["done"], event["total"])
        elif kind == "validation" and event["loss"] is not None:
            best = "  best so far" if event["best"] else ""
            self.say(f"step {event['step']}: validation loss {event['loss']:.4f}{best}")
        elif kind == "validation" and "reward" in event:
            best = "  best so far" if event["best"] else ""
            self.say(f"step {event['step']}: validation reward {event['reward']:.4f}{best}")
        elif kind == "reference":
            self.say(reference_line(event))
        elif kind == "tracker_lost":
            self.say(tracker_line(event))
        elif kind == "alarm":
            self.say(alarm_line(event))
        elif kind == "resumed":
            self.say(f"resumed at step {event['step']}")
        elif kind == "stopping":
            self._stopping = True
            self.say("ending after this step, which is saved; Ctrl-C once more ends it at once")
        elif kind == "checkpoint" and self._stopping:
            self.say(f"step {event['step']} is saved; run it again to go on from there")
        elif kind == "stage" and event["state"] == "begin":
            self.say(f"stage {event['name']}")

    def evaluating(self, subject: str, done: int, total: int) -> None:
        """Tell how many rows a subject has answered."""
        self.advance(f"evaluating {subject} {done}/{total}", done, total)

    def advance(self, line: str, done: int, total: int) -> None:
        """Tell a line that the next one of its kind makes old."""
        if done == total or time.monotonic() - self._said > _INTERVAL:
            self._said = time.monotonic()
            self.say(line)


class BuildProgress(Lines):
    """The same on stderr, for a command; use as a context manager.

    Args:
        quiet: show nothing (the command prints JSON).
        label: stands before every line, for several builds in a row.
    """

    def __init__(self, *, quiet: bool = False, label: str = "") -> None:
        super().__init__(lambda line: click.echo(line, err=True))
        self._quiet = quiet
        self._label = f"{label}: " if label else ""
        self._live = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> BuildProgress:
        if self._live:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True)
            )
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, line: str) -> None:
        """Show one line that stays."""
        if self._quiet:
            return
        if self._progress is not None:
            self._progress.console.print(self._label + line, highlight=False, markup=False)
        else:
            super().say(self._label + line)

    def advance(self, line: str, done: int, total: int) -> None:
        """Move the bar, or show a line."""
        if self._progress is None:
            super().advance(line, done, total)
            return
        if self._task is None:
            self._task = self._progress.add_task("", total=total)
        self._progress.update(
            self._task, description=self._label + line, completed=done, total=total
        )
