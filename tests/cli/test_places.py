"""Places of releases, as `adapters cp` is given them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.cli.main import cli
from adapterworks.registry.releases.release import Servable
from adapterworks.settings import Settings
from tests.registry.imports.hostile.good import RANK, TARGETS, write_adapter
from tests.registry.releases import draft, folder


def test_a_home_is_that_home_whatever_ones_own_file_names(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Production has two versions, staging one: what is read is staging's, and what is written."""
    person, staging, production = tmp_path / "person", tmp_path / "staging", tmp_path / "production"
    for place, count in ((staging, 1), (production, 2)):
        app = App(Settings.from_environment({"ADAPTERS_HOME": str(place)}))
        for n in range(count):
            made = folder(tmp_path / f"{place.name}-{n}", n)
            for role in ("adapter", "servable"):
                write_adapter(made / role)
            servable = Servable(form="lora", origin="native", rank=RANK, target_modules=TARGETS)
            app.registry.publish(made, draft(n, servable=servable), who="ann", alias="prod")
        app.close()
    file = person / ".config" / "adapterworks" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f'database = "sqlite:///{production}/index.db"\nblobs = "{production}/blobs"\n')
    monkeypatch.setenv("HOME", str(person))
    monkeypatch.delenv("ADAPTERS_CONFIG")
    first = App(Settings.from_environment({"ADAPTERS_HOME": str(staging)}))
    theirs = first.registry.resolve("medical:prod").digest
    copied = CliRunner().invoke(cli, ["cp", f"registry:{staging}#medical:prod", "copied"])
    assert copied.stdout.startswith(f"copied {theirs} at copied@1"), copied.output
    app = App()
    ours = app.registry.resolve("medical:prod").digest
    written = CliRunner().invoke(cli, ["cp", "medical:prod", f"registry:{staging}#medical"])
    assert written.stdout.startswith(f"copied {ours} at "), written.output
    assert first.registry.resolve("medical@2").digest == ours
    assert [row.version for row in app.registry.versions("medical")] == [2, 1]
    for opened in (app, first):
        opened.close()
