"""Which quick tests of an area run which line, and how long they take.

Invariant: what is kept was gathered from these very sources and tests, which all passed then.
What changed elsewhere may have made a test fail since, so whoever believes a failure asks the test
again on the code as it is (`judge.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.mutants.areas import QUICK, Area
from bench.mutants.mutant import ROOT, TableFault
from bench.mutants.tree import Tree
from bench.mutants.watch import BEFORE

_CACHE = ROOT / ".cache" / "mutants"
_SLOW = 8.0  # seconds of processor time from which on a test is not worth it for one mutant


@dataclass(frozen=True)
class Covering:
    """The map of one area.

    Attributes:
        seconds: by test, set-up included, as the clock showed them.
        work: the processor's seconds, which say on a busy machine too which test is the quickest.
        lines: tests by file and line.
        modules: what the tests import that is not ours.
    """

    seconds: dict[str, float]
    work: dict[str, float]
    lines: dict[str, dict[int, frozenset[str]]]
    modules: tuple[str, ...]

    def of(self, file: str, first: int, last: int, *, at_import: bool) -> list[str]:
        """The tests that run any of these lines, the quickest first.

        What runs at import is covered by whatever runs a line of the file.
        """
        lines = self.lines.get(file, {})
        found: set[str] = set()
        for line, tests in lines.items():
            if at_import or first <= line <= last:
                found |= tests
        return sorted(found, key=lambda test: (self.work[test], test))

    def patience(self, tests: Iterable[str], times: int = 1) -> dict[str, Any]:
        """Seconds after which one of these tests, and all together, are said to hang.

        They are a few times what the test took: whoever believes it asks the same test, with the
        same patience, on the code as it is (`judge.py`), since the machine may be busier now.
        """
        seconds = {test: self.seconds.get(test, 5.0) for test in tests}
        each = {test: times * (5.0 + 5.0 * took) for test, took in seconds.items()}
        before = times * 30.0
        return {
            "each": {BEFORE: max([before, *each.values()]), **each},
            "timeout": before + times * (30.0 + 5.0 * sum(seconds.values())),
        }


def gather(area: Area, tree: Tree) -> Covering:
    """The area's map, gathered in the tree unless it is there already.

    Raises:
        TableFault: a test fails on the code as it is.
    """
    path = _CACHE / f"{area.name}-{_digest(area, tree.root)}.json"
    if path.exists():
        return _read(json.loads(path.read_text()))
    options: dict[str, Any] = {"arguments": [*QUICK], "all": True, "timeout": 1800.0}
    clean = tree.run(area.tests, learn=True, **options)
    if not clean.passed:
        raise TableFault(f"`{area.name}`: its tests fail on the code as it is: {clean.tail}")
    tree.preload(clean.answer["modules"])
    # Tests that are in a hurry may fail while they are traced; which lines they run is what counts.
    traced = tree.run(area.tests, trace=area.files(tree.root), **options)
    passed = {name for name, what in clean.answer["outcomes"].items() if what == "passed"}
    quick = {name for name in passed if clean.answer["work"][name] < _SLOW}
    document = {
        "seconds": {name: clean.answer["tests"][name] for name in sorted(quick)},
        "work": {name: clean.answer["work"][name] for name in sorted(quick)},
        "touched": traced.answer["touched"],
        "modules": clean.answer["modules"],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"{area.name}-*.json"):
        old.unlink()
    path.write_text(json.dumps(document))
    return _read(document)


def _read(document: dict[str, Any]) -> Covering:
    lines: dict[str, dict[int, set[str]]] = {}
    for test, touched in document["touched"].items():
        if test in document["seconds"]:
            for file, line in touched:
                lines.setdefault(file, {}).setdefault(line, set()).add(test)
    frozen = {
        file: {line: frozenset(tests) for line, tests in found.items()}
        for file, found in lines.items()
    }
    return Covering(document["seconds"], document["work"], frozen, tuple(document["modules"]))


def _digest(area: Area, root: Path) -> str:
    hasher = hashlib.sha256(repr(area).encode())
    named = [root / test for test in area.tests]
    tests = [path for test in named for path in (test.rglob("*.py") if test.is_dir() else [test])]
    for path in sorted([*(root / file for file in area.files(root)), *tests]):
        hasher.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return hasher.hexdigest()[:16]
