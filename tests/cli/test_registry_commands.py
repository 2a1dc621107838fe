"""The registry's commands: tables for people, stable JSON for programs, errors with a way on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.cli.main import cli
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Conflict, IntegrityError, InvalidInput, NotFound, Refused
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.jobs import putting
from adapterworks.registry.jobs import schema as jobs_schema
from adapterworks.registry.jobs.files import Files, NewFile
from adapterworks.registry.jobs.job import DETACHED, OPERATOR, NewJob
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import parent_of
from tests.registry.datasets.seals import seal_of
from tests.registry.datasets.test_store import add
from tests.registry.exchanges.test_exchanges import exchange
from tests.registry.releases import draft, folder

ADAPTERS = Path(sys.executable).with_name("adapters")


@pytest.fixture
def shelf(home: Path, tmp_path: Path) -> Path:
    """A home with `medical` 1–3 (`prod` at 1) and `code` 1."""
    app = App()
    for number in (1, 2, 3):
        files = folder(tmp_path / f"{number}", number, lock={"packages": {"torch": f"2.{number}"}})
        parents = () if number == 1 else (parent_of("start", f"medical@{number - 1}"),)
        item = draft(number, manifest={"train": {"epochs": number}}, parents=parents)
        app.registry.publish(files, item, who="ann", why="nightly", alias=None)
    app.registry.publish(folder(tmp_path / "c"), draft(9, name="code", tags=("ruff",)), who="ann")
    app.registry.promote("medical", 1, "prod", who="ann")
    app.registry.close()
    return home


def run(*arguments: str) -> str:
    """The command's standard output; its error as an exception."""
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_list(shelf: Path) -> None:
    names = run_json("list")
    assert [(row["name"], row["latest"], row["versions"]) for row in names] == [
        ("code", 1, 1),
        ("medical", 3, 3),
    ]
    assert names[1]["aliases"]["prod"][0]["version"] == 1
    versions = run_json("list", "medical", "--limit", "2")
    assert [row["version"] for row in versions] == [3, 2]
    assert versions[0]["metrics"] == {"exact_match": 0.003}
    text = run("list", "medical")
    assert text.splitlines()[0].split() == [
        *("version", "aliases", "method", "base", "metrics", "size", "published", "digest")
    ]
    assert "medical@1" in text
    with pytest.raises(NotFound, match="no adapter `nobody`"):
        run("list", "nobody")


def test_list_says_how_to_get_the_next_page(shelf: Path) -> None:
    result = subprocess.run(
        [ADAPTERS, "list", "medical", "--limit", "2"], capture_output=True, text=True, check=True
    )
    assert "more: adapters list medical --limit 2 --after 2" in result.stderr
    assert "more:" not in result.stdout
    assert [row["version"] for row in run_json("list", "medical", "--before", "2")] == [1]


def test_search(shelf: Path) -> None:
    assert [row["name"] for row in run_json("search", "--tag", "ruff")] == ["code"]
    assert len(run_json("search", "icd", "clinical", "--method", "lora")) == 4
    assert run_json("search", "nothing") == []


def test_show(shelf: Path) -> None:
    shown = run_json("show", "medical")
    assert (shown["name"], shown["version"], shown["aliases"]) == ("medical", 1, ["prod"])
    assert shown["release"]["servable"]["rank"] == 8
    assert shown["signed_by"] == []
    assert "servable/adapter_model.safetensors" in run("show", "medical@2")
    assert run("show", "medical@2", "--file", "README.md") == "# medical\n"


def test_diff_and_lineage(shelf: Path) -> None:
    found = run_json("diff", "medical@1", "medical@3")
    assert found["manifest"] == [{"key": "train.epochs", "before": 1, "after": 3}]
    assert found["lock"] == [{"key": "packages.torch", "before": "2.1", "after": "2.3"}]
    text = run("diff", "medical@1", "medical@3")
    assert "train.epochs" in text
    assert "the same release" in run("diff", "medical", "medical@1")
    lineage = run_json("lineage", "medical@3")
    assert [parent["ref"] for parent in lineage["parents"]] == ["medical@2", "medical@1"]
    assert lineage["packages"] == {"torch": "2.3"}
    assert "package torch" in run("lineage", "medical@3")


def test_promote_log_and_rollback(shelf: Path) -> None:
    move = run_json("promote", "medical@2", "prod", "--expect", "medical@1", "--why", "better")
    assert (move["version"], move["previous"], move["who"]) == (2, 1, "tester")
    with pytest.raises(Conflict, match="`medical:prod` is `medical@2`"):
        run("promote", "medical@3", "prod", "--expect", "medical@1")
    with pytest.raises(Conflict):
        run("promote", "medical@3", "prod", "--expect", "none")
    with pytest.raises(InvalidInput, match="not a version of `medical`"):
        run("promote", "medical@3", "prod", "--expect", "code@1")
    assert "(90 %), medical@3 (10 %)" in run("promote", "medical@3", "prod", "--weight", "10")
    assert run_json("log", "medical:prod")[0]["data"]["weight"] == 10
    assert run("rollback", "medical:prod").startswith("medical:prod → medical@2")
    assert "(was medical@2)" in run("rollback", "medical:prod", "--why", "worse")
    kinds = [event["kind"] for event in run_json("log", "medical:prod")]
    assert kinds == ["rollback", "rollback", "canary", "promote", "promote"]
    assert "nightly" in run("log", "medical")
    assert [event["kind"] for event in run_json("log", "medical@3")] == ["publish"]
    with pytest.raises(InvalidInput, match="not an alias"):
        run("rollback", "medical@2")


def test_delete_and_gc(shelf: Path) -> None:
    with pytest.raises(Conflict, match="points to it"):
        run("delete", "medical@1", "--yes")
    with pytest.raises(InvalidInput, match="does not name one version"):
        run("delete", "medical")
    assert run_json("delete", "medical@2", "--why", "bad split", "--yes")["deleted"] == "medical@2"
    with pytest.raises(NotFound, match=r"was deleted by tester at .*: bad split"):
        run("show", "medical@2")
    planned = run_json("gc", "--dry-run", "--grace", "0")
    assert "would remove 3 blobs" in run("gc", "--dry-run", "--grace", "0")
    done = run_json("gc", "--grace", "0", "--yes")
    assert done["report"]["blobs"] == planned["report"]["blobs"]
    assert len(done["report"]["blobs"]) == 3
    assert done["bytes"] > 0
    assert run_json("verify", "--all")["clean"]


def test_gc_removes_captured_answers_that_have_expired(shelf: Path) -> None:
    app = App()
    app.exchanges.put([exchange(0, expires=1.0), exchange(1, expires=2.0**40)])
    app.registry.close()
    sealed = app.settings.home / "exchanges" / "tn_acme"
    assert run_json("gc", "--dry-run")["expired"] == 1
    assert len(list(sealed.iterdir())) == 2
    assert "1 expired captured answers" in run("gc", "--yes")
    assert [path.name for path in sealed.iterdir()] == ["req-1"]
    assert run_json("gc", "--yes")["expired"] == 0


def test_gc_asks_on_a_terminal_and_refuses_where_nobody_can_be_asked(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("delete", "medical@2", "--yes")
    with pytest.raises(InvalidInput, match="nothing was removed: nobody can be asked") as error:
        run("gc", "--grace", "0")
    assert error.value.hint == "add --yes"
    monkeypatch.setattr("adapterworks.cli.printing.is_asked", lambda: True)
    no = CliRunner().invoke(cli, ["gc", "--grace", "0"], input="n\n")
    assert no.exit_code == 1
    assert "to the trash" in no.stdout
    assert "would remove 3 blobs" in no.stdout
    assert len(run_json("gc", "--grace", "0", "--dry-run")["report"]["blobs"]) == 3
    yes = CliRunner().invoke(cli, ["gc", "--grace", "60"], input="y\n")  # they are too young
    assert "would remove 0 blobs" in yes.stdout
    assert yes.exit_code == 0
    done = CliRunner().invoke(cli, ["gc", "--grace", "0"], input="y\n")
    assert "removed 3 blobs" in done.stdout
    assert run_json("gc", "--grace", "0", "--dry-run")["report"]["blobs"] == []


@pytest.mark.parametrize("grace", ["0", "7000000"])
def test_gc_as_json_never_asks_whether_there_is_something_or_not(
    shelf: Path, grace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty document on good days and an error on others is no JSON."""
    run("delete", "medical@2", "--yes")
    monkeypatch.setattr("adapterworks.cli.printing.is_asked", lambda: True)
    with pytest.raises(InvalidInput, match="`--json` does not ask"):
        run("gc", "--grace", grace, "--json")
    assert run_json("gc", "--grace", grace, "--yes")["report"]["dry_run"] is False


def test_a_wrong_index_collects_nothing_and_says_why(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cron job whose environment lost a line."""
    before = sorted((shelf / "blobs" / "sha256").rglob("*"))
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "laptop"))
    monkeypatch.setenv("ADAPTERS_BLOBS", str(shelf / "blobs"))
    monkeypatch.delenv("ADAPTERS_DATABASE", raising=False)
    with pytest.raises(Refused, match="is empty and") as error:
        run("gc", "--grace", "0", "--yes")
    assert "ADAPTERS_DATABASE" in (error.value.hint or "")
    assert sorted((shelf / "blobs" / "sha256").rglob("*")) == before


def test_backup_restore_and_rebuild(shelf: Path, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")
    assert "wrote" in run("registry", "backup", copy)
    for left in shelf.glob("index.db*"):
        left.unlink()
    assert "restored the index" in run("registry", "restore", copy)
    assert run_json("list", "medical")[2]["aliases"] == ["prod"]
    for left in shelf.glob("index.db*"):
        left.unlink()
    shown = run("registry", "rebuild-index", "--dry-run")
    assert "4 of 4 can be listed" in shown
    assert run_json("list") == []
    with pytest.raises(InvalidInput, match="nothing was listed"):
        run("registry", "rebuild-index")
    assert "listed medical@3 (sha256:" in run("registry", "rebuild-index", "--yes")
    assert run("registry", "rebuild-index") == "0 of 0 can be listed\n"
    assert run_json("verify", "--all")["clean"]


def test_a_leftover_index_is_neither_backed_up_nor_restored(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All other commands ask the server: a copy of what is here would be taken for the team's."""
    copy = tmp_path / "copy.db"
    run("registry", "backup", str(copy))
    monkeypatch.setenv("ADAPTERS_REGISTRY", "http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match="needs the registry's own database"):
        run("registry", "backup", str(tmp_path / "other.db"))
    assert not (tmp_path / "other.db").exists()
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "fresh"))
    with pytest.raises(InvalidInput, match="needs the registry's own database"):
        run("registry", "restore", str(copy))
    assert not (tmp_path / "fresh" / "index.db").exists()


def test_datasets_are_listed_again_and_files_are_not(shelf: Path, tmp_path: Path) -> None:
    with App().registry as registry:
        made = add(Datasets(registry), seal=seal_of(1), train=b'{"row":1}\n', test=b'{"row":2}\n')
        path = tmp_path / "rows"
        path.write_bytes(b"rows")
        new = NewFile("acme", "fine-tune", "rows", path, digest_bytes(b"rows"), 4)
        Files(registry).put(new)
    for left in shelf.glob("index.db*"):
        left.unlink()
    shown = run("registry", "rebuild-index", "--dry-run")
    assert "4 of 4 can be listed\n1 datasets and 1 seals can be listed; 1 more, files of" in shown
    told = run("registry", "rebuild-index", "--yes")
    assert told.count("listed dataset:cases@1\n") == 2  # the rows and their seal
    assert run_json("dataset", "show", "cases")["digest"] == made.digest
    with pytest.raises(Refused, match="1 files that the index"):
        run("gc", "--dry-run", "--grace", "0")
    assert "0 datasets and 0 seals" in run("registry", "rebuild-index")


def test_verify_and_repair(shelf: Path, tmp_path: Path) -> None:
    registry = Registry.open(
        database=f"sqlite:///{shelf}/index.db", blobs=str(shelf / "blobs"), home=shelf
    )
    digest = registry.release(registry.resolve("medical").digest).files["README.md"].digest
    good = Path(str(registry.blobs.path(digest)))  # type: ignore[attr-defined]
    registry.close()
    backup = tmp_path / "backup" / good.relative_to(shelf / "blobs")
    backup.parent.mkdir(parents=True)
    backup.write_bytes(good.read_bytes())
    good.chmod(0o644)
    good.write_bytes(b"# medicaL\n")
    with pytest.raises(IntegrityError) as error:
        run("verify", "medical")
    assert "--repair" in (error.value.hint or "")
    assert "clean" in run("verify", "--all", "--repair", str(tmp_path / "backup"))
    assert run_json("verify", "--all")["report"]["problems"] == []
    for wrong in ((), ("medical", "--all")):
        with pytest.raises(InvalidInput, match="give a REF or `--all`"):
            run("verify", *wrong)


def test_sign_and_verify_with_a_key(shelf: Path, tmp_path: Path) -> None:
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    for command in (
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private],
        ["openssl", "ec", "-in", private, "-pubout", "-out", public],
    ):
        subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(IntegrityError) as error:
        run("verify", "medical", "--key", str(public))
    assert "adapters sign" in (error.value.hint or "")
    key = run_json("sign", "medical", "--key", str(private))["key"]
    assert run_json("verify", "medical", "--key", str(public))["clean"]
    assert run_json("show", "medical")["signed_by"] == [key]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "nobody"], 3, "error: there is no adapter `nobody`"),
        (["show", "Bad Ref"], 2, "error: `Bad Ref` is not an adapter name"),
        (["promote", "medical@3", "prod", "--expect", "none"], 4, "somebody moved it"),
        (["rollback", "medical:qa"], 3, "has no alias `qa`"),
    ],
)
def test_errors_have_an_exit_code_a_hint_and_no_trace(
    shelf: Path, arguments: list[str], code: int, message: str
) -> None:
    result = subprocess.run([ADAPTERS, *arguments], capture_output=True, text=True)
    assert result.returncode == code
    assert message in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_an_unreachable_index_is_one_line(home: Path) -> None:
    result = subprocess.run(
        [ADAPTERS, "list"],
        capture_output=True,
        text=True,
        env={**os.environ, "ADAPTERS_DATABASE": "postgresql://u:secret@127.0.0.1:1/d"},
    )
    assert result.returncode == 7
    assert "the index on `127.0.0.1` cannot be used" in result.stderr
    assert "secret" not in result.stderr


def test_tags_deprecation_and_later_facts_are_shown(shelf: Path) -> None:
    assert run("tag", "medical@2", "+reviewed", "-icd", "--why", "-checked-") == (
        "medical@2: coding reviewed\n"
    )
    assert "medical@2" in run("search", "--tag", "reviewed")
    assert run("deprecate", "medical@2", "--why", "use medical@3") == (
        "medical@2 is deprecated: use medical@3\n"
    )
    shown = run("show", "medical@2")
    assert "deprecated   by tester at" in shown
    assert "tags         coding reviewed" in shown
    assert "tag medical@2 added=['reviewed'] removed=['icd']  -checked-" in shown
    values = json.loads(run("show", "medical@2", "--json"))
    assert values["tags"] == ["coding", "reviewed"]
    assert values["release"]["tags"] == ["icd", "coding"]
    assert values["deprecated"]["why"] == "use medical@3"
    assert [event["kind"] for event in values["later"]] == ["deprecate", "tag"]
    run("deprecate", "medical@2", "--undo")
    assert json.loads(run("show", "medical@2", "--json"))["deprecated"] is None
    with pytest.raises(InvalidInput, match="`reviewed` says not whether"):
        run("tag", "medical@2", "reviewed")
    with pytest.raises(InvalidInput, match="`--why` is missing"):
        run("deprecate", "medical@2")


def test_erasing_asks_and_says_what_it_did(shelf: Path) -> None:
    refused = CliRunner().invoke(
        cli, ["erase", "medical@1", "README.md", "--why", "x"], input="n\n", obj=App()
    )
    assert refused.exit_code == 1
    shown = run("show", "medical@1", "--file", "README.md")
    assert shown == "# medical\n"
    # The four releases of the shelf have the same card.
    done = json.loads(run("erase", "medical@1", "README.md", "--why", "x", "--yes", "--json"))
    assert [holder["ref"] for holder in done["holders"]] == [
        "code@1",
        "medical@1",
        "medical@2",
        "medical@3",
    ]
    with pytest.raises(NotFound, match=r"`README\.md` of `medical@sha256:.* was erased on 2"):
        run("show", "medical@2", "--file", "README.md")
    verified = run("verify", "--all")
    assert "erased    medical@3  README.md" in verified
    assert verified.endswith(": clean\n")
    assert "erased on 2" in run("show", "medical@3")
    with pytest.raises(Refused, match="is needed to serve"):
        run("erase", "medical@1", "adapter/adapter_config.json", "--why", "x", "--yes")
    with pytest.raises(NotFound, match="has no file `nothing`"):
        run("erase", "medical@1", "nothing", "--why", "x", "--yes")
    with pytest.raises(InvalidInput, match="`--why` is empty"):
        run("erase", "medical@1", "README.md", "--why", " ", "--yes")


def test_what_a_stranger_wrote_does_nothing_to_the_terminal(home: Path, tmp_path: Path) -> None:
    text = "\x1b]0;owned\x07\x1b[31mred\r\u202e"
    lock = {"data": {text: text}, "packages": {"torch": text, "half": "\ud83d", "n": 1}}
    app = App()
    item = draft(1, description=text, tags=(text,), metrics={text: 1.0}, created_by=text)
    app.registry.publish(folder(tmp_path / "x", 1, lock=lock), item, who="ann")
    app.registry.publish(folder(tmp_path / "y", 2), draft(2), who="ann")
    app.registry.close()
    for command in (("show", "medical@1"), ("lineage", "medical@1"), ("list", "medical")):
        shown = run(*command)
        assert not set(text) & set(shown) & set("\x1b\x07\r\u202e"), command
    shown = (
        run("diff", "medical@1", "medical@2") + run("search", "red") + run("lineage", "medical@1")
    )
    assert not set(shown) & set("\x1b\x07\r\u202e")
    assert r"\x1b[31mred\r\u202e" in shown
    assert json.loads(run("show", "medical@1", "--json"))["release"]["description"] == text
    assert json.loads(run("diff", "medical@1", "medical@2", "--json"))["lock"]


def test_what_is_done_to_an_index_is_told_in_json(shelf: Path, tmp_path: Path) -> None:
    copy = tmp_path / "index.backup"
    told = run_json("registry", "backup", str(copy))
    assert told == {"file": str(copy), "bytes": copy.stat().st_size}
    assert set(run_json("registry", "upgrade")) == {"version"}
    for left in shelf.glob("index.db*"):
        left.unlink()
    whole = run_json("registry", "rebuild-index", "--dry-run")
    assert {row["state"] for row in whole["unlisted"]} == {"whole"}
    assert len(whole["unlisted"]) == 4
    assert whole["listed"] == []
    for left in shelf.glob("index.db*"):
        left.unlink()
    told = run_json("registry", "restore", str(copy))
    assert (told["file"], told["unlisted"], told["deposits"]) == (str(copy), 0, 0)
    assert run_json("registry", "rebuild-index", "--yes")["listed"] == []
    assert "medical@1" in run("show", "medical:prod")


def test_a_job_that_is_moved_is_told_in_json(shelf: Path) -> None:
    app = App()
    jobs_schema.migrate(app.registry.database)
    with app.registry.database.write() as connection:
        job = putting.put(connection, NewJob(DETACHED, OPERATOR, "on:1", {}), now=1.0)
    app.registry.close()
    for verb, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        told = run_json("jobs", verb, job.id)
        assert (told["id"], told["state"]) == (job.id, state)
    assert len(run_json("webhook", "secret")["secret"]) > 20
