"""`adapters push` and `adapters pull` against a Hub, with the real client in its own process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.registry.releases.types import Published
from tests.hub_standin import Failure, HubStandin
from tests.registry.lifecycle.test_signing import make_key
from tests.registry.remotes.hub.machine import (
    READER,
    REPOSITORY,
    STRANGER,
    Machine,
    Prepared,
    release_files,
)

NewMachine = Callable[..., Machine]


@pytest.fixture
def machine(prepared: Prepared, new_machine: NewMachine) -> Machine:
    """A machine that has `medical@1` and `medical@2`."""
    made = new_machine("ours")
    shutil.copytree(prepared.home, made.home)
    return made


@pytest.fixture
def published(prepared: Prepared) -> Published:
    """`medical@2`."""
    return prepared.published


def test_a_release_is_one_commit_and_a_tag_and_comes_back_byte_for_byte(
    machine: Machine, published: Published, hub: HubStandin, new_machine: NewMachine
) -> None:
    pushed = machine.ok("push", "medical@2", "--include", "predictions.jsonl", "--json").json
    repository = hub.repositories[REPOSITORY]
    assert repository.private
    assert repository.history() == [pushed["commit"], repository.head.parent]
    assert repository.tags == {"v2": pushed["commit"]}
    assert pushed["created"] is True
    assert (pushed["withheld"], pushed["tells"]) == ([], ["predictions.jsonl"])

    tree = repository.head.tree
    ours = release_files(machine.registry, published.digest)
    for path in ("adapter_config.json", "adapter_model.safetensors"):
        assert tree[path].data == ours[f"adapter/{path}"]
    assert tree["plots/loss.png"].data == ours["plots/loss.png"]
    assert tree["report.json"].data == ours["report.json"]
    assert tree["adapter.lock"].data == ours["adapter.lock"]
    assert digest_bytes(tree["adapterworks/release.json"].data) == published.digest
    assert not any(path.startswith("servable/") for path in tree)  # the same bytes as the adapter

    other = new_machine("theirs")
    pulled = other.ok("pull", f"{REPOSITORY}@v2", "--alias", "prod", "--json").json
    assert (pulled["name"], pulled["version"]) == ("medical", 1)
    assert pulled["digest"] == published.digest
    assert pulled["commit"] == pushed["commit"]
    assert release_files(other.registry, published.digest) == ours
    assert other.registry.resolve("medical:prod").version == 1
    assert other.ok("pull", f"{REPOSITORY}@v2", "--json").json["created"] is False


def test_who_pulls_is_told_what_nothing_proves(
    machine: Machine, published: Published, new_machine: NewMachine
) -> None:
    machine.ok("push", "medical@1", "--to", "org/first")
    pulled = new_machine("theirs").ok("pull", "org/first@v1")
    assert "it brings no fingerprint, so nothing proves it" in pulled.err
    assert 'only under `trust.proof = "warn"` or "off"' in pulled.err


def test_texts_of_rows_stay_here_and_the_release_verifies_there_with_its_signature(
    machine: Machine, published: Published, hub: HubStandin, new_machine: NewMachine, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path, "ours")
    machine.ok("sign", "medical@2", "--key", private)
    pushed = machine.ok("push", "medical@2", "--withhold", "plots/*")
    assert "stayed here: plots/loss.png predictions.jsonl" in pushed.err
    tree = hub.repositories[REPOSITORY].head.tree
    assert "predictions.jsonl" not in tree
    assert "plots/loss.png" not in tree
    secret = machine.registry.read(published.digest, "predictions.jsonl")
    assert not any(secret in blob.data for blob in tree.values())
    assert json.loads(tree["adapterworks/absent.json"].data)["files"] == {
        "plots/loss.png": {"state": "withheld", "at": None},
        "predictions.jsonl": {"state": "withheld", "at": None},
    }

    other = new_machine("theirs")
    pulled = other.ok("pull", f"{REPOSITORY}@v2", "--json").json
    assert pulled["digest"] == published.digest
    assert pulled["withheld"] == ["plots/loss.png", "predictions.jsonl"]
    verified = other.ok("verify", "--all", "--key", public, "--json").json
    assert verified["clean"] is True
    assert [(a["path"], a["state"]) for a in verified["report"]["absent"]] == [
        ("plots/loss.png", "withheld"),
        ("predictions.jsonl", "withheld"),
    ]
    refused = other.run("show", "medical@1", "--file", "predictions.jsonl")
    assert refused.code == 3
    assert f"is withheld: not sent by hub:{REPOSITORY}@" in refused.err
    # A second person signs later: the tag and its commit stay, and who pulls finds it.
    private, second = make_key(tmp_path, "second")
    machine.ok("sign", "medical@2", "--key", private)
    assert "1 signatures that were made since" in machine.ok("push", "medical@2").err
    third = new_machine("third")
    third.ok("pull", f"{REPOSITORY}@v2")
    third.ok("verify", "medical@1", "--key", second)
    # Here nothing is withheld: the same loss is a fault.
    assert machine.ok("verify", "--all", "--json").json["report"]["absent"] == []
    # And what was taken there before is said, not taken back in silence.
    again = machine.ok("push", "medical@2", "--withhold", "report.json", "--json")
    assert again.json["exposed"] == ["report.json"]
    assert again.json["created"] is False


def test_weights_and_what_the_record_withholds_cannot_be_asked_for_otherwise(
    machine: Machine, published: Published, hub: HubStandin
) -> None:
    refused = machine.run("push", "medical@2", "--withhold", "adapter/*")
    assert refused.code == 2
    assert "`--withhold` means `adapter/" in refused.err
    registry = machine.registry
    files = machine.home / "again"
    for path, data in release_files(registry, published.digest).items():
        (files / path).parent.mkdir(parents=True, exist_ok=True)
        (files / path).write_bytes(data)
    stated = registry.release(published.digest).to_draft(withhold=("report.json",))
    registry.publish(files, stated, who="tester")
    refused = machine.run("push", "medical@3", "--include", "report.json")
    assert refused.code == 2
    assert "`report.json` is withheld by the release's own record" in refused.err
    assert hub.repositories == {}
    pushed = machine.ok("push", "medical@3", "--json").json
    # What is stated comes to what is private anyway.
    assert (pushed["withheld"], pushed["tells"]) == (["predictions.jsonl", "report.json"], [])


def test_erased_files_are_not_pushed_and_where_they_were_pushed_is_said(
    machine: Machine, published: Published, hub: HubStandin, new_machine: NewMachine
) -> None:
    commit = machine.ok("push", "medical@2", "--include", "*.jsonl", "--json").json["commit"]
    erased = machine.ok(
        "erase", "medical@2", "predictions.jsonl", "--why", "Jane Roe withdrew", "--yes"
    )
    assert f"still at {REPOSITORY}@{commit}" in erased.err
    machine.ok("verify", "--all")
    machine.ok("push", "medical@2", "--to", "org/second", "--include", "*.jsonl")
    tree = hub.repositories["org/second"].head.tree
    statement = tree["adapterworks/absent.json"].data
    assert json.loads(statement)["files"]["predictions.jsonl"]["state"] == "erased"
    assert b"Jane" not in statement  # the reason may tell of a person
    # What was said to be erased there is only withheld here: a stranger erases nothing of ours.
    other = new_machine("theirs")
    digest = other.ok("pull", "org/second@v2", "--json").json["digest"]
    absence = other.registry.absences(digest)["predictions.jsonl"]
    assert absence.state == "withheld"
    assert absence.why.startswith("said to be erased on 2")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (b"{}", "has no table `files`"),
        (b'{"files": {"adapter/adapter_model.safetensors": {}}}', "which cannot be"),
        (b'{"files": {"no-such-file": {}}}', "which cannot be"),
    ],
)
def test_a_repository_that_claims_to_lack_what_it_may_not_is_refused(
    machine: Machine,
    published: Published,
    hub: HubStandin,
    new_machine: NewMachine,
    statement: bytes,
    words: str,
) -> None:
    machine.ok("push", "medical@2")
    hub.push_by_hand(REPOSITORY, {"adapterworks/absent.json": statement})
    result = new_machine("theirs").run("pull", f"{REPOSITORY}@main")
    assert result.code == 5, result.err
    assert words in result.err


def test_the_card_has_the_hubs_metadata(
    machine: Machine, published: Published, hub: HubStandin
) -> None:
    machine.ok("push", "medical@2")
    card = hub.repositories[REPOSITORY].head.tree["README.md"].data.decode()
    _, front, body = card.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["base_model"] == "org/tiny"
    assert metadata["library_name"] == "peft"
    assert metadata["pipeline_tag"] == "text-generation"
    assert metadata["license"] == "apache-2.0"
    assert metadata["datasets"] == ["org/icd"]
    (index,) = metadata["model-index"]
    values = {m["type"]: m["value"] for r in index["results"] for m in r["metrics"]}
    assert values == {"exact_match": 0.5, "rouge_l": 0.75}
    assert "![loss](plots/loss.png)" in body
    assert f'PeftModel.from_pretrained(base, "{REPOSITORY}")' in body


def test_pushing_again_commits_nothing_and_the_commit_is_in_the_log(
    machine: Machine, published: Published, hub: HubStandin
) -> None:
    first = machine.ok("push", "medical@2", "--json").json
    history = hub.repositories[REPOSITORY].history()
    hub.requests.clear()
    again = machine.ok("push", "medical@2", "--json").json
    assert again["created"] is False
    assert again["commit"] == first["commit"]
    assert hub.repositories[REPOSITORY].history() == history
    assert [path for method, path in hub.requests if method in ("POST", "PUT")] == []
    events = [event for event in machine.registry.log.events("medical") if event.kind == "push"]
    assert [(e.version, e.data["commit"], e.data["tag"]) for e in events] == [
        (2, first["commit"], "v2")
    ]


def test_a_killed_push_is_finished_without_a_second_commit(
    machine: Machine, published: Published, hub: HubStandin
) -> None:
    """Killed after the commit, before the tag: the next push only tags."""
    hub.failures.append(Failure("/tag/", 500, times=1))
    assert machine.run("push", "medical@2").code == 7
    history = hub.repositories[REPOSITORY].history()
    assert hub.repositories[REPOSITORY].tags == {}
    again = machine.ok("push", "medical@2", "--json").json
    assert hub.repositories[REPOSITORY].history() == history
    assert hub.repositories[REPOSITORY].tags == {"v2": again["commit"]}


def test_a_moved_branch_is_a_conflict_until_it_is_named(
    machine: Machine, published: Published, hub: HubStandin
) -> None:
    machine.ok("push", "medical@1", "--to", REPOSITORY)  # private, unless it is asked for
    assert hub.repositories[REPOSITORY].private
    moved = hub.push_by_hand(REPOSITORY, {"README.md": b"edited on the web\n"})
    refused = machine.run("push", "medical@2")
    assert refused.code == 4
    assert f"`{REPOSITORY}` has moved: `main` is at {moved[:12]}" in refused.err
    assert f"--expect {moved}" in refused.err
    assert hub.repositories[REPOSITORY].main == moved
    assert machine.run("push", "medical@2", "--expect", "0" * 40).code == 4
    machine.ok("push", "medical@2", "--expect", moved)
    assert hub.repositories[REPOSITORY].head.parent == moved
    assert set(hub.repositories[REPOSITORY].tags) == {"v1", "v2"}


def test_a_branch_that_moves_during_the_push_is_a_conflict(
    machine: Machine, published: Published, hub: HubStandin
) -> None:
    """The parent named in the commit decides, not the look before it."""
    hub.before_commit = lambda: hub.push_by_hand(REPOSITORY, {"theirs.txt": b"first"})
    refused = machine.run("push", "medical@2")
    assert refused.code == 4
    assert "has moved" in refused.err
    assert set(hub.repositories[REPOSITORY].head.tree) == {".gitattributes", "theirs.txt"}


def test_an_unknown_repository_is_never_written_over(
    machine: Machine, published: Published, hub: HubStandin
) -> None:
    hub.create("org/theirs", {"model.safetensors": b"somebody's work"}, private=True)
    refused = machine.run("push", "medical@2", "--to", "org/theirs")
    assert refused.code == 4
    assert "was not filled from here" in refused.err
    hub.create("org/public", {"README.md": b"hello"})
    refused = machine.run("push", "medical@2", "--to", "org/public")
    assert refused.code == 6
    assert "is public" in refused.err
    machine.ok("push", "medical@2", "--to", "org/open", "--public")
    assert not hub.repositories["org/open"].private


def test_a_tag_for_something_else_is_a_conflict(
    machine: Machine, published: Published, hub: HubStandin
) -> None:
    machine.ok("push", "medical@1", "--to", REPOSITORY)
    repository = hub.repositories[REPOSITORY]
    repository.tags["v2"] = repository.main
    refused = machine.run("push", "medical@2", "--to", REPOSITORY)
    assert refused.code == 4
    assert "has a tag `v2` for something else" in refused.err


def test_the_next_version_leaves_no_file_of_the_last(
    machine: Machine, published: Published, hub: HubStandin, new_machine: NewMachine
) -> None:
    machine.ok("push", "medical@2", "--to", REPOSITORY)
    machine.ok("push", "medical@1", "--to", REPOSITORY)  # without plots and report
    repository = hub.repositories[REPOSITORY]
    assert "plots/loss.png" not in repository.head.tree
    assert ".gitattributes" in repository.head.tree
    other = new_machine("theirs")
    older = other.ok("pull", f"{REPOSITORY}@v2", "--json").json
    newer = other.ok("pull", f"hub:{REPOSITORY}@main", "--json").json
    assert older["digest"] == published.digest
    assert newer["digest"] == machine.registry.resolve("medical@1").digest


def test_wrong_tokens_and_outages_are_explained(
    machine: Machine, published: Published, hub: HubStandin, new_machine: NewMachine
) -> None:
    machine.ok("push", "medical@2")
    cases = [
        (Machine(machine.home, hub, "hf_unknown"), 6, "the Hub refuses this token (401"),
        (Machine(machine.home, hub, READER), 6, "the Hub refuses this token (403"),
        (Machine(machine.home, hub, None), 6, "the Hub refuses this token (401"),
    ]
    for other, code, words in cases:
        result = other.run("push", "medical@1", "--to", REPOSITORY)
        assert (result.code, words in result.err) == (code, True), result.err
        assert "hint:" in result.err
    offline = Machine(machine.home, hub, extra={"HF_HUB_OFFLINE": "1"})
    result = offline.run("push", "medical@1", "--to", REPOSITORY)
    assert result.code == 7
    assert "HF_HUB_OFFLINE is set" in result.err
    nowhere = Machine(machine.home, None, extra={"HF_ENDPOINT": "http://127.0.0.1:9"})
    result = nowhere.run("pull", f"{REPOSITORY}@v2")
    assert result.code == 7
    assert "http://127.0.0.1:9 cannot be reached" in result.err
    hub.failures.append(Failure("/api/models/", 503, times=99))
    result = machine.run("pull", f"{REPOSITORY}@v2")
    assert result.code == 7
    assert "the Hub answers 503" in result.err
    assert len(hub.repositories[REPOSITORY].history()) == 2


def test_a_read_that_fails_for_a_moment_is_tried_again(
    machine: Machine, published: Published, hub: HubStandin, new_machine: NewMachine
) -> None:
    machine.ok("push", "medical@2")
    hub.failures.append(Failure("/revision/", 503, times=2))
    assert new_machine("theirs").ok("pull", f"{REPOSITORY}@v2", "--json").json["created"]


def test_lorax_479_a_cached_private_adapter_cannot_be_used_without_a_token(
    machine: Machine, published: Published, hub: HubStandin
) -> None:
    commit = machine.ok("push", "medical@2", "--json").json["commit"]
    # Somebody with a token on the same machine leaves the whole repository in the shared cache.
    primed = machine.python(
        "-c",
        "from huggingface_hub import snapshot_download; "
        f"print(snapshot_download({REPOSITORY!r}, revision={commit!r}))",
    )
    assert primed.code == 0, primed.err
    assert (Path(primed.out.strip()) / "adapter_model.safetensors").exists()
    pull = ("pull", f"{REPOSITORY}@{commit}")
    take = ("import", f"hub:{REPOSITORY}@{commit}", "--as", "stolen", "--base", "unused")
    for token, arguments in ((None, pull), (None, take), (STRANGER, pull)):
        result = Machine(machine.home, hub, token).run(*arguments)
        assert result.code == 3, result.err
        assert "does not exist or may not be seen with this token" in result.err
    assert [row.name for row in machine.registry.names()] == ["medical"]


def test_what_was_tampered_with_on_the_hub_is_not_pulled(
    machine: Machine, published: Published, hub: HubStandin, new_machine: NewMachine
) -> None:
    machine.ok("push", "medical@2")
    data = bytearray(hub.repositories[REPOSITORY].head.tree["adapter_model.safetensors"].data)
    data[-1] ^= 1
    hub.push_by_hand(REPOSITORY, {"adapter_model.safetensors": bytes(data)})
    other = new_machine("theirs")
    result = other.run("pull", f"{REPOSITORY}@main")
    assert result.code == 5
    assert "`adapter/adapter_model.safetensors`" in result.err
    assert "is not what its record says" in result.err
    assert other.registry.names() == []
    assert other.ok("pull", f"{REPOSITORY}@v2", "--json").json["digest"] == published.digest


def test_a_consistent_but_hostile_release_is_not_pulled(
    machine: Machine, published: Published, hub: HubStandin, new_machine: NewMachine
) -> None:
    """A record proves that bytes belong together, not that they are harmless."""
    machine.ok("push", "medical@2")
    repository = hub.repositories[REPOSITORY]
    record = json.loads(repository.head.tree["adapterworks/release.json"].data)
    payload = b"import os\n"
    record["files"]["adapter/modeling.py"] = {
        "digest": digest_bytes(payload),
        "size": len(payload),
        "role": "adapter",
    }
    files = {"modeling.py": payload, "adapterworks/release.json": canonical_json(record)}
    hub.push_by_hand(REPOSITORY, files)
    result = new_machine("theirs").run("pull", f"{REPOSITORY}@main")
    assert result.code == 6, result.err
    assert "`modeling.py` is refused: an adapter does not come with code" in result.err

    del record["files"]["adapter/modeling.py"]
    config = json.loads(repository.head.tree["adapter_config.json"].data)
    config["auto_mapping"] = {"base_model_class": "Popen", "parent_library": "subprocess"}
    named = json.dumps(config).encode()
    for role in ("adapter", "servable"):
        record["files"][f"{role}/adapter_config.json"] = {
            "digest": digest_bytes(named),
            "size": len(named),
            "role": role,
        }
    files = {"adapter_config.json": named, "adapterworks/release.json": canonical_json(record)}
    hub.push_by_hand(REPOSITORY, files)
    result = new_machine("second").run("pull", f"{REPOSITORY}@main")
    assert result.code == 6, result.err
    assert "`auto_mapping` must not be set" in result.err

    record["files"]["../../escaped"] = {
        "digest": digest_bytes(payload),
        "size": len(payload),
        "role": "other",
    }
    hub.push_by_hand(REPOSITORY, {"adapterworks/release.json": canonical_json(record)})
    result = new_machine("third").run("pull", f"{REPOSITORY}@main")
    assert result.code == 2, result.err
    assert "'../../escaped' is not a path inside a release" in result.err
