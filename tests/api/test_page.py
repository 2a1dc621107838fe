"""docs/reference/python-api.md is one program: its blocks run in order, in one process.

As they are written, with a change that only saves time: the build gets fewer rows. `make test` runs
them on a base of two layers, served by a stand-in; `make test-all` as a user does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.scene import FEWER_ROWS
from tests.users_files import executed, plant
from tests.warm.python import warm_python

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "python-api.md"
LOAD = 'load_manifest("medical", profile="quick"'


def program() -> str:
    """The page's Python blocks, one after the other."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return "\n".join(blocks)


def test_the_page_goes_from_the_import_to_an_answer() -> None:
    text = program()
    assert text.startswith("import adapterworks\n")
    calls = [f"adapterworks.{name}(" for name in ("plan", "build", "evaluate", "serve")]
    places = [
        text.index(call) for call in (*calls, "client.chat.completions.with_raw_response.create(")
    ]
    assert places == sorted(places)
    assert text.count(LOAD) == 1


def test_the_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / link).is_file(), link


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.train
def test_the_page_is_a_program_that_runs(
    home: Path, tmp_path: Path, surroundings: Mapping[str, str]
) -> None:
    plant(tmp_path)
    fewer = (*FEWER_ROWS.replace("--set ", "").split(), "evaluate.retention.limit=4")
    text = program().replace(LOAD, f"{LOAD}, overrides={fewer!r}")
    whole = "ADAPTERS_GATEWAY_ENGINES" not in surroundings
    done = subprocess.run(
        [sys.executable if whole else warm_python(), "-P", "-c", text],
        env={**os.environ, **surroundings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert executed(tmp_path) == []
    lines = done.stdout.splitlines()
    assert "medical@1" in lines  # what `medical:prod` stands for
    answers = [line for line in lines if re.match(r"\S+ → ", line)]
    assert [line.partition(" →")[0] for line in answers] == [
        "smollm2-135m-instruct",
        "medical:prod",
    ]
    assert any(line.startswith("stage publish") for line in lines)
    assert any(line.startswith("hint:") for line in lines)
    assert (tmp_path / "loss.png").stat().st_size > 1000
    assert not list(home.glob("run/*.sock"))
