"""A build in a folder with a `registry.py`, a `torch.py` … of the user's: none is executed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.training.test_accelerate import CONFIG
from tests.builders.workshop import Workshop
from tests.users_files import executed, plant

ADAPTERS = Path(sys.executable).with_name("adapters")
pytestmark = pytest.mark.train


@pytest.mark.parametrize(
    "launched",
    [
        pytest.param(False, id="plain", marks=pytest.mark.slow),
        pytest.param(True, id="accelerate launch", marks=pytest.mark.slow),
    ],
)
def test_a_build_runs_among_files_with_our_names(workshop: Workshop, launched: bool) -> None:
    plant(workshop.folder)
    (workshop.folder / "accelerate.yaml").write_text(CONFIG)
    arguments = ["build", workshop.manifest(epochs=1)]
    if launched:
        arguments += ["--set", "train.accelerate_config=accelerate.yaml"]
    done = subprocess.run(
        [ADAPTERS, *arguments],
        env=os.environ | workshop.environment,
        cwd=workshop.folder,
        capture_output=True,
        text=True,
    )
    assert executed(workshop.folder) == []
    assert done.returncode == 0, done.stderr
    assert "published tiny@1" in done.stdout
