"""How a node runs a command for Ray's driver, without Ray: what it prints, and its end."""

from __future__ import annotations

from pathlib import Path

from adapterworks.workers.executors.ray_driver import Runner


def test_what_is_printed_comes_in_lines_and_then_the_code(tmp_path: Path) -> None:
    program = "import os, sys; print(os.getcwd()); print('no', file=sys.stderr); sys.exit(3)"
    said = list(Runner().run(["python", "-u", "-c", program], str(tmp_path)))
    assert said == [f"{tmp_path}\n", "no\n", 3]


def test_one_that_is_given_up_ends_by_itself(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys, time\n"
        "def end(*_): pathlib.Path('given-back').touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready')\n"
        "while True: time.sleep(0.05)\n"
    )
    runner = Runner()
    pieces = runner.run(["python", "-u", "-c", program], str(tmp_path))
    assert next(pieces) == "ready\n"
    runner.end()
    assert (tmp_path / "given-back").exists()
    assert list(pieces) == [0]
