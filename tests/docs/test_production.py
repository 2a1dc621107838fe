"""The how-tos of production and systemd: with a real PostgreSQL and S3, and by their tools."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from adapterworks.gateway.config.load import load_gateway_config
from adapterworks.gateway.config.tables import HttpTable
from adapterworks.manifests.digests import digest_file
from adapterworks.registry.jobs.files import Files
from adapterworks.settings import Settings
from tests.docs.blocks import ROOT, Block, blocks
from tests.docs.scene import Scene, environment
from tests.docs.test_commands import check
from tests.gateway.conftest import open_registry
from tests.postgres import new_database, postgres_server
from tests.registry.s3_servers import S3Server, moto_server
from tests.warm.python import warm_python

__all__ = ["moto_server", "postgres_server"]
PRODUCTION = ROOT / "docs" / "how-to" / "production.md"
SYSTEMD = ROOT / "docs" / "how-to" / "systemd.md"


def file(page: Path, title: str) -> str:
    (found,) = [block.text for block in blocks(page) if block.title == title]
    return found


def test_production_as_it_is_written(
    tmp_path: Path, postgres_server: str, moto_server: S3Server
) -> None:
    """The page's database and bucket are those of this machine."""
    folder = tmp_path / "folder"
    folder.mkdir()
    variables = {**moto_server.environment(), "ADAPTERS_BASES": str(ROOT / ".cache" / "bases")}
    scene = Scene(folder, environment(tmp_path, warm_python(), **variables))
    here = {
        "postgresql://adapters_owner@db.internal/adapters": f"'{new_database(postgres_server)}'",
        "s3://bank-adapters/registry": f"s3://{moto_server.new_bucket()}/registry",
    }
    for block in blocks(PRODUCTION):
        text = block.text
        for shown, ours in here.items():
            text = text.replace(shown, ours)
        scene.block(Block(block.language, block.title, text))
    assert scene.environment["ADAPTERS_DATABASE"].startswith("postgresql://")
    load_gateway_config(folder / "gateway.toml", {})
    scene.close()


def test_the_proxy_waits_longer_than_the_gateway_and_takes_what_it_takes() -> None:
    text = file(PRODUCTION, "adapters.conf")
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", text)
    assert int(seconds) > HttpTable().request_seconds
    (size,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(size) * 2**20 == HttpTable().body_limit
    assert "proxy_buffering off;" in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("unit", ["adapters-gateway.service", "adapters-worker.service"])
def test_a_unit_starts_a_command_that_exists_and_stops_after_what_has_begun(unit: str) -> None:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read_string(file(SYSTEMD, unit))
    service = parser["Service"]
    program, *words = service["ExecStart"].split()
    assert program.endswith("/.venv/bin/adapters")
    check(words)
    assert float(service["TimeoutStopSec"]) > HttpTable().drain_seconds
    assert service["Restart"] == "always"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
@pytest.mark.parametrize("unit", ["adapters-gateway.service", "adapters-worker.service"])
def test_systemd_itself_has_nothing_to_say(unit: str, tmp_path: Path) -> None:
    text = file(SYSTEMD, unit).replace("/opt/adapterworks/.venv/bin/adapters", sys.executable)
    target = tmp_path / unit
    target.write_text(text.replace("User=adapters\n", ""))
    done = subprocess.run(["systemd-analyze", "verify", target], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if unit in line]
    assert ours == []


def test_units_may_write_where_the_settings_of_the_page_keep_things() -> None:
    """The home, and the keys of captured answers beside it."""
    for page in (SYSTEMD, SYSTEMD.with_suffix(".zh.md")):
        lines = file(page, "environment").splitlines()
        settings = Settings.from_environment(dict(line.split("=", 1) for line in lines))
        unit = file(page, "adapters-gateway.service")
        (paths,) = re.findall(r"^ReadWritePaths=(.*)$", unit, re.MULTILINE)
        (made,) = re.findall(r"^StateDirectory=(.*)$", unit, re.MULTILINE)
        wanted = {str(settings.home), str(settings.keys)}
        assert set(paths.split()) == wanted == {f"/var/lib/{name}" for name in made.split()}
        (paths,) = re.findall(
            r"^ReadWritePaths=(.*)$", file(page, "adapters-worker.service"), re.MULTILINE
        )
        assert paths == str(settings.home)


def test_a_gateway_may_put_what_its_tables_have_it_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of tenants, and what is published over HTTP, go to the store: the page says so."""
    with open_registry(tmp_path / "home") as registry:
        put: list[str] = []
        monkeypatch.setattr(registry.blobs, "put", lambda digest, path: put.append(digest))
        (tmp_path / "rows").write_bytes(b"{}\n")
        digest = digest_file(tmp_path / "rows")
        Files(registry).hold(digest, tmp_path / "rows", 60.0, holder="file-1")
        assert put == [digest]
    for page, word in ((PRODUCTION, "a gateway"), (PRODUCTION.with_suffix(".zh.md"), "网关")):
        text = page.read_text(encoding="utf-8")
        (row,) = re.findall(rf"^\| {word} \|(.*)\|$", text, re.MULTILINE)
        read, write, delete = row.split("|")
        assert "`[jobs]`" in write
        assert "`[registry]`" in write
        assert "`[registry]`" in delete
        assert read.strip() in ("yes", "是")
