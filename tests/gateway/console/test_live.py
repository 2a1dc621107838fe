"""What happens to a job is shown as it happens, newest first."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
LIVE = Path(__file__).resolve().parents[3] / "gateway/console/static/js/live.js"


@pytest.mark.skipif(NODE is None, reason="no Node.js")
def test_events_before_those_of_the_page_are_not_put_above_them() -> None:
    """The stream begins with the job, which may have had thousands before the page's newest."""
    done = subprocess.run(
        [str(NODE), str(Path(__file__).with_name("live.mjs")), str(LIVE)],
        capture_output=True,
        check=True,
        timeout=60,
        text=True,
    )
    assert json.loads(done.stdout) == {"shown": ["e7", "e6", "e5", "e4", "e3"], "asked": 2}
