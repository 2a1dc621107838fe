"""SIGTERM closes what is open, as Ctrl-C does, and is what the process dies of."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, signal, sys, time
from adapterworks.termination import closing_on_sigterm

with closing_on_sigterm():
    try:
        if os.fork() == 0:
            time.sleep(600)
        print("ready", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGTERM)  # a second one interrupts no closing
        time.sleep(0.1)
        print("closed")
"""


def test_what_is_open_is_closed_and_the_process_dies_of_the_signal() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        subprocess.run(["kill", "-TERM", *children], check=True)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "closed\n", "its fork died as forks do"
    assert process.returncode == -signal.SIGTERM
