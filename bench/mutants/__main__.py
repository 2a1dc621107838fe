"""Plant defects one at a time and see whether the tests notice.

    python -m bench.mutants                          every area; three seeds of the commit's hash
    python -m bench.mutants --area limits --seed 7   one area, the generated ones of a seed
    python -m bench.mutants --only a-flood           named ones whose name has these words
    python -m bench.mutants --list                   the table

Of each seed as many generated mutants are drawn as there are named ones, or `--count`. Progress
goes to stderr, survivors and shares to stdout. Ends with 1 if less than 95 % of the named mutants
of an area are killed, or 90 % of those that a seed drew, or if an entry of the table is at fault.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

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
)
from bench.mutants.kept import read_kept, stale
from bench.mutants.mutant import Named, TableFault
from bench.mutants.named import NAMED
from bench.mutants.report import document, line, survivors, table
from bench.mutants.seeds import NoSeeds, chosen
from bench.mutants.tree import Tree

Job = Callable[[Tree], Verdict]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it."""
    parser = _parser()
    options = parser.parse_args(arguments)
    names = options.area or sorted(AREAS)
    if options.list:
        for name in names:
            for named in NAMED.get(name, ()):
                print(f"{name}: {named.name}  ({named.file})  {named.why}")
        return 0
    options.generated = options.kind != "named" and not options.only
    source = "none was needed"
    if options.generated:
        try:
            options.seed, source = chosen(options.seed, options.seeds)
        except NoSeeds as error:
            parser.error(str(error))
        _say(f"seeds {', '.join(map(str, options.seed))}, {source}")
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
    faulty = [f"fault: {problem}" for problem in problems]
    print("\n".join([*survivors(verdicts), "", *table(verdicts), *faulty]))
    if options.json is not None:
        found = document(verdicts, problems, seeds=options.seed or [], source=source)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
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
    if options.generated:
        count = options.count if options.count is not None else max(len(named), 15)
        for seed in options.seed:
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
            _say(f"[{len(verdicts)}/{len(jobs)}] {line(verdict)}")

    threads = [threading.Thread(target=work, args=(tree,)) for tree in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]
    return [verdicts[index] for index in sorted(verdicts)]


def _wanted(entry: Named, options: argparse.Namespace) -> bool:
    return not options.only or any(words in entry.name for words in options.only)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--area", action="append", choices=sorted(AREAS), help="only this area")
    parser.add_argument("--seed", action="append", type=int, help="of the generated ones")
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="or so many of the commit's hash",
    )
    parser.add_argument("--count", type=int, help="generated ones for each area and seed")
    parser.add_argument("--kind", choices=("named", "generated"), help="only these")
    parser.add_argument("--only", action="append", metavar="WORDS", help="named ones by name")
    parser.add_argument("--jobs", type=int, default=1, help="copies of the tree that work at once")
    parser.add_argument("--list", action="store_true", help="show the table of named ones")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it there too")
    return parser


def _say(line: str) -> None:
    sys.stderr.write(f"mutants: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
