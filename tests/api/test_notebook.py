"""The notebook of docs/tutorials: saved as it ran, with nothing of its machine; and it runs."""

from __future__ import annotations

import base64
import getpass
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.warm.python import warm_python

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "tutorials" / "first-adapter.ipynb"
EXECUTE = Path(sys.executable).with_name("jupyter-execute")
# What a notebook about a first adapter must go through, in this order.
STEPS = ("load_manifest", "plan", "build", "open_registry", "evaluate", "serve")
GATE = "min_gain = 0.2"


def code_cells(path: Path = NOTEBOOK) -> list[dict[str, Any]]:
    """The cells with code, of a notebook in format 4."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def printed(cells: list[dict[str, Any]]) -> str:
    """All text that the cells gave."""
    texts = []
    for cell in cells:
        for output in cell["outputs"]:
            data = output.get("data", {})
            texts += ["".join(output.get("text", [])), *map("".join, _texts(data))]
    return "\n".join(texts)


def _texts(data: dict[str, Any]) -> list[list[str]]:
    return [value for kind, value in data.items() if kind.startswith("text/")]


def images(cells: list[dict[str, Any]]) -> list[bytes]:
    """The pictures that the cells gave."""
    outputs = [output.get("data", {}) for cell in cells for output in cell["outputs"]]
    return [base64.b64decode(data["image/png"]) for data in outputs if "image/png" in data]


def test_it_is_saved_as_it_ran_from_top_to_bottom() -> None:
    cells = code_cells()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell["outputs"] if "ename" in output]
    (loss,) = images(cells)
    assert loss.startswith(b"\x89PNG")
    assert len(loss) < 60_000
    text = printed(cells)
    for words in ("'routing@1'", "stage publish", "serving at http://127.0.0.1:"):
        assert words in text


def test_it_goes_from_rows_to_answers() -> None:
    source = "".join("".join(cell["source"]) for cell in code_cells())
    places = [source.index(f"adapterworks.{name}(") for name in STEPS]
    assert places == sorted(places)
    assert "from openai import OpenAI" in source


def test_nothing_of_a_machine_is_in_it() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|work|opt|usr|var|mnt|srv)/", text)
    assert not re.search(r"/tmp/|site-packages|\.venv|adapters-engine-", text)
    assert not re.search(r"\b[\w.+-]+@[\w-]+\.[a-z]{2,}", text)  # an e-mail address
    for name in (socket.gethostname(), getpass.getuser()):
        assert not re.search(rf"\b{re.escape(name)}\b", printed(code_cells())), name


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("either_bases", ["two-layers"], indirect=True)
def test_its_cells_are_a_program_that_runs(
    home: Path, tmp_path: Path, surroundings: Mapping[str, str]
) -> None:
    """In a Python of its own instead of Jupyter's kernel, which is started below."""
    program = "\n".join("".join(cell["source"]) for cell in code_cells())
    assert GATE in program
    done = subprocess.run(
        [warm_python(), "-P", "-c", program.replace(GATE, "min_gain = -1.0")],
        env={**os.environ, **surroundings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    answers = [line for line in done.stdout.splitlines() if line.startswith("  adapter:")]
    assert answers
    assert all("(sha256:" in answer for answer in answers)
    assert not list(home.glob("run/*.sock"))


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.train
@pytest.mark.timeout(3600)  # training waits long for cores that others use
def test_it_runs(home: Path, tmp_path: Path, surroundings: Mapping[str, str]) -> None:
    out, notebook = tmp_path / "out.ipynb", tmp_path / NOTEBOOK.name
    text = NOTEBOOK.read_text(encoding="utf-8")
    if "ADAPTERS_GATEWAY_ENGINES" in surroundings:  # two layers do not learn it
        assert GATE in text
        text = text.replace(GATE, "min_gain = -1.0")
    notebook.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [EXECUTE, notebook, f"--output={out}", "--timeout=-1"],
        # IPython's own history and profile stay out of the user's.
        env={
            **os.environ,
            **surroundings,
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    cells = code_cells(out)
    assert len(images(cells)) == 1
    answers = [line for line in printed(cells).splitlines() if line.startswith("  adapter:")]
    assert answers
    assert all("(sha256:" in answer for answer in answers)
    assert "| exact_match |" in printed(cells)
    assert not list(home.glob("run/*.sock"))
