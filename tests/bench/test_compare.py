"""`bench.compare` sees what was planted and nothing else."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.calibration import Calibration
from bench.compare import Way, compare, main, table
from bench.report import Results, Row, figure, load, save

MACHINE = Calibration(python=2000.0, hashing=700.0, memory=3000.0, loopback=20.0, sync=200.0)


def runs(middle: float, seed: int, spread: float = 0.05) -> list[float]:
    draw = random.Random(seed)
    return [middle * (1 + draw.uniform(-spread, spread)) for _ in range(5)]


def measured(seed: int, *, factor: float = 1.0, machine: Calibration = MACHINE) -> Results:
    """Figures with five per cent of noise; those called `planted` are `factor` times as large."""
    rows = [
        figure("planted ms", "ms", runs(10 * factor, seed)),
        figure("planted ratio", "×", runs(2 * factor, seed + 1), goal="≥1"),
        figure("planted speed", "/s", runs(500 * factor, seed + 2)),
        figure("planted unknown", "", runs(3 * factor, seed + 3)),
        *(figure(f"noise {number}", "ms", runs(5, seed + 10 + number)) for number in range(20)),
    ]
    return Results(tuple(rows), machine)


def moved(old: Results, new: Results) -> dict[str, Way]:
    return {c.name: c.way for c in compare(old, new).changes if c.way != "same"}


def test_noise_moves_nothing() -> None:
    for seed in range(0, 400, 40):
        assert moved(measured(seed), measured(seed + 1000)) == {}


@pytest.mark.parametrize(("factor", "slower"), [(1.3, True), (0.75, False)])
def test_what_was_planted_is_found_and_nothing_else(factor: float, slower: bool) -> None:
    assert moved(measured(1), measured(2000, factor=factor)) == {
        "planted ms": "worse" if slower else "better",
        "planted ratio": "better" if slower else "worse",
        "planted speed": "better" if slower else "worse",
        "planted unknown": "moved",
    }


def test_a_slower_machine_is_no_change_of_times_but_of_ratios_it_is() -> None:
    slower = Calibration(**{name: 1.35 * value for name, value in MACHINE.values().items()})
    assert moved(measured(1), measured(2000, factor=1.3, machine=slower)) == {
        "planted ratio": "better",
        "planted speed": "better",  # half as fast a machine does not explain more a second
        "planted unknown": "moved",
    }
    # Faster on one kind of work alone explains no figure that got slower.
    uneven = replace(MACHINE, hashing=0.5 * MACHINE.hashing)
    assert moved(measured(1), measured(2000, factor=1.3, machine=uneven))["planted ms"] == "worse"


def test_one_run_has_to_move_further() -> None:
    def alone(value: float) -> Results:
        return Results((figure("alone", "ms", [value]),), MACHINE)

    assert moved(alone(10.0), alone(11.5)) == {}
    assert moved(alone(10.0), alone(12.5)) == {"alone": "worse"}


def test_the_command_reads_what_was_written_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = [*measured(1).rows, Row("gone", "ms", 1.0, 1.0, 1.0, 1)]
    save(old, "old", folder=tmp_path, calibration=MACHINE)
    new = measured(2000, factor=1.8)
    save(new.rows, "new", folder=tmp_path, calibration=MACHINE)
    written = json.loads((tmp_path / "old.json").read_text())
    assert written["calibration"].keys() == MACHINE.values().keys()
    assert {"low", "high", "runs"} <= written["rows"][0].keys()
    assert main([str(tmp_path / "old.json"), str(tmp_path / "new.json")]) == 1
    said = capsys.readouterr().out
    assert "worse   planted speed" not in said
    assert "better  planted speed" in said
    assert "gone    gone" in said
    assert main([str(tmp_path / "old.json"), str(tmp_path / "old.json")]) == 0
    here = load(save(new.rows, "here", folder=tmp_path)).calibration
    assert here is not None
    assert all(value > 0 for value in here.values().values())
    (tmp_path / "bad.json").write_text("[]")
    assert main([str(tmp_path / "bad.json"), str(tmp_path / "old.json")]) == 2
    assert "holds no figures" in capsys.readouterr().err


@pytest.mark.slow
def test_a_short_bench_is_comparable_with_itself(tmp_path: Path) -> None:
    """A minute of real measurements: all finish, and no figure of the second run got worse."""
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    for file in files:
        command = [sys.executable, "-m", "bench", "--short", "--output", str(file)]
        subprocess.run(command, check=True, timeout=600)
    # Other work on the machine is noise that no range of three runs holds.
    found = compare(*map(load, files), least=0.5)
    assert found.worse == (), table(found)
