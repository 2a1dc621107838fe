"""The command line with `ADAPTERS_REGISTRY`: no database, no store, the same words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapterworks.cli.main import cli
from adapterworks.gateway.tokens.roles import Role
from adapterworks.manifests.errors import InvalidInput, Refused
from tests.registry.keys import make_key
from tests.registry.remotes.http.conftest import Server


@pytest.fixture
def adapters(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adapters:
    """Runs a command against the server, with a token of an administrator."""
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADAPTERS_DATABASE", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("ADAPTERS_BLOBS", str(tmp_path / "none"))
    monkeypatch.setenv("ADAPTERS_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("ADAPTERS_REGISTRY", server.url)
    monkeypatch.setenv("ADAPTERS_REGISTRY_TOKEN", server.offered.tokens[Role.ADMIN])
    return Adapters()


class Adapters:
    """The command line."""

    def __call__(self, *words: str) -> str:
        """What a command prints; it must end well."""
        result = CliRunner().invoke(cli, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout


def test_commands_that_read(adapters: Adapters, server: Server) -> None:
    assert "medical" in adapters("list")
    assert len(json.loads(adapters("list", "medical", "--json"))) == 3
    assert "legal@1" in adapters("search", "--method", "dora")
    told = json.loads(adapters("show", "medical@2", "--json"))
    assert told["digest"] == server.registry.resolve("medical@2").digest
    assert told["release"] == server.registry.release(told["digest"]).to_json()
    assert "# medical" in adapters("show", "medical", "--file", "README.md")
    assert "promote prod" in adapters("log", "medical:prod")
    assert "seed" in adapters("lineage", "medical@1")
    assert "adapter.lock" in adapters("diff", "medical@1", "medical@2")
    assert json.loads(adapters("verify", "medical@1", "--json"))["clean"] is True


def test_a_release_is_checked_out(adapters: Adapters, server: Server) -> None:
    folder = Path(adapters("pull", "medical@2").strip())
    digest = server.registry.resolve("medical@2").digest
    name = "adapter_model.safetensors"
    expected = server.registry.read(digest, f"servable/{name}")
    assert (folder / name).read_bytes() == expected


def test_commands_that_write(adapters: Adapters, server: Server, tmp_path: Path) -> None:
    adapters("promote", "medical@1", "tried", "--expect", "none", "--why", "to see")
    adapters("promote", "medical@2", "tried", "--expect", "medical@1")
    assert "medical@1" in adapters("rollback", "medical:tried", "--expect", "medical@2")
    adapters("tag", "medical@3", "+seen")
    adapters("deprecate", "medical@3", "--why", "not yet")
    private, public = make_key(tmp_path, "release")
    adapters("sign", "medical@3", "--key", str(private))
    adapters("verify", "medical@3", "--key", str(public))
    said = {(event.kind, event.who) for event in server.registry.log.events("medical", limit=6)}
    assert said == {(kind, "admin") for kind in ("promote", "rollback", "tag", "deprecate", "sign")}


@pytest.mark.parametrize("words", [["gc", "--dry-run"], ["usage"], ["verify", "--all"]])
def test_what_is_done_where_the_registry_is(adapters: Adapters, words: list[str]) -> None:
    with pytest.raises(InvalidInput, match="own database"):
        adapters(*words)


def test_tenants_and_tokens(adapters: Adapters, server: Server) -> None:
    key = adapters("tenant", "add", "acme", "--allow", "medical", "--rpm", "600").strip()
    assert key.startswith("aw-")
    adapters("tenant", "set", "acme", "--rpm", "none", "--tpm", "100k")
    (told,) = json.loads(adapters("tenant", "list", "--json"))
    assert (told["name"], told["rpm"], told["tpm"]) == ("acme", None, 100_000)
    assert adapters("tenant", "key", "add", "acme", "--expires", "90d").startswith("aw-")
    adapters("tenant", "key", "revoke", key)
    states = [
        row["state"] for row in json.loads(adapters("tenant", "key", "list", "acme", "--json"))
    ]
    assert states == ["revoked", "active"]
    log = json.loads(adapters("tenant", "log", "acme", "--json"))
    assert log[0]["action"] == "key.revoke"
    assert {row["who"] for row in log} == {"admin"}
    with pytest.raises(InvalidInput, match="captured"):
        adapters("tenant", "set", "acme", "--capture", "medical")
    adapters("tenant", "remove", "acme", "--yes")
    assert json.loads(adapters("tenant", "list", "--json")) == []
    made = adapters("registry", "token", "create", "eve", "--role", "reader", "--expires", "1d")
    assert made.startswith("awr-")
    adapters("registry", "token", "revoke", "eve")
    rows = json.loads(adapters("registry", "token", "list", "--json"))
    assert [row["state"] for row in rows if row["name"] == "eve"] == ["revoked"]
    trail = [json.loads(line) for line in adapters("registry", "audit", "--json").splitlines()]
    assert {"tenant.add", "key.revoke", "token.create"} <= {row["action"] for row in trail}
    assert key not in json.dumps(trail)
    assert not any(key in path for _, path, _ in server.asked)


def test_a_token_is_not_shown(adapters: Adapters, server: Server) -> None:
    told = adapters("config")
    assert server.url in told
    assert server.offered.tokens[Role.ADMIN] not in told


def test_two_tokens_move_an_alias(
    adapters: Adapters, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ("promote", "medical@2", "--to", "reviewed", "--request", "--why", "better", "--json")
    (asked,) = json.loads(adapters(*ask, "--expect", "none"))
    number = str(asked["id"])
    with pytest.raises(Refused, match="by `admin`"):
        adapters("promote", "--approve", number)
    assert "open" in adapters("promote", "--requests")
    monkeypatch.setenv("ADAPTERS_REGISTRY_TOKEN", server.offered.tokens[Role.PROMOTER])
    assert "approved" in adapters("promote", "--approve", number)
    assert server.registry.resolve("medical:reviewed").version == 2
    assert server.registry.history("medical", "reviewed")[-1].who == "promoter"
    (other,) = json.loads(adapters(*ask[:3], "more", *ask[4:]))
    assert "denied" in adapters("promote", "--deny", str(other["id"]), "--why", "not yet")
