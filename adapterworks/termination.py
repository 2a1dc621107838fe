"""SIGTERM as Ctrl-C is: what is open is closed, and the process then ends by the signal itself."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def closing_on_sigterm() -> Iterator[None]:
    """While it lasts, the first SIGTERM is raised as `KeyboardInterrupt` and others change nothing:
    whoever ends a whole group of processes sends several.

    At its end the process dies by the signal, so that whoever sent it sees that it did. Does
    nothing where somebody handles the signal already.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    process, heard = os.getpid(), False

    def hear(*_: object) -> None:
        nonlocal heard
        if os.getpid() != process:  # a fork of it
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        if not heard:
            heard = True
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if heard:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            signal.raise_signal(signal.SIGTERM)
