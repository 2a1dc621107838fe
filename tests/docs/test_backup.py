"""The page on backups, typed by somebody whose registry is named by variables and by a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.app import App
from adapterworks.serving import SPOOL
from adapterworks.settings import Settings
from tests.docs.blocks import ROOT, Command, blocks
from tests.docs.scene import Scene, environment
from tests.registry.releases import draft, folder
from tests.warm.python import warm_python

PAGES = [ROOT / "docs" / "how-to" / name for name in ("backup.md", "backup.zh.md")]


def test_a_trial_leaves_the_registry_of_the_settings_alone(tmp_path: Path) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    theirs = {
        "ADAPTERS_DATABASE": f"sqlite:///{home}/index.db",
        "ADAPTERS_BLOBS": f"{home}/blobs",
        "ADAPTERS_CONFIG": str(tmp_path / "config.toml"),
    }
    (tmp_path / "config.toml").write_text(f'database = "sqlite:///{home}/index.db"\n')
    variables = environment(tmp_path, warm_python(), **theirs) | {"ADAPTERS_HOME": str(home)}
    app = App(Settings.from_environment(variables))
    app.registry.publish(folder(tmp_path / "made"), draft(), who="ann")
    app.close()
    # What is there after the backup must not be missed in the trial, nor be changed by it.
    scene = Scene(here, variables)
    printed = [
        scene.command(Command(command.text))
        for block in blocks(PAGES[0])
        for command in block.commands()
    ]
    scene.close()
    assert any("verified 1 releases" in said and "clean" in said for said in printed), printed
    assert any(f"into sqlite:///{here}/trial/index.db" in said for said in printed), printed
    app = App(Settings.from_environment(variables))
    assert [row.version for row in app.registry.versions("medical")] == [1]
    app.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_usage_is_where_the_page_says(page: Path) -> None:
    assert f"`ADAPTERS_HOME/{SPOOL}`" in page.read_text(encoding="utf-8")
