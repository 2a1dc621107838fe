"""What 0c1a7fc left goes on under today's code: homes, PostgreSQL, the Hub; or it says why not."""

from __future__ import annotations

import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hub_standin import HubStandin
from tests.small_base import SmallBases
from tests.upgrade.old_home import (
    BASE,
    FACTS,
    FIXTURE,
    PUBLIC_KEY,
    Home,
    ask,
    differences,
    pushed_commit,
    wait_until,
)
from tests.warm.python import COMMAND, warm_python

DIGESTS = FACTS["digests"]
PROMPT = FACTS["prompts"][0]
# A greedy answer is asked for again only where no other machine's sums can change it.
SURE = 0.1


def test_every_command_says_what_it_said(old: Home) -> None:
    said = old.facts["said"]
    assert old.run("list").returncode == 0
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda line: old.json(*shlex.split(line)), said)
        for (line, then), now in zip(said.items(), answers, strict=True):
            assert differences(then, now) == [], line


def test_everything_is_verified_with_its_signatures(old: Home) -> None:
    now = old.json("verify", "--all", "--key", PUBLIC_KEY)
    assert differences(FACTS["verify"], now) == []
    assert now["report"]["releases"] == len(DIGESTS)


def test_a_byte_that_changed_is_found_and_repaired_from_the_hub(
    sqlite: Home, hub: HubStandin
) -> None:
    files = sqlite.json("show", "notes@1")["release"]["files"]
    digest = files["adapter/adapter_model.safetensors"]["digest"].removeprefix("sha256:")
    blob = sqlite.folder / "blobs" / "sha256" / digest[:2] / digest[2:]
    blob.chmod(0o644)
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert sqlite.run("verify", "notes@1").returncode == 5
    sqlite.use(hub)
    sqlite.ok("verify", "notes@1", "--repair", "hub:org/notes@v1")
    assert sqlite.json("verify", "--all", "--key", PUBLIC_KEY)["clean"]


def test_aliases_move_on_and_back_to_what_they_were(old: Home) -> None:
    assert old.holder("tickets", "prod") == [(1, 100)]
    old.ok("promote", "tickets@2", "prod", "--expect", "tickets@1", "--weight", "25")
    assert sorted(old.holder("tickets", "prod")) == [(1, 75), (2, 25)]
    old.ok("rollback", "tickets:prod")
    old.ok("promote", "tickets:staging", "prod", "--expect", "tickets@1", "--why", "once more")
    assert old.holder("tickets", "prod") == [(2, 100)]
    old.ok("rollback", "tickets:prod")
    assert old.holder("tickets", "prod") == [(1, 100)]
    log = old.json("log", "tickets:prod")
    then = old.facts["said"]["log tickets:prod"]
    assert len(log) == len(then) + 4
    assert differences(then, log[4:]) == []
    assert old.json("verify", "--all")["clean"]


def test_further_versions_are_published_and_the_old_ones_collected(
    old: Home, hub: HubStandin
) -> None:
    old.use(hub)
    again = old.json("pull", "org/tickets@v1")
    assert (again["created"], again["version"], again["digest"]) == (False, 1, DIGESTS["tickets@1"])
    # A number is never used again: tickets@3 is a tombstone.
    other = old.json("pull", "org/notes@v1", "--as", "tickets", "--alias", "staging")
    assert (other["created"], other["version"]) == (True, 4)
    assert old.holder("tickets", "staging") == [(4, 100)]
    gone = old.run("show", "tickets@3")
    assert gone.returncode == 3
    assert "another adapter by mistake" in gone.stderr
    old.ok("delete", "tickets@2", "--why", "replaced", "--yes")
    assert old.json("gc", "--grace", "0", "--yes")["report"]["blobs"]
    report = old.json("verify", "--all")
    assert (report["clean"], report["report"]["releases"]) == (True, 3)


def test_the_hub_folder_is_pulled_as_the_same_release(tmp_path: Path, hub: HubStandin) -> None:
    empty = Home(tmp_path / "empty")
    empty.use(hub)
    for id, facts in FACTS["hub"].items():
        pulled = empty.json("pull", f"{id}@{facts['tag']}")
        assert (pulled["name"], pulled["version"]) == (facts["name"], 1)
        assert pulled["digest"] == facts["digest"]
    assert empty.json("verify", "--all")["clean"]


def test_pushing_again_commits_nothing(sqlite: Home, hub: HubStandin) -> None:
    """But once what an earlier version did not send: signatures that were made after a push."""
    sqlite.use(hub)
    for id, facts in FACTS["hub"].items():
        for push in range(2):
            before = hub.repositories[id].main
            pushed = sqlite.json("push", f"{facts['name']}@1")
            assert pushed["repository"] == id
            assert (pushed["created"], pushed["commit"]) == (False, pushed_commit(facts["name"]))
            if push:
                assert hub.repositories[id].main == before


@pytest.mark.usefixtures("nf4_base")
def test_tenants_come_in_with_their_keys_and_others_do_not(old: Home, standin_engine: Path) -> None:
    keys = old.facts["keys"]
    before = old.answered(tenant="acme"), old.answered(tenant="readers")
    left = len(old.facts["spooled"])
    with old.gateway("--config", standin_engine) as client:
        for key in (keys["acme"], keys["acme-second"], keys["readers"]):
            answer = ask(client, key, "notes:prod", PROMPT)
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-adapter-digest"] == DIGESTS["notes@1"]
        assert ask(client, keys["acme"], "tickets", PROMPT).status_code == 200
        assert ask(client, keys["readers"], "tickets", PROMPT).status_code == 404
        for key in (None, keys["revoked"], keys["removed"], keys["acme"][:-1] + "?"):
            assert ask(client, key, "notes", PROMPT).status_code == 401
        wait_until(lambda: old.answered(tenant="acme") == before[0] + 3)
        # What a killed gateway had on disk and not in the index is counted now.
        wait_until(lambda: old.answered(tenant="readers") == before[1] + left + 1)


@pytest.mark.engine
@pytest.mark.usefixtures("nf4_base")
def test_old_releases_are_proved_and_served(sqlite: Home) -> None:
    keys, spooled = sqlite.facts["keys"], sqlite.facts["spooled"]
    before = {digest: sqlite.answered(tenant="acme", release=digest) for digest in DIGESTS.values()}
    readers = sqlite.answered(tenant="readers")
    with sqlite.gateway(kind="engine") as client:
        for then in FACTS["answers"]:
            answer = ask(client, keys["acme"], then["model"], then["prompt"], then["max_tokens"])
            assert answer.status_code == 200, answer.text
            assert answer.headers.get("x-adapter-digest") == then["digest"]
            assert answer.headers["x-base-digest"] == then["base_digest"]
            usage = answer.json()["usage"]
            assert usage["prompt_tokens"] == then["prompt_tokens"]
            if then["margin"] > SURE:
                assert answer.json()["choices"][0]["message"]["content"] == then["content"]
        ((engine,),) = (gateway["engines"] for gateway in sqlite.json("ps"))
        held = {adapter["digest"]: adapter for adapter in engine["adapters"]}
        assert held.keys() == set(DIGESTS.values())
        for adapter in held.values():
            assert adapter["state"] == "resident"
            assert adapter["proof"]["state"] == "proved", adapter
        for key in (None, keys["revoked"], keys["removed"]):
            assert ask(client, key, "tickets", PROMPT).status_code == 401
        for digest, requests in before.items():
            asked = sum(then["digest"] == digest for then in FACTS["answers"])
            wait_until(
                lambda digest=digest, count=requests + asked: (
                    sqlite.answered(tenant="acme", release=digest) == count
                )
            )
        wait_until(lambda: sqlite.answered(tenant="readers") == readers + len(spooled))


@pytest.mark.slow
@pytest.mark.train
def test_a_half_done_build_that_cannot_go_on_says_so(sqlite: Home) -> None:
    """What was begun is told by the adapter's name, so that two layers do for what is built now."""
    bases = SmallBases()
    bases.ensure(BASE, quantization="nf4")
    sqlite.extra["ADAPTERS_BASES"] = str(bases.root)
    half_done, manifest = FACTS["half_done"], FIXTURE / "project" / "drafts.toml"
    folder = sqlite.folder / "builds" / half_done["folder"]
    note = (
        f"the half-done build in `{folder}` was begun by another version of adapterworks and "
        "cannot go on"
    )

    def build(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [warm_python(), "-c", COMMAND, "build", manifest, *more],
            env=sqlite.environment,
            cwd=sqlite.folder.parent,
            capture_output=True,
            text=True,
        )

    refused = build("--resume")
    assert refused.returncode == 3
    assert note in refused.stderr
    built = build()
    assert built.returncode == 0, built.stderr
    assert f"note: {note}; this build starts anew" in built.stderr
    assert "resumed" not in built.stderr
    assert sqlite.json("show", "drafts:candidate")["version"] == 1
    # It is not ours to throw away.
    assert (folder / "build.json").exists()
