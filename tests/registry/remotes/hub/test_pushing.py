"""What a push does and refuses, against a Hub in memory: one commit, one tag, one line logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from adapterworks.manifests.errors import Conflict, Refused
from adapterworks.registry.lifecycle.signing import key_id
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Published
from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.hub.push import Pushed, push, pushes
from adapterworks.registry.remotes.hub.signatures import fetch_late
from tests.registry.keys import make_key
from tests.registry.releases import draft, folder
from tests.registry.remotes.hub.memory import REPOSITORY, MemoryHub

RECORD = "adapterworks/release.json"
ABSENT = "adapterworks/absent.json"


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
def published(local_registry: Registry, tmp_path: Path) -> Published:
    """`medical@1`, with predictions."""
    return publish(local_registry, tmp_path)


def publish(registry: Registry, path: Path, number: int = 1, **fields: Any) -> Published:
    files = folder(path / f"with-rows-{number}", number)
    (files / "predictions.jsonl").write_bytes(b"{}\n" * number)
    (files / "fingerprint.json").write_bytes(b"{}")
    return registry.publish(files, draft(number, **fields), who="tester")


def pushed(registry: Registry, hub: MemoryHub, version: int = 1, **options: Any) -> Pushed:
    resolved = registry.resolve(f"medical@{version}")
    return push(
        registry,
        cast(Hub, hub),
        resolved,
        options.pop("repository", REPOSITORY),
        who="ann",
        scratch=registry.home / "tmp",
        **options,
    )


def test_a_release_is_one_commit_a_tag_and_a_line_in_the_log(
    local_registry: Registry, published: Published, hub: MemoryHub
) -> None:
    done = pushed(local_registry, hub)
    assert hub.done == ["create", "commit", "tag"]
    repository = hub.repositories[REPOSITORY]
    assert repository.private
    assert repository.tags == {"v1": repository.main}
    assert repository.head.message == "medical@1"
    assert done == Pushed(
        name="medical",
        version=1,
        digest=published.digest,
        repository=REPOSITORY,
        commit=repository.main,
        tag="v1",
        url=f"https://hub.test/{REPOSITORY}/tree/{repository.main}",
        created=True,
        withheld=("predictions.jsonl",),
    )
    files = hub.files()
    assert files.keys() == {
        ".gitattributes", "README.md", "adapter.lock", "adapter_config.json",
        "adapter_model.safetensors", "adapterworks/README.md", "fingerprint.json", RECORD, ABSENT,
    }  # fmt: skip
    assert files["adapter_model.safetensors"] == b"weights 1" * 50
    assert files["adapterworks/README.md"] == b"# medical\n"
    assert files["README.md"].startswith(b"---\nlibrary_name: peft\nlicense: other\n")
    assert b"\n# medical\n" in files["README.md"]
    assert files[RECORD] == local_registry.release(published.digest).to_bytes()
    assert json.loads(files[ABSENT])["files"].keys() == {"predictions.jsonl"}
    (event,) = pushes(local_registry, "medical")
    assert (event.version, event.who, event.data["digest"]) == (1, "ann", published.digest)
    assert event.data["withheld"] == ["predictions.jsonl"]
    assert event.data["commit"] == repository.main


def test_again_does_nothing_and_notes_nothing(
    local_registry: Registry, published: Published, hub: MemoryHub
) -> None:
    first = pushed(local_registry, hub)
    hub.done.clear()
    again = pushed(local_registry, hub)
    assert hub.done == []
    assert (again.created, again.commit) == (False, first.commit)
    assert len(pushes(local_registry, "medical")) == 1


def test_lines_of_the_log_that_say_something_else_are_passed_over(
    local_registry: Registry, published: Published, hub: MemoryHub, tmp_path: Path
) -> None:
    """They stay for ever, and the next version is to be pushed all the same."""
    first = pushed(local_registry, hub)
    local_registry.log.note("medical", 1, "push", who="eve")
    local_registry.log.note("medical", 1, "push", who="eve", repository=[5], commit={})
    publish(local_registry, tmp_path, 2)
    again = pushed(local_registry, hub, 2)
    assert again.created
    assert again.commit != first.commit


def test_signatures_made_after_a_push_go_with_the_next_one(
    local_registry: Registry, published: Published, hub: MemoryHub, tmp_path: Path
) -> None:
    """The release's commit and tag stay; whoever pulls it finds them on `main`."""
    first = pushed(local_registry, hub)
    keys = [make_key(tmp_path, name) for name in ("one", "two")]
    for private, _ in keys:
        local_registry.signatures.sign(published.digest, private, who="ann")
        hub.done.clear()
        again = pushed(local_registry, hub)
        assert hub.done == ["commit"]
        assert (again.created, again.commit) == (False, first.commit)
        pushed(local_registry, hub)
        assert hub.done == ["commit"]  # nothing is new
    repository = hub.repositories[REPOSITORY]
    assert repository.tags == {"v1": first.commit}
    publish(local_registry, tmp_path, 2)
    pushed(local_registry, hub, 2)  # takes nothing of theirs away, and `main` is known to be ours
    with Registry.open(
        database=f"sqlite:///{tmp_path / 'theirs.db'}",
        blobs=str(tmp_path / "their-blobs"),
        home=tmp_path / "theirs",
    ) as theirs:
        folder = published.digest.removeprefix("sha256:")
        state = hub.state(HubSource(REPOSITORY))
        found = fetch_late(cast(Hub, hub), state, published.digest, theirs.home)
        assert len(found) == 2
        assert sorted(p for p in hub.files() if f"/signatures/{folder}/" in p) == sorted(
            f"adapterworks/signatures/{folder}/{key.removeprefix('sha256:')}.json" for key in found
        )
        assert fetch_late(cast(Hub, hub), state, f"sha256:{'0' * 64}", theirs.home) == {}
    for private, public in keys:
        assert local_registry.signatures.require(published.digest, [public]) == key_id(public)
        assert key_id(public) in found
        assert private.exists()


def test_newer_signatures_stay_where_main_is_somebody_elses(
    local_registry: Registry, published: Published, hub: MemoryHub, tmp_path: Path
) -> None:
    pushed(local_registry, hub)
    hub.fill({"README.md": b"by hand"})
    private, _ = make_key(tmp_path, "one")
    local_registry.signatures.sign(published.digest, private, who="ann")
    hub.done.clear()
    said: list[str] = []
    pushed(local_registry, hub, say=said.append)
    assert hub.done == []
    assert "stayed here" in said[-1]


def test_what_a_killed_push_left_undone_is_done(
    local_registry: Registry, published: Published, hub: MemoryHub
) -> None:
    first = pushed(local_registry, hub)
    del hub.repositories[REPOSITORY].tags["v1"]
    hub.done.clear()
    again = pushed(local_registry, hub)
    assert hub.done == ["tag"]
    assert (again.created, again.commit) == (False, first.commit)


def test_a_second_version_takes_away_what_it_has_not(
    local_registry: Registry, published: Published, hub: MemoryHub, tmp_path: Path
) -> None:
    first = pushed(local_registry, hub, include=("predictions.jsonl",))
    assert "predictions.jsonl" in hub.files()
    publish(local_registry, tmp_path, 2)
    second = pushed(local_registry, hub, 2)
    assert "predictions.jsonl" not in hub.files()
    assert ".gitattributes" in hub.files()
    repository = hub.repositories[REPOSITORY]
    assert repository.tags == {"v1": first.commit, "v2": second.commit}
    assert repository.head.parent == first.commit
    assert [event.version for event in pushes(local_registry, "medical")] == [2, 1]
    # The first is still where its tag is, whatever the branch is at.
    hub.done.clear()
    assert pushed(local_registry, hub, 1).commit == first.commit
    assert hub.done == []


def test_nothing_is_left_out_without_a_statement(
    local_registry: Registry, published: Published, hub: MemoryHub
) -> None:
    done = pushed(local_registry, hub, include=("*",))
    assert done.withheld == ()
    assert done.tells[0] == "predictions.jsonl"
    assert ABSENT not in hub.files()


def test_what_an_earlier_push_took_there_is_said(
    local_registry: Registry, published: Published, hub: MemoryHub
) -> None:
    pushed(local_registry, hub, include=("*",))
    again = pushed(local_registry, hub)
    assert (again.withheld, again.exposed) == ((), ("predictions.jsonl",))


def test_a_card_that_is_withheld_is_not_in_the_hubs_card(
    local_registry: Registry, published: Published, hub: MemoryHub
) -> None:
    pushed(local_registry, hub, withhold=("README.md",))
    assert b"\n# medical\n\nICD-10-CM" in hub.files()["README.md"]  # the description instead
    assert "adapterworks/README.md" not in hub.files()


def test_a_private_push_refuses_a_public_repository(
    local_registry: Registry, published: Published, hub: MemoryHub
) -> None:
    hub.fill({".gitattributes": b""}, private=False)
    with pytest.raises(Refused, match="is public, a private push was asked for"):
        pushed(local_registry, hub)
    assert hub.done == []
    assert pushed(local_registry, hub, private=False).created
    pushed(local_registry, hub, repository="org/open", private=False)
    assert hub.repositories["org/open"].private is False


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        ({}, True),
        ({".gitattributes": b"", "README.md": b""}, True),
        ({".gitattributes": b"", "model.safetensors": b"theirs"}, False),
    ],
)
def test_only_an_empty_repository_is_taken(
    local_registry: Registry,
    published: Published,
    hub: MemoryHub,
    files: dict[str, bytes],
    taken: bool,
) -> None:
    hub.fill(files)
    if taken:
        assert pushed(local_registry, hub).created
    else:
        with pytest.raises(Conflict, match="it was not filled from here"):
            pushed(local_registry, hub)
        assert hub.files() == files


def test_a_branch_that_moved_since_is_a_conflict_until_it_is_named(
    local_registry: Registry, published: Published, hub: MemoryHub, tmp_path: Path
) -> None:
    first = pushed(local_registry, hub)
    moved = hub.fill({"theirs": b""}).commit
    publish(local_registry, tmp_path, 2)
    with pytest.raises(Conflict, match=f"our last push left it at {first.commit[:12]}") as caught:
        pushed(local_registry, hub, 2)
    assert f"`--expect {moved}`" in (caught.value.hint or "")
    with pytest.raises(Conflict, match="000000000000 was expected"):
        pushed(local_registry, hub, 2, expect="0" * 40)
    assert pushed(local_registry, hub, 2, expect=moved).created


def test_an_expectation_counts_also_where_our_last_push_is_at_the_head(
    local_registry: Registry, published: Published, hub: MemoryHub, tmp_path: Path
) -> None:
    pushed(local_registry, hub)
    publish(local_registry, tmp_path, 2)
    with pytest.raises(Conflict, match="000000000000 was expected"):
        pushed(local_registry, hub, 2, expect="0" * 40)


def test_an_empty_repository_that_is_not_as_expected_is_a_conflict(
    local_registry: Registry, published: Published, hub: MemoryHub
) -> None:
    hub.fill({})
    with pytest.raises(Conflict, match="was expected"):
        pushed(local_registry, hub, expect="0" * 40)


def test_a_tag_for_something_else_is_a_conflict(
    local_registry: Registry, published: Published, hub: MemoryHub
) -> None:
    for files in ({}, {RECORD: b"{}"}):
        hub.repositories.clear()
        hub.done.clear()
        state = hub.fill(files)
        hub.repositories[REPOSITORY].tags["v1"] = state.commit
        with pytest.raises(Conflict, match="has a tag `v1` for something else"):
            pushed(local_registry, hub)
        assert hub.done == []


def test_what_the_record_tells_of_the_machine_is_said(
    local_registry: Registry, hub: MemoryHub, tmp_path: Path
) -> None:
    """Pushed by a program of before: it is there, whoever asks now."""
    path = "/home/ann/" + "x" * 90
    manifest = {"data": {"train": ["rows.jsonl", 7, {"from": path}]}}
    publish(local_registry, tmp_path, manifest=manifest)
    pushed(local_registry, hub, include=(RECORD,))
    done = pushed(local_registry, hub)
    assert done.created is False
    assert done.tells[-1] == f"{RECORD} (of the machine it was built on, as {path[:80]!r})"
