"""What is changed over HTTP: published, moved, tagged, signed, deleted; and the trail of it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapterworks.gateway.http.routes.registry import sending
from adapterworks.gateway.http.routes.registry.access import PREFIX
from adapterworks.gateway.http.routes.registry.bodies import Move
from adapterworks.gateway.tokens import trail
from adapterworks.gateway.tokens.roles import Role
from adapterworks.manifests.digests import digest_bytes
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.lifecycle.publish import scan
from adapterworks.registry.lifecycle.signing import sign
from adapterworks.registry.releases.deposit import Deposit
from adapterworks.registry.releases.release import Release
from tests.gateway.registry_http.conftest import Offered
from tests.registry.keys import make_key
from tests.registry.releases import draft, folder, publish


def made(place: Path, number: int = 1, **fields: Any) -> tuple[Release, dict[str, bytes]]:
    """A release as a builder elsewhere has it, and its bytes by digest."""
    found = folder(place / f"made-{number}", number)
    files = scan(found)
    release = Release.from_draft(draft(number, **fields), files)
    return release, {entry.digest: (found / path).read_bytes() for path, entry in files.items()}


def post(offered: Offered, role: Role, path: str, /, **body: Any) -> Any:
    answer = offered.ask(role).post(PREFIX + path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(offered: Offered, role: Role, path: str, /, **body: Any) -> tuple[int, str]:
    answer = offered.ask(role).post(PREFIX + path, json=body)
    return answer.status_code, answer.json()["error"]["message"]


def put(offered: Offered, digest: str, part: bytes, place: str | None = None) -> Any:
    headers = {} if place is None else {"content-range": f"bytes {place}"}
    client = offered.ask(Role.PUBLISHER)
    return client.put(f"{PREFIX}/sent/{digest}", content=part, headers=headers)


def send(offered: Offered, blobs: dict[str, bytes]) -> None:
    for digest, data in blobs.items():
        assert put(offered, digest, data).json()["whole"] is True


def test_a_release_that_was_sent_is_the_same_release(offered: Offered, tmp_path: Path) -> None:
    release, blobs = made(tmp_path)
    send(offered, blobs)
    body = {"record": release.to_bytes().decode(), "built": True, "why": "first"}
    told = post(offered, Role.PUBLISHER, "/adapters/medical/versions", **body)
    assert (told["version"], told["digest"], told["created"]) == (1, release.digest, True)
    assert offered.registry.release(release.digest).to_bytes() == release.to_bytes()
    assert offered.registry.upkeep.verify().clean
    (event,) = offered.registry.log.events("medical")
    assert (event.who, event.why) == ("publisher", "first")
    again = post(offered, Role.PUBLISHER, "/adapters/medical/versions", **body)
    assert (again["version"], again["created"]) == (1, False)


def test_nobody_publishes_bytes_that_it_has_not(offered: Offered, tmp_path: Path) -> None:
    """A digest of a tenant's rows, which are in the same store, opens nothing."""
    release, blobs = made(tmp_path)
    offered.registry.require_own_store()
    for digest, data in blobs.items():
        offered.registry.blobs.put(digest, data)  # there, but not sent by this token
    body = {"record": release.to_bytes().decode()}
    status, message = refusal(offered, Role.PUBLISHER, "/adapters/medical/versions", **body)
    assert status == 409
    assert all(digest in message for digest in blobs)
    client = offered.ask(Role.ADMIN)
    for digest, data in blobs.items():
        client.put(f"{PREFIX}/sent/{digest}", content=data)
    assert refusal(offered, Role.PUBLISHER, "/adapters/medical/versions", **body)[0] == 409
    assert post(offered, Role.ADMIN, "/adapters/medical/versions", **body)["version"] == 1
    # What a release has that everybody may fetch needs not be sent again.
    copy = release.to_draft(name="legal")
    record = Release.from_draft(copy, release.files).to_bytes().decode()
    assert post(offered, Role.PUBLISHER, "/adapters/legal/versions", record=record)["version"] == 1


def test_a_record_says_of_bytes_the_size_that_they_have(offered: Offered, tmp_path: Path) -> None:
    """Others fetch the same bytes by it: a configuration that many releases have would be cut."""
    release, blobs = made(tmp_path)
    send(offered, blobs)
    path = "servable/adapter_config.json"
    files = dict(release.files)
    files[path] = files[path].model_copy(update={"size": 1})
    wrong = Release.from_draft(release.to_draft(name="cut"), files).to_bytes().decode()
    for _ in ("by who sent them", "by who can fetch them"):
        status, message = refusal(offered, Role.PUBLISHER, "/adapters/cut/versions", record=wrong)
        assert (status, f"1 bytes of {files[path].digest}" in message) == (400, True)
        body = {"record": release.to_bytes().decode()}
        post(offered, Role.PUBLISHER, "/adapters/medical/versions", **body)
    got = offered.ask(Role.READER).get(f"{PREFIX}/blobs/{files[path].digest}")
    assert got.content == blobs[files[path].digest]


def test_sending_goes_on_where_it_was_cut_off(offered: Offered) -> None:
    data = b"0123456789" * 10
    digest = digest_bytes(data)
    assert put(offered, digest, data[:40], "0-39/100").json()["received"] == 40
    asked = offered.ask(Role.PUBLISHER).get(f"{PREFIX}/sent/{digest}").json()
    assert (asked["received"], asked["whole"]) == (40, False)
    gap = put(offered, digest, data[50:], "50-99/100")
    assert (gap.status_code, "40 of 100" in gap.json()["error"]["message"]) == (409, True)
    assert put(offered, digest, data[40:], "40-99/100").json()["whole"] is True
    assert offered.registry.blobs.exists(digest)
    again = put(offered, digest, data[:40], "0-39/100").json()
    assert (again["received"], again["whole"]) == (100, True)


def test_an_upload_that_nobody_goes_on_with_is_removed(offered: Offered) -> None:
    digest, arriving = digest_bytes(b"0123456789"), offered.registry.arriving
    arriving.mkdir()
    left, going_on = (arriving / f"{token}-{'a' * 64}" for token in ("left", "going-on"))
    mine = arriving / "thesis.txt"
    for path in (left, going_on, mine):
        path.write_bytes(b"half")
    for path in (left, mine):
        os.utime(path, (1, 1))
    put(offered, digest, b"01234", "0-4/10")
    assert (left.exists(), going_on.exists(), mine.exists()) == (False, True, True)
    assert put(offered, digest, b"56789", "5-9/10").json()["whole"] is True


def test_what_was_sent_is_kept_until_the_rest_is_here(offered: Offered, tmp_path: Path) -> None:
    """Large weights take hours, and a gc takes what is in no release after one."""
    release, blobs = made(tmp_path)
    send(offered, blobs)
    store = offered.registry.blobs
    assert isinstance(store, LocalBlobs)
    for digest in blobs:
        os.utime(store.path(digest), (1, 1))
    offered.registry.upkeep.gc(grace=600)
    assert all(map(store.exists, blobs))
    body = {"record": release.to_bytes().decode()}
    assert post(offered, Role.PUBLISHER, "/adapters/medical/versions", **body)["version"] == 1


def test_bytes_of_another_digest_are_not_kept(offered: Offered) -> None:
    digest = digest_bytes(b"right")
    assert put(offered, digest, b"wrong").status_code == 422
    assert not offered.registry.blobs.exists(digest)
    assert offered.ask(Role.PUBLISHER).get(f"{PREFIX}/sent/{digest}").json()["received"] == 0
    assert put(offered, digest, b"right").json()["whole"] is True


@pytest.mark.parametrize("place", ["0-3/4", "0-4/4", "5-9/9", "x", "0-4/99999999999999"])
def test_a_range_is_what_the_body_has(offered: Offered, place: str) -> None:
    assert put(offered, digest_bytes(b"right"), b"right", place).status_code == 400


def test_a_part_is_bounded(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PART_BYTES", 4)
    assert put(offered, digest_bytes(b"right"), b"right").status_code == 413


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "x" + text, "none"),
        (lambda text: text.replace(":", ": ", 1), "canonical"),
        (lambda text: text.replace("medical", "legal", 1), "`legal`"),
        (lambda text: text.replace('"README.md"', '"../README.md"', 1), "path"),
    ],
)
def test_a_record_is_one(offered: Offered, tmp_path: Path, change: Any, said: str) -> None:
    release, blobs = made(tmp_path, description="d")
    send(offered, blobs)
    record = change(release.to_bytes().decode())
    status, message = refusal(offered, Role.PUBLISHER, "/adapters/medical/versions", record=record)
    assert status == 400
    assert said in message
    assert offered.registry.names() == []


def test_aliases_move_by_compare_and_set(offered: Offered, tmp_path: Path) -> None:
    for number in (1, 2):
        publish(offered.registry, tmp_path, number)
    way = "/adapters/medical/aliases/prod"
    assert post(offered, Role.PROMOTER, way, version=1, expect=None)["version"] == 1
    assert refusal(offered, Role.PROMOTER, way, version=2, expect=None)[0] == 409
    moved = post(offered, Role.PROMOTER, way, version=2, expect=1, why="better")
    assert (moved["version"], moved["previous"], moved["who"]) == (2, 1, "promoter")
    assert refusal(offered, Role.PROMOTER, f"{way}/rollback", expect=1)[0] == 409
    assert post(offered, Role.PROMOTER, f"{way}/rollback", expect=2)["version"] == 1
    canary = post(offered, Role.PROMOTER, way, version=2, percent=10)
    assert (canary["version"], canary["canary"], canary["weight"]) == (1, 2, 10)
    assert post(offered, Role.PROMOTER, f"{way}/retirement", why="done")["kind"] == "retire"
    assert refusal(offered, Role.PROMOTER, way, version=3)[0] == 404


def test_what_is_learnt_of_a_version_is_noted(offered: Offered, tmp_path: Path) -> None:
    publish(offered.registry, tmp_path, 1)
    way = "/adapters/medical/versions/1"
    assert post(offered, Role.PUBLISHER, f"{way}/tags", add=["good"])["tags"][-1] == "good"
    post(offered, Role.PUBLISHER, f"{way}/deprecation", why="old")
    assert offered.registry.log.deprecation("medical", 1).why == "old"  # type: ignore[union-attr]
    post(offered, Role.PUBLISHER, f"{way}/deprecation", deprecated=False)
    assert offered.registry.log.deprecation("medical", 1) is None
    post(offered, Role.PUBLISHER, f"{way}/notes", kind="export", data={"form": "gguf"})
    assert offered.registry.log.events("medical")[0].data == {"form": "gguf"}
    assert refusal(offered, Role.PUBLISHER, f"{way}/notes", kind="proof")[0] == 400
    clash = refusal(offered, Role.PUBLISHER, f"{way}/notes", kind="push", data={"who": "x"})
    assert clash[0] == 400


def test_a_signature_is_kept_if_it_fits(offered: Offered, tmp_path: Path) -> None:
    one, two = publish(offered.registry, tmp_path, 1), publish(offered.registry, tmp_path, 2)
    private, public = make_key(tmp_path, "release")
    key, bundle = sign(offered.registry.release(one.digest).to_bytes(), private)
    body = {"public_key": public.read_text(), "bundle": bundle}
    wrong = refusal(offered, Role.PUBLISHER, f"/releases/{two.digest}/signatures", **body)
    assert wrong[0] == 422
    assert offered.registry.signatures.own(two.digest) == {}
    told = post(offered, Role.PUBLISHER, f"/releases/{one.digest}/signatures", **body)
    assert told["key"] == key
    assert offered.registry.signatures.require(one.digest, [public]) == key
    post(offered, Role.ADMIN, f"/releases/{one.digest}/revocation", why="poisoned")
    assert offered.registry.signatures.counting(one.digest) == {}


def test_deleting_is_for_administrators(offered: Offered, tmp_path: Path) -> None:
    publish(offered.registry, tmp_path, 1, alias="prod")
    way = "/adapters/medical/versions/1/deletion"
    assert refusal(offered, Role.PROMOTER, way)[0] == 403
    assert refusal(offered, Role.ADMIN, way)[0] == 409
    assert post(offered, Role.ADMIN, way, with_aliases=True, why="bad")["deleted"] is not None


def test_what_is_asked_for_is_in_the_trail_with_its_outcome(
    offered: Offered, tmp_path: Path
) -> None:
    publish(offered.registry, tmp_path, 1)
    way = "/adapters/medical/aliases/prod"
    post(offered, Role.PROMOTER, way, version=1, why="good")
    refusal(offered, Role.PROMOTER, way, version=7)
    refusal(offered, Role.PUBLISHER, way, version=1)  # not let in: nothing was asked
    rows = offered.ask(Role.ADMIN).get(f"{PREFIX}/trail").json()["data"]
    shown = [(row["who"], row["action"], row["subject"], row["status"]) for row in rows]
    assert shown[:4] == [("me", "token.create", role.word, 200) for role in Role]
    assert shown[4:] == [
        ("promoter", "promote", "adapters/medical/aliases/prod", 200),
        ("promoter", "promote", "adapters/medical/aliases/prod", 404),
    ]
    assert rows[4]["details"] == {"version": 1, "why": "good"}
    page = offered.ask(Role.ADMIN).get(f"{PREFIX}/trail", params={"limit": 4}).json()
    assert (len(page["data"]), page["has_more"]) == (4, True)


def test_nothing_is_done_that_the_trail_does_not_have(
    offered: Offered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(offered.registry, tmp_path, 1)

    def cannot(*_: object) -> int:
        raise sqlite3.OperationalError("disk is full")

    monkeypatch.setattr(trail, "begun", cannot)
    body = {"version": 1}
    client = offered.ask(Role.PROMOTER)
    assert client.post(f"{PREFIX}/adapters/medical/aliases/prod", json=body).status_code == 500
    assert offered.registry.history("medical") == []


def test_tokens_are_managed_by_administrators(offered: Offered) -> None:
    told = post(offered, Role.ADMIN, "/tokens", name="bob", role="reader", seconds=60)
    assert offered.with_key(told["token"]).get(f"{PREFIX}/me").json()["name"] == "bob"
    listed = offered.ask(Role.ADMIN).get(f"{PREFIX}/tokens").text
    assert '"bob"' in listed
    assert told["token"] not in listed
    post(offered, Role.ADMIN, "/tokens/bob/revocation")
    assert offered.with_key(told["token"]).get(f"{PREFIX}/me").status_code == 401
    actions = [entry.action for entry in trail.entries(offered.registry.database)]
    assert actions[-2:] == ["token.create", "token.revoke"]


def test_a_token_that_is_written_where_its_name_goes_is_in_no_trail(offered: Offered) -> None:
    text = offered.tokens[Role.READER]
    for shown in (text, text[:-1]):  # mistyped too
        status, message = refusal(offered, Role.ADMIN, f"/tokens/{shown}/revocation")
        assert status == 404
        assert shown not in message
    trailed = list(trail.entries(offered.registry.database))
    assert not any(text[12:-1] in entry.subject for entry in trailed)
    assert trailed[-1].subject == f"tokens/{text[:12]}…/revocation"


def test_a_note_has_no_word_of_the_logs_own(offered: Offered, tmp_path: Path) -> None:
    publish(offered.registry, tmp_path)
    way = "/adapters/medical/versions/1/notes"
    for word in ("self", "who", "connection", "version"):
        data = {"repository": "org/x", "commit": "c", word: 1}
        status, message = refusal(offered, Role.PUBLISHER, way, kind="push", data=data)
        assert (status, f"`data.{word}`" in message) == (400, True)


def test_what_a_registry_says_itself_is_not_taken(offered: Offered, tmp_path: Path) -> None:
    """A release that nobody publishes then would keep every gc from its work."""
    held = Deposit("dataset", "cases", "0" * 32, (f"sha256:{'a' * 64}",))
    for data in (held.to_bytes(), made(tmp_path)[0].to_bytes()):
        way = f"{PREFIX}/sent/{digest_bytes(data)}"
        answer = offered.ask(Role.PUBLISHER).put(way, content=data)
        assert answer.status_code == 400
        assert "say what a registry holds" in answer.json()["error"]["message"]
        assert [*offered.registry.blobs.list()] == []


def test_a_note_has_bounds(offered: Offered, tmp_path: Path) -> None:
    publish(offered.registry, tmp_path)
    way = "/adapters/medical/versions/1/notes"
    pushed = {"repository": "org/x", "commit": "c"}
    few, many = ({**pushed, "withheld": ["x" * 99] * count} for count in (2000, 3000))
    post(offered, Role.PUBLISHER, way, kind="push", data=few)
    status, message = refusal(offered, Role.PUBLISHER, way, kind="push", data=many)
    assert (status, "more than 262144 bytes" in message) == (400, True)


@pytest.mark.parametrize(
    ("kind", "data", "where"),
    [
        ("push", {}, "`data.repository` of a `push`: Field required"),
        ("push", {"repository": "org/x"}, "`data.commit` of a `push`: Field required"),
        ("push", {"repository": 5, "commit": "c"}, "`data.repository` of a `push`"),
        ("pull", {"repository": "a", "commit": "c", "withheld": 5}, "`data.withheld` of a `pull`"),
        ("pull", {"repository": "a", "commit": "c", "withheld": [5]}, "`data.withheld.0` of a"),
        ("push", {"repository": "a\nb", "commit": "c"}, "`data.repository` of a `push`"),
        ("export", {"form": 5}, "`data.form` of a `export`"),
    ],
)
def test_a_note_says_what_its_kind_does(
    offered: Offered, tmp_path: Path, kind: str, data: dict[str, Any], where: str
) -> None:
    publish(offered.registry, tmp_path)
    way = "/adapters/medical/versions/1/notes"
    status, message = refusal(offered, Role.PUBLISHER, way, kind=kind, data=data)
    assert status == 400
    assert where in message
    assert [event.kind for event in offered.registry.log.events("medical")] == ["publish"]


@pytest.mark.parametrize(
    "report",
    [
        b'{"gates": [{"passed": true, "why": NaN}]}',
        b'{"gates": [{"passed": true, "gain": 1e999}]}',
        b'{"gates": [{"why": "\\ud800"}]}',
        b'{"gates": ' + b"[" * 100_000,
        b"[]",
        b"\xff",
    ],
)
def test_a_report_that_is_no_json_hides_no_release(
    offered: Offered, tmp_path: Path, report: bytes
) -> None:
    files = folder(tmp_path / "files")
    (files / "report.json").write_bytes(report)
    offered.registry.publish(files, draft(plan=f"sha256:{'7' * 64}"), who="ann")
    answer = offered.ask(Role.READER).get(f"{PREFIX}/releases/medical@1")
    assert (answer.status_code, answer.json()["gates"]) == (200, [])


@pytest.mark.parametrize(
    "why",
    ["撤回　同意", "pour le patient\u00a0: retrait", "می\u200cخواهم", "two\r\nlines\tand more"],
)
def test_reasons_are_in_any_letters(why: str) -> None:
    """Wide and narrow blanks and joiners are letters; what steers a terminal is none."""
    body = Move.model_validate({"version": 1, "why": why})
    assert body.why == why
    for steers in ("\x1b[2J", "a\0b", "\u202egnp.exe"):
        with pytest.raises(ValidationError, match="cannot be shown"):
            Move.model_validate({"version": 1, "why": steers})
