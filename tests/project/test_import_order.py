"""`make lint` refuses an import that runs up, a circle, and the packages' bare names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("adapterworks", "builders", "gateway", "manifests", "registry")
BIN = Path(sys.executable).parent

# file, the import planted in it, the contract that it breaks
UPWARD = [
    (
        "manifests/refs.py",
        "from adapterworks.registry.releases.release import Release",
        "packages: imports point one way",
    ),
    (
        "manifests/models.py",
        "from adapterworks.manifests.load import load_manifest",
        "manifests: from a file down to values",
    ),
    (
        "builders/methods/shape.py",
        "from adapterworks.gateway.engines.forms import FORMS",
        "packages: imports point one way",
    ),
    (
        "builders/data/rows.py",
        "from adapterworks.builders.plan.plan import Plan",
        "builders: the stages of a build, last to first",
    ),
    (
        "gateway/admission/fairness.py",
        "from adapterworks.gateway.request.account import Account",
        "gateway: a request's way in, outside to inside",
    ),
    (
        "registry/blobs/store.py",
        "from adapterworks.registry.lifecycle import leases",
        "registry: from other registries down to values",
    ),
    (
        "builders/training/events.py",
        "from adapterworks.builders.training import job",
        "no circles, at any depth",
    ),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it on a copy of the tree."""
    return subprocess.run(
        [BIN / "lint-imports", "--no-cache", "--config", "pyproject.toml"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )


def said(told: str, contract: str) -> str:
    """What is said of a contract that is broken, in one line."""
    assert f"{contract} BROKEN" in told
    section = told.partition(f"\n{contract}\n---")[2].partition("\n---")[0]
    return " ".join(section.split())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with their links."""
    folder = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, symlinks=True, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_tree_as_it_is_keeps_the_order(tree: Path) -> None:
    done = lint_imports(tree)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.fixture(scope="module")
def upward(tree: Path) -> str:
    """What is said where all of them are planted."""
    before = {file: (tree / file).read_text() for file, _, _ in UPWARD}
    for file, planted, _ in UPWARD:
        # Inside a function, where it does no harm today: it counts all the same.
        later = f"\n\ndef _later() -> None:\n    {planted}\n"
        (tree / file).write_text(before[file] + later)
    try:
        done = lint_imports(tree)
    finally:
        for file, text in before.items():
            (tree / file).write_text(text)
    assert done.returncode == 1
    return done.stdout


@pytest.mark.parametrize(("file", "planted", "contract"), UPWARD, ids=[u[0] for u in UPWARD])
def test_an_import_that_runs_up_is_refused(
    upward: str, file: str, planted: str, contract: str
) -> None:
    module = f"adapterworks.{file.removesuffix('.py').replace('/', '.')}"
    _, source, _, name = planted.split()
    here = {
        f"{module} -> {source} (l.",
        f"{module} -> {source}.{name} (l.",
        f"No cycles are allowed in {source}. It could be made acyclic",
    }
    assert any(one in said(upward, contract) for one in here)


@pytest.fixture(scope="module")
def unplaced(tree: Path) -> str:
    """What is said where each package has a folder that the order does not name."""
    folders = [tree / package / "somewhere" for package in PACKAGES]
    for folder in folders:
        folder.mkdir()
        (folder / "__init__.py").touch()
    try:
        done = lint_imports(tree)
    finally:
        for folder in folders:
            shutil.rmtree(folder)
    assert done.returncode == 1
    return done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_a_folder_without_a_place_in_the_order_is_refused(unplaced: str, package: str) -> None:
    container = "adapterworks" if package == "adapterworks" else f"adapterworks.{package}"
    assert f"{container}.somewhere" in unplaced


@pytest.mark.parametrize("package", ["builders", "gateway", "manifests", "registry"])
def test_the_bare_name_of_a_package_is_refused(package: str) -> None:
    command = [BIN / "ruff", "check", "--config", ROOT / "pyproject.toml", "-"]
    code = f"from {package}.errors import NotFound\n\nprint(NotFound)\n"
    done = subprocess.run(command, input=code, capture_output=True, text=True, cwd=ROOT)
    assert "TID251" in done.stdout
    assert f"import adapterworks.{package}" in done.stdout
