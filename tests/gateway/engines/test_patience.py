"""When a start is given up: numbers worked out here, on clocks that the test moves."""

from __future__ import annotations

import subprocess
import sys

from adapterworks.gateway.engines.patience import Patience, processor_seconds


def test_before_the_limit_nothing_ends_it() -> None:
    patience = Patience(100.0, now=1000.0)
    assert not patience.ended(1099.9, used=0.0)
    assert not Patience(100.0, now=1000.0).ended(1099.9, used=500.0)


def test_a_slow_machine_is_waited_for() -> None:
    """One second of processor time in ten: at the limit of 100 s it has used 10, and goes on."""
    patience = Patience(100.0, now=0.0)
    assert not any(patience.ended(float(now), used=now / 10) for now in range(0, 1000))
    # … until it has used as much as the limit itself.
    assert patience.ended(1000.0, used=100.0)


def test_one_that_uses_next_to_nothing_hangs() -> None:
    patience = Patience(100.0, now=0.0)
    ended = [now for now in range(0, 200) if patience.ended(float(now), used=min(now, 30))]
    assert ended[0] == 100
    # Less than half a hundredth of a core is next to nothing, a hundredth is not.
    assert Patience(100.0, now=0.0).ended(100.0, used=0.49)
    assert not Patience(100.0, now=0.0).ended(100.0, used=0.51)


def test_idle_is_judged_over_a_tenth_of_the_limit() -> None:
    patience = Patience(100.0, now=0.0)
    assert not patience.ended(99.0, used=50.0)
    # Ten seconds without processor time; nine say nothing yet.
    assert not patience.ended(108.0, used=50.0)
    assert patience.ended(109.0, used=50.0)


def test_one_that_computes_without_end_is_given_up() -> None:
    patience = Patience(100.0, now=0.0)
    ended = [now for now in range(0, 200) if patience.ended(float(now), used=2.0 * now)]
    assert ended[0] == 100


def test_processor_time_is_that_of_the_whole_family() -> None:
    burn = "import time\nwhile time.process_time() < 0.6: pass\nprint(1, flush=True); input()"
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {burn!r}],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print('burnt', flush=True); input(); child.communicate(b'\\n')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"burnt\n"
        assert processor_seconds(parent.pid) >= 0.5
        parent.communicate(b"\n")
    assert processor_seconds(parent.pid) == 0.0
