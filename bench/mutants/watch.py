"""What happens in one run of pytest: a plugin for the child, and what its parent reads meanwhile.

Invariant: the file that says which test is running is replaced whole, so that it can be read while
it is written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BEFORE = ""  # in place of a test's id, before the first begins


class Watch:
    """The first failure, whether nothing could be imported, and what each test takes.

    Attributes:
        seconds: by test, from its first fixture to its last one's end.
        work: seconds of processor time, that of ended children too: the same on a busy machine.
    """

    def __init__(self, at: Path) -> None:
        self.failed: str | None = None
        self.imported = True
        self.seconds: dict[str, float] = {}
        self.work: dict[str, float] = {}
        self.outcomes: dict[str, str] = {}
        self._at = at

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported says nothing about its tests."""
        if report.failed:
            self.imported = False
            self.failed = self.failed or report.nodeid

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Setup, call and teardown of one test."""
        written = self._at.with_suffix(".new")
        written.write_text(json.dumps([item.nodeid, time.monotonic()]))
        written.replace(self._at)
        began, worked = time.monotonic(), _work()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.monotonic() - began
            self.work[item.nodeid] = _work() - worked

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """What came of one of the three."""
        if report.failed:
            self.failed = self.failed or report.nodeid
            self.outcomes[report.nodeid] = "failed"
        else:
            self.outcomes.setdefault(report.nodeid, report.outcome)
            if report.skipped:
                self.outcomes[report.nodeid] = "skipped"


def running(at: Path, began: float) -> tuple[str, float]:
    """The test that runs, and since when by the monotonic clock; or `BEFORE`, since `began`."""
    try:
        test, since = json.loads(at.read_text())
    except FileNotFoundError:
        return BEFORE, began
    return str(test), float(since)


def _work() -> float:
    return sum(os.times()[:4])
