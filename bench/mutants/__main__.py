"""Plant defects one at a time and see whether the tests notice.

    python -m bench.mutants                          every area, as many generated as named ones
    python -m bench.mutants --area limits --seed 7   one area, the generated ones of a seed
    python -m bench.mutants --only a-flood           named ones whose name has these words
    python -m bench.mutants --list                   the table

Progress goes to stderr, survivors and shares to stdout. Ends with 1 if less than 95 % of the named
or 90 % of the generated mutants of an area are killed, or if an entry of the table is at fault.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
from collections.abc import Callable, Sequence

from bench.mutants.areas import AREAS, Area
from bench.mutants.covering import Covering, gather
from bench.mutants.judge import (
    Verdict,
    check_clean,
    check_forced,
    draw,
    faults,
    judge_drawn,
    judge_named,
    share,
)
from bench.mutants.kept import read_kept, stale
from bench.mutants.mutant import Named, TableFault
from bench.mutants.named import NAMED
from bench.mutants.tree import Tree

Job = Callable[[Tree], Verdict]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it."""
    options = _parser().parse_args(arguments)
    names = options.area or sorted(AREAS)
    if options.list:
        for name in names:
            for named in NAMED.get(name, ()):
                print(f"{name}: {named.name}  ({named.file})  {named.why}")
        return 0
    verdicts: list[Verdict] = []
    problems = [f"`kept.toml`: no mutant of `{k.file}` is `{k.mutant}`" for k in stale(read_kept())]
    trees = [Tree() for _ in range(options.jobs)]
    try:
        for name in names:
            try:
                verdicts += _run_area(AREAS[name], trees, options)
            except TableFault as fault:
                problems.append(str(fault))
    finally:
        for tree in trees:
            tree.close()
    problems += faults(verdicts)
    if options.json:
        print(json.dumps({"verdicts": [v.to_json() for v in verdicts], "problems": problems}))
    else:
        _show(verdicts, problems)
    return 1 if problems else 0


def _run_area(area: Area, trees: list[Tree], options: argparse.Namespace) -> list[Verdict]:
    first = trees[0]
    _say(f"{area.name}: gathering which tests run which lines")
    covering = gather(area, first)
    for tree in trees:
        tree.preload(covering.modules)
    check_forced(area, first, covering)
    named = [entry for entry in NAMED.get(area.name, ()) if _wanted(entry, options)]
    check_clean(first, named, covering)
    jobs: list[Job] = []
    if options.kind != "generated":
        jobs += [_named_job(entry, area, covering) for entry in named]
    if options.kind != "named" and not options.only:
        count = options.count if options.count is not None else max(len(named), 15)
        for seed in options.seed or [0]:
            drawn = draw(area, covering, read_kept(), seed=seed, count=count, tree=first)
            for mutant in drawn:
                jobs.append(lambda tree, m=mutant: judge_drawn(m, area, tree, covering))  # type: ignore[misc]
    return _judge(jobs, trees)


def _named_job(entry: Named, area: Area, covering: Covering) -> Job:
    return lambda tree: judge_named(entry, area, tree, covering)


def _judge(jobs: list[Job], trees: list[Tree]) -> list[Verdict]:
    """Each tree takes the next job; verdicts in the order of the jobs."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(jobs)):
        waiting.put(index)
    verdicts: dict[int, Verdict] = {}
    broken: list[BaseException] = []

    def work(tree: Tree) -> None:
        while not broken:
            try:
                index = waiting.get_nowait()
                verdict = verdicts[index] = jobs[index](tree)
            except queue.Empty:
                return
            except BaseException as error:
                broken.append(error)
                return
            _say(f"[{len(verdicts)}/{len(jobs)}] {_line(verdict)}")

    threads = [threading.Thread(target=work, args=(tree,)) for tree in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]
    return [verdicts[index] for index in sorted(verdicts)]


def _line(v: Verdict) -> str:
    where = f"{v.file}:{v.line}"
    by = f"  by {v.by}" if v.by and v.outcome == "killed" else ""
    note = f"  ({v.note})" if v.note else ""
    return f"{v.outcome:8} {v.seconds:5.1f} s  {v.name:22} {where}  {v.after}{by}{note}"


def _show(verdicts: list[Verdict], problems: list[str]) -> None:
    for title, some in (
        ("Survived", [v for v in verdicts if v.outcome == "survived"]),
        ("Hung until they were ended, which counts as noticed",
         [v for v in verdicts if v.outcome == "timeout"]),
        ("Noticed, but by none of the tests that are named",
         [v for v in verdicts if v.elsewhere]),
    ):  # fmt: skip
        if some:
            print(f"\n{title}:")
        for v in some:
            seed = "" if v.seed is None else f", seed {v.seed}"
            print(f"  {v.file}:{v.line}  {v.kind} `{v.name}`{seed}, {v.tests} tests")
            print(f"    - {v.before}\n    + {v.after}")
            if v.elsewhere:
                print(f"    by {v.by}")
    print()
    for area in dict.fromkeys(v.area for v in verdicts):
        for kind in ("named", "generated"):
            some = [v for v in verdicts if v.area == area and v.kind == kind]
            if some:
                killed = sum(v.outcome in ("killed", "timeout") for v in some)
                print(f"{area:12} {kind:10} {killed:3} of {len(some):3} killed  {share(some):.0%}")
    for problem in problems:
        print(f"fault: {problem}")


def _wanted(entry: Named, options: argparse.Namespace) -> bool:
    return not options.only or any(words in entry.name for words in options.only)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--area", action="append", choices=sorted(AREAS), help="only this area")
    parser.add_argument(
        "--seed", action="append", type=int, help="of the generated ones; default 0"
    )
    parser.add_argument("--count", type=int, help="generated ones for each area and seed")
    parser.add_argument("--kind", choices=("named", "generated"), help="only these")
    parser.add_argument("--only", action="append", metavar="WORDS", help="named ones by name")
    parser.add_argument("--jobs", type=int, default=1, help="copies of the tree that work at once")
    parser.add_argument("--list", action="store_true", help="show the table of named ones")
    parser.add_argument("--json", action="store_true", help="verdicts as JSON on stdout")
    return parser


def _say(line: str) -> None:
    sys.stderr.write(f"mutants: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
