"""What moved between two files of figures, beyond their own noise and the machine's.

    python -m bench.compare OLD NEW [--least 0.05] [--json]

OLD and NEW are files that `bench.report` wrote (`bench/results/all.json`), or folders of them. A
figure moved if the medians differ by more than `--least`, the ranges of the runs do not meet, and
the medians are further apart than the wider range is wide: one and a half times, or three times
where there are fewer than five runs, whose ranges are narrow by chance. One run has no range, and
moves by `ALONE` times `--least`. A figure with a unit of time is one
machine's: it must have moved by more than the machines' calibrations differ. The exit code is 1 if
something got worse; a figure says which way is worse by its goal, or by its unit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bench.calibration import Calibration
from bench.report import Results, Row, load

LEAST = 0.05
ALONE = 4.0
MANY = 5
WIDTHS, WIDTHS_OF_FEW = 1.5, 3.0
_OF_TIME = frozenset({"s", "ms", "µs", "ns"})
_OF_SPEED = frozenset({"/s", "tokens/s", "MB/s"})
Way = Literal["better", "worse", "moved", "same"]


@dataclass(frozen=True)
class Change:
    """One figure in both files.

    Attributes:
        ratio: new median by old one.
        way: `moved` where neither goal nor unit says which way is better.
        why: what was asked of it, for a person.
    """

    name: str
    unit: str
    old: float
    new: float
    ratio: float
    way: Way
    why: str


@dataclass(frozen=True)
class Comparison:
    """All figures.

    Attributes:
        changes: of the figures in both; `gone` and `added` are the names of the others.
    """

    changes: tuple[Change, ...]
    gone: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def worse(self) -> tuple[Change, ...]:
        """What got worse."""
        return tuple(change for change in self.changes if change.way == "worse")


def compare(old: Results, new: Results, *, least: float = LEAST) -> Comparison:
    """Every figure of both.

    Args:
        least: share by which a median must differ, whatever its range.
    """
    before, after = _by_name(old.rows), _by_name(new.rows)
    machines = _machines(old.calibration, new.calibration)
    return Comparison(
        tuple(
            _change(before[name], row, least, machines)
            for name, row in after.items()
            if name in before
        ),
        tuple(name for name in before if name not in after),
        tuple(name for name in after if name not in before),
    )


def _change(old: Row, new: Row, least: float, machines: tuple[float, float]) -> Change:
    ratio = (
        new.value / old.value if old.value else (1.0 if new.value == old.value else float("inf"))
    )
    slower, slowest = (1.0, 1.0)
    if new.unit in _OF_TIME:
        slower, slowest = machines
    elif new.unit in _OF_SPEED:
        slower, slowest = 1 / machines[1], 1 / machines[0]
    needed = least * (ALONE if min(old.runs, new.runs) < 2 else 1.0)
    way: Way = "same"
    if min(slower, 1.0) * (1 - needed) <= ratio <= max(slowest, 1.0) * (1 + needed):
        why = f"within {needed:.0%} and what the machines differ by"
    elif _within_noise(old, new):
        why = "the runs of each side differ by as much"
    else:
        way, why = _way(new, ratio), "more than the runs of each side differ by"
    return Change(new.name, new.unit, old.value, new.value, ratio, way, why)


def _within_noise(old: Row, new: Row) -> bool:
    """Whether the runs differ among themselves by about what the sides differ by."""
    if new.low <= old.high and old.low <= new.high:
        return True
    widths = WIDTHS if min(old.runs, new.runs) >= MANY else WIDTHS_OF_FEW
    return abs(new.value - old.value) <= widths * max(old.high - old.low, new.high - new.low)


def _way(row: Row, ratio: float) -> Way:
    """Which way it went; by its goal, else by its unit."""
    more = None
    if row.goal:
        more = row.goal[0] == "≥"
    elif row.unit in _OF_TIME | {"MiB"}:
        more = False
    elif row.unit in _OF_SPEED:
        more = True
    if more is None:
        return "moved"
    return "better" if (ratio > 1) == more else "worse"


def _machines(old: Calibration | None, new: Calibration | None) -> tuple[float, float]:
    """By how much the new machine is slower: the least and the most of it."""
    if old is None or new is None:
        return 1.0, 1.0
    return new.slower_than(old)


def _by_name(rows: Sequence[Row]) -> Mapping[str, Row]:
    return {row.name: row for row in rows}


def table(found: Comparison) -> str:
    """What moved, for people; what did not is counted."""
    moved = [change for change in found.changes if change.way != "same"]
    lines = [
        f"{change.way:7} {change.name}: {change.old:.4g} → {change.new:.4g} {change.unit}".rstrip()
        + f" ({change.ratio:.2f} times; {change.why})"
        for change in sorted(moved, key=lambda change: change.way, reverse=True)
    ]
    lines += [f"gone    {name}" for name in found.gone] + [
        f"new     {name}" for name in found.added
    ]
    same = len(found.changes) - len(moved)
    return "\n".join([*lines, f"{same} of {len(found.changes)} figures are as they were"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what moved; 1 if something got worse, 2 if a file holds no figures."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description=(__doc__ or "").splitlines()[0],
        epilog="example: python -m bench.compare before.json bench/results/all.json",
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--least", type=float, default=LEAST, help="share that is noise anyway")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        found = compare(load(options.old), load(options.new), least=options.least)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if options.json:
        json.dump(asdict(found), sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(table(found) + "\n")
    return 1 if found.worse else 0


if __name__ == "__main__":
    sys.exit(main())
