"""Rows of a benchmark table: interleaved runs, medians, spreads, the machine they were taken on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.calibration import Calibration, calibrate

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        value: median of the runs; `low` and `high` are their extremes.
        goal: what was aimed at, as it is written in the table (`≥0.90`).
        note: what the two sides were.
    """

    name: str
    unit: str
    value: float
    low: float
    high: float
    runs: int
    goal: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if not self.goal:
            return None
        bound = float(self.goal[1:])
        return self.value >= bound if self.goal[0] == "≥" else self.value <= bound


def figure(name: str, unit: str, values: Sequence[float], *, goal: str = "", note: str = "") -> Row:
    """A row of the median and extremes of `values`."""
    return Row(
        name, unit, statistics.median(values), min(values), max(values), len(values), goal, note
    )


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Pairwise ratios of interleaved runs: run i of one side by run i of the other."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def percentile(values: Sequence[float], percent: int) -> float:
    """From 1 to 99; between two values it is interpolated."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def interleave(runs: int, *sides: Callable[[], float], warmup: int = 1) -> list[list[float]]:
    """Call the sides in turn, `warmup` uncounted rounds and `runs` counted ones.

    Every other round goes through the sides backwards, so that drift hits each alike.

    Returns:
        for each side its `runs` values.
    """
    values: list[list[float]] = [[] for _ in sides]
    for round_ in range(-warmup, runs):
        order = range(len(sides)) if round_ % 2 == 0 else reversed(range(len(sides)))
        for index in order:
            value = sides[index]()
            if round_ >= 0:
                values[index].append(value)
    return values


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = platform.processor()
    flags: set[str] = set()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                cpu = value.strip()
            if key.strip() == "flags":
                flags = set(value.split())
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "features": sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("torch", "transformers", "peft", "trl")},
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def show(title: str, rows: Sequence[Row], *, name: str | None = None) -> None:
    """Print a table; with `name`, save them under it too."""
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "median", "range", "runs", "goal", "met", "sides", title=title, box=None)
    for row in rows:
        met = {True: "yes", False: "no", None: ""}[row.met]
        table.add_row(
            row.name,
            f"{row.value:.4g} {row.unit}".strip(),
            f"{row.low:.4g} to {row.high:.4g}",
            str(row.runs),
            row.goal,
            met,
            row.note,
        )
    Console(width=140).print(table)
    if name is not None:
        save(rows, name)


@dataclass(frozen=True)
class Results:
    """What a file of figures holds.

    Attributes:
        calibration: of the machine it was written on; None in files that had none yet.
    """

    rows: tuple[Row, ...]
    calibration: Calibration | None = None


def save(
    rows: Sequence[Row],
    name: str,
    *,
    folder: Path = RESULTS,
    calibration: Calibration | None = None,
) -> Path:
    """Write `<name>.json`: the machine, its calibration and the rows; returns where.

    Args:
        calibration: None: it is taken now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine(),
        "calibration": (calibration or calibrate()).values(),
        "rows": [asdict(row) for row in rows],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
    return path


def saved(name: str) -> list[Row]:
    """The rows that `save` wrote to bench/results/<name>.json; none where it wrote none."""
    path = RESULTS / f"{name}.json"
    return list(load(path).rows) if path.exists() else []


def load(path: Path) -> Results:
    """The figures of a file, or of all files of a folder (`all.json` alone where it is there).

    Raises:
        OSError: there is no such file.
        ValueError: it holds no figures.
    """
    if path.is_dir():
        whole = path / "all.json"
        files = [whole] if whole.exists() else sorted(path.glob("*.json"))
        if not files:
            raise ValueError(f"`{path}` holds no figures: run `make bench` first")
        parts = [load(file) for file in files]
        return Results(tuple(row for part in parts for row in part.rows), parts[0].calibration)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row(**row) for row in document["rows"])
        values = document.get("calibration")
        return Results(rows, None if values is None else Calibration.of(values))
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"`{path}` holds no figures of `bench.report`: {error}") from error
