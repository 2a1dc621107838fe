"""A protected alias moves to what its rule asks for and to nothing else, by no way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.registry.lifecycle.protection import Rule, Settings, read_settings
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Published
from tests.registry.keys import make_key
from tests.registry.owner import as_owner
from tests.registry.releases import draft, folder

Keys = dict[str, tuple[Path, Path]]
PLAN = "sha256:" + "7" * 64


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    made = tmp_path_factory.mktemp("keys")
    return {name: make_key(made, name) for name in ("ann", "bob", "eve")}


def protect(registry: Registry, **rule: Any) -> None:
    registry.protection.keep(Settings(aliases={"prod": Rule(**rule)}), who="ann", why="four eyes")


def built(
    registry: Registry, path: Path, number: int = 1, *, passed: bool | None = True, **fields: Any
) -> Published:
    """A release that was built here, with a gate unless `passed` is None."""
    files = folder(path / f"built-{number}", number)
    gates = [] if passed is None else [{"passed": passed, "why": "gain 0.01, 0.05 is asked for"}]
    (files / "report.json").write_text(json.dumps({"gates": gates}))
    item = draft(number, **{"plan": PLAN, **fields})
    return registry.publish(files, item, who="ann")


def refusal(registry: Registry, version: int = 1, **options: Any) -> str:
    with pytest.raises(Refused) as refused:
        registry.promote("medical", version, "prod", who="eve", **options)
    return refused.value.message


def test_gates_must_have_passed_in_a_build_of_this_registry(
    registry: Registry, tmp_path: Path
) -> None:
    protect(registry, gates=True)
    built(registry, tmp_path, 1)
    built(registry, tmp_path, 2, passed=False)
    built(registry, tmp_path, 3, passed=None)
    built(registry, tmp_path, 4, plan=None)
    registry.publish(folder(tmp_path / "5", 5), draft(5, plan=PLAN), who="ann")
    registry.promote("medical", 1, "prod", who="ann")
    for version, why in (
        (2, "a gate failed: gain 0.01"),
        (3, "it has no gates"),
        (4, "was not built here"),
        (5, "is not known"),
    ):
        assert why in refusal(registry, version)
        assert why in refusal(registry, version, weight=5)  # a canary is a move, too
    assert [held.version for held in registry.weights("medical", "prod")] == [1]
    registry.promote("medical", 2, "candidate", who="ann")  # nobody asks anything for others


def test_an_alias_that_was_taken_away_is_as_good_as_held(
    registry: Registry, tmp_path: Path
) -> None:
    """Taking it away is not judged, and so must not free the next from the comparison."""
    first, _ = built(registry, tmp_path, 1), built(registry, tmp_path, 2)
    registry.promote("medical", 1, "prod", who="ann")
    protect(registry, preferred=0.45, reviewers=1)
    why = "nobody has reviewed it beside `medical@1`"
    assert why in refusal(registry, 2)
    registry.retire("medical", "prod", who="eve")
    assert why in refusal(registry, 2)
    registry.promote("medical", 1, "prod", who="ann")  # back to where it was
    registry.retire("medical", "prod", who="ann")
    registry.log.note(
        "medical", 2, "review", who="ann", against=first.digest, reviewers=1, preferred=0.6,
        low=0.5, confidence=0.95, unfinished=0,
    )  # fmt: skip
    registry.promote("medical", 2, "prod", who="ann")
    assert registry.upkeep.verify().clean


def test_who_was_rolled_back_or_deleted_is_not_compared_with(
    registry: Registry, tmp_path: Path
) -> None:
    for number in range(1, 5):
        built(registry, tmp_path, number)
    for number in (1, 2, 3):
        registry.promote("medical", number, "prod", who="ann")
    registry.rollback("medical", "prod", who="ann")
    protect(registry, preferred=0.45)
    registry.retire("medical", "prod", who="eve")
    assert "beside `medical@2`" in refusal(registry, 4)
    registry.delete("medical", 2, who="ann")
    assert "beside `medical@1`" in refusal(registry, 4)
    registry.delete("medical", 1, who="ann")
    registry.promote("medical", 4, "prod", who="ann")  # nobody could compare it with any


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (b"[]", "is not known"),
        (b"{", "is not known"),
        (b"[" * 100_000, "is not known"),
        (b'{"gates": {"passed": true}}', "is not known"),
        (b'{"gates": [true]}', "is not known"),
        (b'{"gates": [{}]}', "a gate failed"),
        (b'{"gates": [{"passed": "no", "why": 7}]}', "a gate failed: 7"),
    ],
)
def test_a_report_that_is_none_passes_no_gate(
    registry: Registry, tmp_path: Path, report: bytes, why: str
) -> None:
    protect(registry, gates=True)
    files = folder(tmp_path / "built")
    (files / "report.json").write_bytes(report)
    registry.publish(files, draft(plan=PLAN), who="ann")
    assert why in refusal(registry)


def test_a_claim_of_somebody_elses_record_is_no_gate(registry: Registry, tmp_path: Path) -> None:
    """A pulled record may say what it likes of plans and gates."""
    protect(registry, gates=True)
    ours = built(registry, tmp_path)
    release = registry.release(ours.digest)
    taken = release.from_draft(release.to_draft(name="theirs"), release.files)
    registry.adopt(tmp_path / "built-1", taken, who="eve")
    with pytest.raises(Refused, match="was not built here"):
        registry.promote("theirs", 1, "prod", who="eve")


def test_a_proof_on_an_engine_is_asked_for(registry: Registry, tmp_path: Path) -> None:
    protect(registry, proof=True)
    published = built(registry, tmp_path)
    assert "no engine has reproduced its fingerprint" in refusal(registry)
    registry.log.note_proof(published.digest, "failed", engine="e1")
    assert "is `failed`" in refusal(registry)
    for _ in range(3):
        registry.log.note_proof(published.digest, "proved", engine="e1", divergence=1e-6)
    registry.promote("medical", 1, "prod", who="ann")
    kinds = [
        event.data["result"] for event in registry.log.events("medical") if event.kind == "proof"
    ]
    assert kinds == ["proved", "failed"]  # that it is proved again is no news
    registry.log.note_proof(
        "sha256:" + "0" * 64, "proved"
    )  # of a release that was deleted meanwhile


def test_signatures_of_different_keys_that_are_named(
    registry: Registry, tmp_path: Path, keys: Keys
) -> None:
    pem = tuple(keys[name][1].read_text() for name in ("ann", "bob"))
    protect(registry, signatures=2, keys=pem)
    digest = built(registry, tmp_path).digest
    for name, count in (("ann", 1), ("ann", 1), ("eve", 1)):
        registry.signatures.sign(digest, keys[name][0], who=name)
        assert f"{count} of its 2 keys signed it, 2 must" in refusal(registry)
    registry.signatures.sign(digest, keys["bob"][0], who="bob")
    registry.promote("medical", 1, "prod", who="ann")
    registry.retire("medical", "prod", who="ann")
    registry.signatures.revoke("medical@1", who="ann", why="poisoned")
    assert "0 of its 2 keys" in refusal(registry)


def test_everything_that_lacks_is_said_at_once(
    registry: Registry, tmp_path: Path, keys: Keys
) -> None:
    protect(registry, gates=True, proof=True, signatures=1, keys=(keys["ann"][1].read_text(),))
    built(registry, tmp_path, passed=False)
    said = refusal(registry)
    assert all(part in said for part in ("a gate failed", "no engine", "0 of its 1 keys"))


def test_no_publish_moves_it_and_a_build_is_told_before(registry: Registry, tmp_path: Path) -> None:
    protect(registry, proof=True)
    for alias, refused in (("prod", True), ("candidate", False), (None, False)):
        if refused:
            with pytest.raises(Refused, match="`medical:prod` is protected"):
                registry.protection.require_movable("medical", alias)
        else:
            registry.protection.require_movable("medical", alias)
    with pytest.raises(InvalidInput, match="`7` is not an alias"):  # not after the training
        registry.protection.require_movable("medical", "7")
    with pytest.raises(Refused, match="is protected: nothing moves it on the way"):
        registry.publish(folder(tmp_path / "1"), draft(), alias="prod", who="eve")
    assert registry.names() == []


def test_whose_alias_it_is(registry: Registry, tmp_path: Path) -> None:
    protect(registry, names=("icd-*",), proof=True)
    for name in ("medical", "icd-10"):
        registry.publish(folder(tmp_path / name), draft(name=name), who="ann")
    registry.promote("medical", 1, "prod", who="ann")
    with pytest.raises(Refused):
        registry.promote("icd-10", 1, "prod", who="ann")


def test_going_back_is_free_and_settings_can_be_taken_back(
    registry: Registry, tmp_path: Path
) -> None:
    for number in (1, 2):
        built(registry, tmp_path, number)
        registry.promote("medical", number, "prod", who="ann")
    protect(registry, proof=True)
    registry.rollback("medical", "prod", who="ann")
    assert registry.resolve("medical").version == 1
    refusal(registry, 2)
    assert registry.upkeep.verify().clean
    registry.protection.keep(Settings(), who="ann")
    registry.promote("medical", 2, "prod", who="ann")
    assert registry.upkeep.verify().clean


def test_a_move_beside_the_rule_is_seen_by_verify(registry: Registry, tmp_path: Path) -> None:
    """By somebody with the database's password and other code."""
    from adapterworks.registry.index import log

    built(registry, tmp_path)
    protect(registry, proof=True)

    def move(connection: Any) -> None:
        log.append(
            connection, "medical", "promote", who="eve", version=1, alias="prod",
            previous=None, canary=None, weight=None,
        )  # fmt: skip
        connection.exec_driver_sql("INSERT INTO aliases VALUES ('medical', 'prod', 1, NULL, NULL)")

    as_owner(registry, move)
    (problem,) = registry.upkeep.verify().problems
    assert problem.ref == "medical:prod"
    assert "does not say that it was judged" in problem.message


def test_settings_that_changed_meanwhile_are_asked_again(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(registry, tmp_path)
    protect(registry, gates=True)
    clear = registry.protection.clear

    def slow(*arguments: Any) -> int | None:
        found = clear(*arguments)
        protect(registry, gates=True, proof=True)
        return found

    monkeypatch.setattr(registry.protection, "clear", slow)
    assert "is protected" in refusal(registry)


def test_what_is_revoked_while_it_is_judged_is_judged_again(
    registry: Registry, tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    protect(registry, signatures=1, keys=(keys["ann"][1].read_text(),))
    registry.signatures.sign(built(registry, tmp_path).digest, keys["ann"][0], who="ann")
    clear, asked = registry.protection.clear, []

    def slow(*arguments: Any) -> int | None:
        found = clear(*arguments)
        asked.append(arguments)
        registry.signatures.revoke("medical@1", who="ann", why="poisoned")
        return found

    monkeypatch.setattr(registry.protection, "clear", slow)
    assert "0 of its 1 keys signed it" in refusal(registry)
    assert len(asked) == 1  # the second time it was refused


def test_settings_from_a_file(registry: Registry, tmp_path: Path, keys: Keys) -> None:
    for name in ("ann", "bob"):
        (tmp_path / f"{name}.pub").write_text(keys[name][1].read_text())
    file = tmp_path / "registry.toml"
    file.write_text(
        '[aliases.prod]\ngates = true\nsignatures = 2\nkeys = ["ann.pub", "bob.pub"]\n',
        encoding="utf-8-sig",
    )
    registry.protection.keep(read_settings(file), who="ann")
    rule = registry.protection.settings().aliases["prod"]
    assert (rule.names, rule.gates, rule.proof, rule.signatures) == (("*",), True, False, 2)
    assert rule.keys == tuple(keys[name][1].read_text() for name in ("ann", "bob"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("aliases = 3", "`aliases`"),
        ("[aliases.prod]\ngate = true", r"`aliases.prod.gate`"),
        ("[aliases.prod]\ngates = 1", r"`aliases.prod.gates`"),
        ('[aliases.prod]\nproof = "yes"', r"`aliases.prod.proof`"),
        ("[aliases.prod]\nsignatures = -1", r"`aliases.prod.signatures`"),
        ("[aliases.prod]\nnames = []", r"`aliases.prod.names`"),
        ("[aliases.prod]\nsignatures = 1", "asks for 1 signatures and has 0 different keys"),
        ('[aliases.prod]\nsignatures = 2\nkeys = ["a.pub", "a.pub"]', "has 1 different keys"),
        ('[aliases.prod]\nkeys = ["none.pub"]', "is not a public key"),
        ("[aliases.7]", "`7` is not an alias"),
        ("[protected.prod]", "`protected`"),
        ("[aliases", "is not TOML"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, keys: Keys, text: str, why: str) -> None:
    (tmp_path / "a.pub").write_text(keys["ann"][1].read_text())
    file = tmp_path / "registry.toml"
    file.write_text(text)
    with pytest.raises(InvalidInput) as refused:
        read_settings(file)
    assert why in refused.value.message
