"""The command line with `ADAPTERS_REGISTRY`: no database, no store, the same words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapterworks.cli.main import cli
from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.metering.usage import insert_events
from adapterworks.gateway.tokens.roles import Role
from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound, Refused
from adapterworks.registry.jobs import events, putting, schema
from adapterworks.registry.jobs.job import BUILD_LANE, FINE_TUNING, NewJob
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


@pytest.mark.parametrize("words", [["verify", "--all"], ["registry", "rebuild-index"]])
def test_what_is_done_where_the_registry_is(adapters: Adapters, words: list[str]) -> None:
    with pytest.raises(InvalidInput, match="own database"):
        adapters(*words)


def audited(adapters: Adapters) -> set[str]:
    """What was done, by the trail."""
    lines = adapters("registry", "audit", "--json").splitlines()
    return {json.loads(line)["action"] for line in lines}


def test_jobs_of_all_tenants(adapters: Adapters, server: Server) -> None:
    """Listed, told of, paused, resumed and cancelled, as on the machine of the registry."""
    adapters("tenant", "add", "acme", "--allow", "medical")
    (acme,) = json.loads(adapters("tenant", "list", "--json"))
    database = server.registry.database
    schema.migrate(database)
    with database.write() as connection:
        first, second = (
            putting.put(
                connection, NewJob(FINE_TUNING, tenant, BUILD_LANE, {"name": name}), now=1.0
            )
            for tenant, name in ((acme["id"], "ft.x"), ("", "own"))
        )
        for number in range(3):
            events.add(
                connection, first.id, f"happening {number}", 2.0 + number, data={"n": number}
            )
    listed = json.loads(adapters("jobs", "list", "--json"))
    assert [job["id"] for job in listed] == [second.id, first.id]
    assert "acme" in adapters("jobs", "list", "--limit", "1", "--after", second.id)
    (own,) = json.loads(adapters("jobs", "list", "--tenant", "acme", "--json"))
    assert (own["id"], own["created"], own["arguments"]) == (
        first.id,
        "1970-01-01T00:00:01Z",
        {"name": "ft.x"},
    )
    told = [json.loads(line) for line in adapters("jobs", "logs", first.id, "--json").splitlines()]
    assert [(event["message"], event["data"]) for event in told] == [
        (f"happening {number}", {"n": number}) for number in range(3)
    ]
    assert adapters("jobs", "pause", first.id) == f"{first.id}: paused\n"
    with pytest.raises(Conflict, match="is paused"):
        adapters("jobs", "pause", first.id)
    assert adapters("jobs", "resume", first.id) == f"{first.id}: queued\n"
    assert adapters("jobs", "cancel", first.id) == f"{first.id}: cancelled\n"
    assert json.loads(adapters("jobs", "show", first.id, "--json"))["state"] == "cancelled"
    assert json.loads(adapters("jobs", "list", "--state", "queued", "--json"))[0]["id"] == second.id
    with pytest.raises(NotFound, match="no job"):
        adapters("jobs", "show", "ftjob-none")
    assert {"job.pause", "job.resume", "job.cancel"} <= audited(adapters)
    adapters("tenant", "remove", "acme", "--yes")


def test_usage_of_all_tenants(adapters: Adapters, server: Server) -> None:
    adapters("tenant", "add", "acme", "--allow", "medical")
    (acme,) = json.loads(adapters("tenant", "list", "--json"))
    day = 86400.0 * 20_000
    asked = [
        UsageEvent(
            request_id=f"r{number}",
            tenant=tenant,
            release="sha256:1",
            ref="medical@1",
            endpoint="/v1/chat/completions",
            status=200,
            cold_load=False,
            started=day + number * 86400,
            seconds=1.0,
            prompt_tokens=10,
            completion_tokens=number,
        )
        for number, tenant in enumerate((acme["id"], acme["id"], "other"))
    ]
    insert_events(server.registry.database, asked)
    found = json.loads(adapters("usage", "--by", "tenant", "--by", "ref", "--json"))
    sums = {row["tenant"]: (row["requests"], row["total_tokens"]) for row in found}
    assert sums == {"acme": (2, 21), "other": (1, 12)}
    assert [*found[0]][:2] == ["tenant", "ref"]
    days = json.loads(adapters("usage", "--tenant", "acme", "--since", "2024-10-05", "--json"))
    assert [(row["day"], row["total_tokens"]) for row in days] == [("2024-10-05", 11)]
    assert adapters("usage", "--by", "month", "--csv").splitlines()[1].startswith("2024-10,3,")
    for words, said in ((["--since", "today"], "day"), (["--tenant", "nobody"], "no tenant")):
        with pytest.raises((InvalidInput, NotFound), match=said):
            adapters("usage", *words)
    adapters("tenant", "remove", "acme", "--yes")


def test_settings(adapters: Adapters, server: Server, tmp_path: Path) -> None:
    _, public = make_key(tmp_path, "release")
    file = tmp_path / "registry.toml"
    file.write_text(
        f'[aliases.prod]\nnames = ["medical"]\napprovals = 1\nsignatures = 1\nkeys = ["{public}"]\n'
    )
    shown = json.loads(adapters("registry", "settings", str(file), "--why", "four eyes", "--json"))
    assert shown["aliases"]["prod"]["approvals"] == 1
    rule = server.registry.protection.settings().aliases["prod"]
    assert (rule.names, rule.signatures, len(rule.keys)) == (("medical",), 1, 1)
    with pytest.raises(Refused, match="protected"):
        adapters("promote", "medical@1", "prod")
    assert "settings" in audited(adapters)
    file.write_text("")
    adapters("registry", "settings", str(file))
    assert server.registry.protection.settings().aliases == {}


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
