"""When a mutant counts as noticed: judged with a tree that answers as it is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from bench.mutants.areas import AREAS
from bench.mutants.covering import Covering
from bench.mutants.judge import Drawn, judge_drawn
from bench.mutants.mutant import ROOT, Edit
from bench.mutants.tree import Run, Tree

TEST = "tests/test_a.py::test_it"
EDIT = Edit("bench/mutants/areas.py", 0, 1, "'")
COVERING = Covering({TEST: 0.2}, {TEST: 0.1}, {}, ())


class Told:
    """A tree in which the mutant and the code as it is take so many seconds, `None` for ever."""

    root = ROOT

    def __init__(self, mutant: float | None, code: float | None) -> None:
        self.confirmed: dict[str, bool] = {}
        self.patience: list[float] = []
        self._takes = {True: mutant, False: code}
        self._planted = False

    @contextlib.contextmanager
    def mutated(self, edit: Edit) -> Iterator[None]:
        self._planted = True
        yield
        self._planted = False

    def run(self, tests: Sequence[str], *, each: dict[str, float], **_: Any) -> Run:
        takes = self._takes[self._planted]
        if self._planted:
            self.patience.append(each[TEST])
        late = takes is None or takes > each[TEST]
        code = None if late else 0
        return Run(code, TEST if late else None, True, late, 0.0, "", {})


def judged(mutant: float | None, code: float | None) -> tuple[str, list[float]]:
    tree = Told(mutant, code)
    drawn = Drawn("branch", EDIT, 1, (TEST,), 7)
    verdict = judge_drawn(drawn, AREAS["limits"], cast(Tree, tree), COVERING)
    return verdict.outcome, tree.patience


@pytest.mark.parametrize(
    ("mutant", "code", "outcome", "patience"),
    [
        (0.2, 0.2, "survived", [6.0]),
        (None, 0.2, "timeout", [6.0]),  # it hangs: five times 0.2 s, and five more
        (
            20.0,
            20.0,
            "survived",
            [6.0, 24.0],
        ),  # the machine is busy
        (None, 20.0, "timeout", [6.0, 24.0]),
        (None, None, "error", [6.0, 24.0, 96.0]),  # nothing can be told
    ],
)
def test_a_mutant_hangs_only_where_the_code_as_it_is_does_not(
    mutant: float | None, code: float | None, outcome: str, patience: list[float]
) -> None:
    assert judged(mutant, code) == (outcome, patience)


def test_the_quickest_test_is_the_one_that_works_least_whatever_the_clock_said() -> None:
    lines = {"f.py": {3: frozenset({"busy", "waits"})}}
    covering = Covering({"busy": 1.0, "waits": 9.0}, {"busy": 1.0, "waits": 0.1}, lines, ())
    assert covering.of("f.py", 3, 3, at_import=False) == ["waits", "busy"]
    assert covering.patience(["waits", "busy"]) == {
        "each": {"": 50.0, "waits": 50.0, "busy": 10.0},
        "timeout": 110.0,
    }
