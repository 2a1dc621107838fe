"""Which test runs which line: a pytest plugin on `sys.settrace`, gathered once.

Lines of a module that run while it is imported are nobody's; a test that runs any line of the file
covers them. What other processes run is not seen.
"""

from __future__ import annotations

import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest


class Lines:
    """Traces the files named, relative to `root`, from its creation to `stop`."""

    def __init__(self, root: Path, files: set[str]) -> None:
        self.touched: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
        self._root = root.resolve()
        self._files = files
        self._names: dict[str, str | None] = {}
        self._tracers: dict[CodeType, Any] = {}
        self._current = self.touched[""]
        threading.settrace(self._call)
        sys.settrace(self._call)

    def stop(self) -> None:
        """Trace nothing more."""
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """What runs from a test's first fixture to its last one's end is the test's."""
        self._current = self.touched[item.nodeid]
        if sys.gettrace() is None:  # a test took it away
            sys.settrace(self._call)
        try:
            return (yield)
        finally:
            self._current = self.touched[""]

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        if code not in self._tracers:
            self._tracers[code] = self._tracer(code)
        return self._tracers[code]

    def _tracer(self, code: CodeType) -> Any:
        path = code.co_filename
        if path not in self._names:
            self._names[path] = self._name(path)
        name = self._names[path]
        if name is None:
            return None

        def line(frame: FrameType, event: str, arg: object) -> Any:
            if event == "line":
                self._current.add((name, frame.f_lineno))
            return line

        return line

    def _name(self, path: str) -> str | None:
        if not path.endswith(".py"):
            return None
        resolved = Path(path).resolve()
        if not resolved.is_relative_to(self._root):
            return None
        name = resolved.relative_to(self._root).as_posix()
        return name if name in self._files else None
