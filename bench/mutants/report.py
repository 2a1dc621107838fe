"""What a run of mutants says: survivors, shares by area and seed, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.mutants.judge import Verdict, share


def line(v: Verdict) -> str:
    """One verdict, as progress shows it."""
    by = f"  by {v.by}" if v.by and v.outcome == "killed" else ""
    note = f"  ({v.note})" if v.note else ""
    where = f"{v.file}:{v.line}"
    return f"{v.outcome:8} {v.seconds:5.1f} s  {v.name:22} {where}  {v.after}{by}{note}"


def survivors(verdicts: Sequence[Verdict]) -> list[str]:
    """Those that a reader has to look at, each with its line before and after."""
    lines: list[str] = []
    for title, some in (
        ("Survived", [v for v in verdicts if v.outcome == "survived"]),
        ("Hung until they were ended, which counts as noticed",
         [v for v in verdicts if v.outcome == "timeout"]),
        ("Noticed, but by none of the tests that are named",
         [v for v in verdicts if v.elsewhere]),
    ):  # fmt: skip
        if some:
            lines += ["", f"{title}:"]
        for v in some:
            seed = "" if v.seed is None else f", seed {v.seed}"
            lines.append(f"  {v.file}:{v.line}  {v.kind} `{v.name}`{seed}, {v.tests} tests")
            lines += [f"    - {v.before}", f"    + {v.after}"]
            if v.elsewhere:
                lines.append(f"    by {v.by}")
    return lines


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """Killed of all, by area: the named ones, and the generated ones of each seed."""
    seeds = list(dict.fromkeys(v.seed for v in verdicts if v.seed is not None))
    areas = list(dict.fromkeys(v.area for v in verdicts))
    rows = [["area", "named", *(f"seed {seed}" for seed in seeds)]]
    for area in [*areas, None] if len(areas) > 1 else areas:
        some = [v for v in verdicts if area in (v.area, None)]
        kinds = [[v for v in some if v.kind == "named"]]
        kinds += [[v for v in some if v.seed == seed] for seed in seeds]
        rows.append([area or "all", *map(_share, kinds)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def document(
    verdicts: Sequence[Verdict], problems: Sequence[str], *, seeds: Sequence[int], source: str
) -> dict[str, Any]:
    """All of it as plain values."""
    areas: dict[str, Any] = {}
    for v in verdicts:
        counts = areas.setdefault(v.area, {}).setdefault(
            "named" if v.seed is None else str(v.seed), {"killed": 0, "of": 0}
        )
        if v.outcome != "error":
            counts["killed"] += v.outcome != "survived"
            counts["of"] += 1
    return {
        "seeds": list(seeds),
        "seeds_are": source,
        "areas": areas,
        "problems": list(problems),
        "verdicts": [v.to_json() for v in verdicts],
    }


def _share(some: Sequence[Verdict]) -> str:
    counted = [v for v in some if v.outcome != "error"]
    if not counted:
        return "-"
    killed = sum(v.outcome != "survived" for v in counted)
    return f"{killed}/{len(counted)} {share(counted):.0%}"
