"""One mutant against the tests that cover it, and what a run of many amounts to.

Invariant: a mutant is killed by a test that passes on the code as it is, in this copy and this run.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bench.mutants.areas import Area
from bench.mutants.covering import Covering
from bench.mutants.kept import Kept, candidates
from bench.mutants.mutant import Edit, Named, TableFault
from bench.mutants.tree import Run, Tree

Outcome = Literal["killed", "timeout", "survived", "error"]
NAMED_SHARE, GENERATED_SHARE = 0.95, 0.90
_PATIENCE = (1, 4, 16)  # how many times what a test may take as a rule
_NOT_FOUND = 4  # pytest's code for a test that is not there


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant.

    Attributes:
        name: a named one's; `operator` of a generated one.
        seed: of a generated one.
        by: the test that failed first.
        elsewhere: a named one was noticed, but by none of the tests that are named.
    """

    kind: Literal["named", "generated"]
    area: str
    name: str
    file: str
    line: int
    before: str
    after: str
    outcome: Outcome
    seconds: float
    by: str | None = None
    seed: int | None = None
    tests: int = 0
    elsewhere: bool = False
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A generated mutant with the tests that run what it changes."""

    operator: str
    edit: Edit
    line: int
    tests: tuple[str, ...]
    seed: int


def draw(
    area: Area, covering: Covering, kept: list[Kept], *, seed: int, count: int, tree: Tree
) -> list[Drawn]:
    """`count` of the mutants on covered lines; the same seed draws the same ones."""
    found = []
    for file in area.files(tree.root):
        for mutant in candidates(file, kept, tree.root):
            first, last = mutant.statement
            tests = covering.of(file, first, last, at_import=mutant.at_import)
            if tests:
                found.append(Drawn(mutant.operator, mutant.edit, mutant.line, tuple(tests), seed))
    rng = random.Random(f"{area.name}:{seed}")
    return rng.sample(found, min(count, len(found)))


def check_clean(tree: Tree, mutants: Iterable[Named], covering: Covering) -> None:
    """The tests that named mutants name, as far as the map does not know them, pass on the code.

    Raises:
        TableFault: one does not, or is not there.
    """
    tests = {test for named in mutants for test in named.notices}
    unknown = sorted(tests - covering.seconds.keys())
    if unknown:
        clean = tree.run(unknown, all=True, timeout=1200.0)
        if not clean.passed:
            raise TableFault(f"tests that are named fail on the code as it is: {clean.tail}")


def check_forced(area: Area, tree: Tree, covering: Covering) -> None:
    """A file of the area that cannot be imported fails its tests: they do import this copy.

    Raises:
        TableFault: they pass.
    """
    for file in area.files(tree.root):
        tests = covering.of(file, 0, 0, at_import=True)[:1]
        if not tests:
            continue
        with tree.replaced(file, b"raise RuntimeError('forced by bench.mutants')\n"):
            forced = tree.run(tests, mutated=True, timeout=120.0)
        if forced.passed or "forced by bench.mutants" not in forced.tail:
            raise TableFault(f"`{file}`: its tests do not fail when it cannot be imported")
        return  # the rest is imported from the same place
    raise TableFault(f"`{area.name}`: nothing of it is covered")


def judge_named(named: Named, area: Area, tree: Tree, covering: Covering) -> Verdict:
    """Its own tests first; if they pass, all that run what it changes."""
    edit = named.edit(tree.root)
    source = (tree.root / edit.file).read_bytes()
    first, last = edit.lines(source)
    run = _planted(edit, named.notices, tree, covering)
    elsewhere = run.passed
    tests: Sequence[str] = named.notices
    if run.passed:
        others = covering.of(edit.file, first, last, at_import=False)
        others = others or covering.of(edit.file, first, last, at_import=True)
        tests = [test for test in others if test not in named.notices]
        if tests:
            run = _planted(edit, tests, tree, covering)
    before, after = edit.shown(source)
    outcome, note = _outcome(run, tree)
    if not run.imported:
        outcome, note = "error", "it cannot be imported, which says nothing about the tests"
    return Verdict(
        "named", area.name, named.name, edit.file, first, before, after, outcome, run.seconds,
        by=run.failed, tests=len(tests), elsewhere=elsewhere and outcome != "survived", note=note,
    )  # fmt: skip


def judge_drawn(drawn: Drawn, area: Area, tree: Tree, covering: Covering) -> Verdict:
    """The tests that run what it changes, the quickest first."""
    source = (tree.root / drawn.edit.file).read_bytes()
    run = _planted(drawn.edit, drawn.tests, tree, covering)
    if run.code == _NOT_FOUND:  # what is changed is in the name of a test: ask its function
        tests = list(dict.fromkeys(test.partition("[")[0] for test in drawn.tests))
        run = _planted(drawn.edit, tests, tree, covering)
    before, after = drawn.edit.shown(source)
    outcome, note = _outcome(run, tree)
    return Verdict(
        "generated", area.name, drawn.operator, drawn.edit.file, drawn.line, before, after,
        outcome, run.seconds, by=run.failed, seed=drawn.seed, tests=len(drawn.tests), note=note,
    )  # fmt: skip


def _planted(edit: Edit, tests: Sequence[str], tree: Tree, covering: Covering) -> Run:
    """What the tests say of one defect.

    One of them hangs only if the code as it is, right afterwards, needs less than the same time:
    if not, the machine is busy, and both are given more.
    """
    for times in _PATIENCE:
        patience = covering.patience(tests, times)
        with tree.mutated(edit):
            run = tree.run(tests, mutated=True, **patience)
        if not run.timeout or tree.run([run.failed or tests[0]], mutated=True, **patience).passed:
            return run
    return replace(run, timeout=False)  # which of them it was cannot be told: an error


def _outcome(run: Run, tree: Tree) -> tuple[Outcome, str]:
    if run.timeout:
        return "timeout", ""
    if run.passed:
        return "survived", ""
    if not run.imported:
        return "killed", ""
    if run.code != 1 or run.failed is None:
        return "error", f"pytest ended with {run.code}: {run.tail[-300:]}"
    if run.failed not in tree.confirmed:
        tree.confirmed[run.failed] = tree.run([run.failed], mutated=True, timeout=300.0).passed
    if not tree.confirmed[run.failed]:
        return "error", f"`{run.failed}` fails on the code as it is"
    return "killed", ""


def share(verdicts: Iterable[Verdict]) -> float:
    """Of those that were judged, how many were noticed; 1 of none."""
    counted = [verdict for verdict in verdicts if verdict.outcome != "error"]
    noticed = sum(verdict.outcome != "survived" for verdict in counted)
    return noticed / len(counted) if counted else 1.0


def faults(verdicts: Sequence[Verdict]) -> list[str]:
    """Why the run as a whole is not good enough; empty if it is."""
    found = []
    for area in dict.fromkeys(verdict.area for verdict in verdicts):
        some = [verdict for verdict in verdicts if verdict.area == area]
        for seed in dict.fromkeys(verdict.seed for verdict in some):
            what, least = (
                ("named", NAMED_SHARE) if seed is None else (f"seed {seed}", GENERATED_SHARE)
            )
            killed = share(verdict for verdict in some if verdict.seed == seed)
            if killed < least:
                found.append(f"{area}, {what}: {killed:.0%} killed, less than {least:.0%}")
    found += [f"{v.name}: {v.note}" for v in verdicts if v.outcome == "error"]
    return found
