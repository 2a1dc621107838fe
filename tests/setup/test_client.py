"""The core installs by itself, on each Python that it is for, and is a client."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"


def pythons() -> list[Path]:
    """An interpreter of each supported version that is on this machine."""
    found = []
    for version in ("3.11", "3.12", "3.13"):
        here = [*sorted(PYENV.glob(f"{version}.*/bin/python"))]
        if not here and (path := shutil.which(f"python{version}")):
            here = [Path(path)]
        found += here[:1]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("python", pythons(), ids=str)
def test_the_core_installs_by_itself(python: Path, tmp_path: Path) -> None:
    """`pip install .` in an empty environment; it asks the index."""
    environment = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, ROOT], check=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    ours = {path.name for path in site.iterdir() if "adapterworks" in path.name}
    assert {name.partition("-")[0] for name in ours} == {"adapterworks"}
    heavy = ("torch", "transformers", "vllm", "botocore", "starlette", "registry", "builders")
    assert not [name for name in heavy if (site / name).exists()]

    def adapters(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [environment / "bin" / "adapters", *arguments],
            env={"PATH": os.environ["PATH"], "ADAPTERS_HOME": str(tmp_path / "home")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    listed = adapters("list")
    assert listed.returncode == 0, listed.stderr
    assert adapters("validate", "medical").returncode == 0
    for command, extra in (("build", "build"), ("serve", "serve")):
        refused = adapters(command, "medical")
        assert refused.returncode == 7
        assert f"hint: pip install 'adapterworks[{extra}]'" in refused.stderr
