"""Nothing of the demo, the suite or a bench reaches what whoever runs them has configured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import demo
from adapterworks.settings import Settings, config_file
from bench.apart import environment, settle
from bench.serving import ADAPTERS

ROOT = Path(__file__).resolve().parents[2]
THEIRS = {
    "ADAPTERS_DATABASE": "postgresql://ann:secret@production/adapters",
    "ADAPTERS_BLOBS": "s3://production/registry",
    "ADAPTERS_REGISTRY": "https://registry.production",
    "ADAPTERS_REGISTRY_TOKEN": "awr-theirs",
    "ADAPTERS_KEYS_DIR": "/production/keys",
    "ADAPTERS_CHECKOUTS": "1GB",
    "ADAPTERS_GATEWAY": "https://gateway.production",
    "ADAPTERS_GATEWAY_ENGINES": '[{url = "http://engine.production", base = "b"}]',
    "ADAPTERS_URL": "https://gateway.production",
}
# What only names what a process is given, or runs the program of another time.
_OF_OTHERS = {"tests/upgrade/make_0c1a7fc.py", "tests/project/test_apart.py"}


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A person who has all of it configured, in variables and in a file; their home directory."""
    before = dict(os.environ)
    home = tmp_path / "person"
    (home / ".config" / "adapterworks").mkdir(parents=True)
    (home / ".config" / "adapterworks" / "config.toml").write_text(
        'database = "postgresql://file/adapters"\nblobs = "s3://file/x"\n'
        'registry = "https://file"\nhome = "/production/home"\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("ADAPTERS_CONFIG", raising=False)
    for name, value in THEIRS.items():
        monkeypatch.setenv(name, value)
    yield home
    os.environ.clear()
    os.environ.update(before)


def nobodys(settings: Settings, home: Path) -> bool:
    """Whether they are those of a fresh home and of nothing else."""
    return settings == Settings(
        home=home,
        database=f"sqlite:///{home / 'index.db'}",
        blobs=str(home / "blobs"),
        bases=settings.bases,
        who=settings.who,
        keys=Path(f"{home}-keys"),
    )


def test_an_environment_of_its_own_has_nothing_of_the_callers(theirs: Path, tmp_path: Path) -> None:
    assert Settings.from_environment().registry == THEIRS["ADAPTERS_REGISTRY"]
    made = environment(tmp_path / "home")
    assert nobodys(Settings.from_environment(made), tmp_path / "home")
    assert {name for name in made if name.startswith("ADAPTERS_")} == {
        *("ADAPTERS_CONFIG", "ADAPTERS_HOME", "ADAPTERS_BASES")
    }
    assert made["PATH"] == os.environ["PATH"]


def test_a_process_that_settles_has_nothing_of_the_callers(theirs: Path, tmp_path: Path) -> None:
    settle(tmp_path / "home")
    assert nobodys(Settings.from_environment(), tmp_path / "home")
    assert not {*THEIRS} & {*os.environ}


def test_the_demo_builds_into_its_own_registry(
    theirs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def build(name: str) -> None:
        told = subprocess.run([ADAPTERS, "config", "--json"], check=True, stdout=subprocess.PIPE)
        seen.append(json.loads(told.stdout)["settings"])
        raise demo.DemoFailed("seen enough")

    monkeypatch.setattr(demo, "build", build)
    assert demo.main() == 1
    (settings,) = seen
    home = settings["home"]["value"]
    assert "adapterworks-demo-" in home
    assert settings["database"]["value"] == f"sqlite:///{home}/index.db"
    assert settings["blobs"]["value"] == f"{home}/blobs"
    assert [settings[key]["value"] for key in ("registry", "registry_token", "gateway")] == [""] * 3


def test_what_this_suite_has_is_nobodys() -> None:
    home = Path(os.environ["ADAPTERS_HOME"])
    assert home.name.startswith("adapterworks-tests-")
    assert nobodys(Settings.from_environment(), home)
    assert config_file() == Path(os.devnull)


def test_a_suite_that_somebody_runs_has_nothing_of_theirs(theirs: Path) -> None:
    own = f"{__file__}::{test_what_this_suite_has_is_nobodys.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", own],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_who_starts_commands_takes_that_environment() -> None:
    """By the text of every file: an ADAPTERS_HOME is set in one place, for all but tests."""
    files = [ROOT / "demo.py", *(ROOT / "bench").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
    setting = {
        str(file.relative_to(ROOT))
        for file in files
        if '"ADAPTERS_HOME"' in file.read_text(encoding="utf-8")
    }
    assert setting == {
        "bench/apart.py",
        "bench/job_crew.py",
    }  # its gateways have homes of their own
    filtering = {
        str(file.relative_to(ROOT))
        for file in (*files, *(ROOT / "tests").rglob("*.py"))
        if "startswith" in (text := file.read_text(encoding="utf-8"))
        and "ADAPTERS_" in text
        and "environ.items()" in text
    }
    assert filtering - _OF_OTHERS <= {"bench/apart.py"}
