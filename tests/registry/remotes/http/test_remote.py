"""A registry over HTTP answers as the one behind it, and changes it as one that is here would."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.gateway.tokens.roles import Role
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import (
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.registry.datasets import erased
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import UNSET
from adapterworks.registry.remotes.http import blobs as http_blobs
from adapterworks.registry.remotes.http import link
from adapterworks.registry.remotes.http.datasets import open_datasets
from adapterworks.registry.remotes.http.link import check_url
from adapterworks.registry.remotes.http.registry import RemoteRegistry
from tests.registry.datasets.seals import seal_of
from tests.registry.keys import make_key
from tests.registry.releases import draft, folder
from tests.registry.remotes.http.conftest import Server

READS: dict[str, Callable[[Registry], Any]] = {
    "resolve": lambda r: [r.resolve(ref) for ref in ("medical", "medical@3", "legal@1")],
    "find": lambda r: r.find(r.resolve("medical@2").digest).version,
    "release": lambda r: r.release(r.resolve("medical@1").digest).to_bytes(),
    "read": lambda r: r.read(r.resolve("medical@1").digest, "adapter.lock"),
    "read_if_here": lambda r: r.read_if_here(r.resolve("medical@1").digest, "absent"),
    "absences": lambda r: r.absences(r.resolve("medical@1").digest),
    "names": lambda r: [*r.names(), *r.names(limit=1, after="legal"), *r.names(text="dora")],
    "name": lambda r: r.name("medical"),
    "versions": lambda r: [*r.versions("medical"), *r.versions("medical", limit=1, before=3)],
    "version": lambda r: r.version("medical", 2),
    "digests": lambda r: r.digests("medical", "sha256:"),
    "find_plan": lambda r: [r.origins.find_plan("legal", f"sha256:{d * 64}") for d in "45"],
    "releases_with": lambda r: r.origins.releases_with(digest_bytes(b"# medical\n")),
    "releases_from": lambda r: r.origins.releases_from("parent", f"sha256:{'9' * 64}"),
    "find_stages": lambda r: r.origins.find_stages("train", f"sha256:{'9' * 64}"),
    "weights": lambda r: r.weights("medical", "prod"),
    "history": lambda r: r.history("medical", "prod"),
    "events": lambda r: [
        *r.log.events("medical", limit=2),
        *r.log.events("medical", alias="prod", limit=1),
        *r.log.events("medical", version=1, facts=True),
    ],
    "deprecation": lambda r: [r.log.deprecation("medical", number) for number in (1, 2)],
    "revision": lambda r: r.revision(),
    "search": lambda r: [*r.search("coding"), *r.search(method="dora"), *r.search(offset=2)],
    "diff": lambda r: r.diff("medical@1", "medical:prod"),
    "lineage": lambda r: r.origins.lineage("medical@2"),
    "settings": lambda r: r.protection.settings(),
    "signatures": lambda r: r.signatures.counting(r.resolve("medical@1").digest),
    "verify": lambda r: (r.upkeep.verify("medical@1").clean, r.upkeep.verify("medical@1").releases),
}


@pytest.mark.parametrize("what", READS)
def test_what_is_read_is_what_is_there(server: Server, what: str) -> None:
    assert READS[what](server.remote(Role.READER)) == READS[what](server.registry)


def test_a_publish_leaves_an_alias_that_somebody_moved_meanwhile(
    server: Server, tmp_path: Path
) -> None:
    remote = server.remote()
    since = remote.log.events("medical", limit=1)[0].sequence

    def finish(number: int) -> str:
        files = folder(tmp_path / f"{number}", number)
        return remote.publish(files, draft(number), alias="prod", who="builder", since=since).kept

    assert finish(21) == finish(22) == ""  # another build is nobody's decision
    last = server.registry.resolve("medical:prod").version
    server.registry.rollback("medical", "prod", who="ann", why="ill")
    assert "`medical:prod` was rolled back by ann" in finish(23)
    assert server.registry.resolve("medical:prod").version == last - 1


def test_a_publish_again_ends_a_canary_beside_its_release(server: Server, tmp_path: Path) -> None:
    remote, files = server.remote(), folder(tmp_path / "24", 24)

    def finish() -> int:
        return remote.publish(files, draft(24), alias="next", who="").version

    made = finish()
    server.registry.promote("medical", 1, "next", who="ann", weight=10)
    assert finish() == made
    assert [held.version for held in server.registry.weights("medical", "next")] == [made]


def test_a_checkout_has_the_same_files(server: Server) -> None:
    digest = server.registry.resolve("medical@2").digest
    here, there = (r.checkout(digest, "servable") for r in (server.registry, server.remote()))
    files = [path.relative_to(here) for path in here.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert all((here / path).read_bytes() == (there / path).read_bytes() for path in files)


@pytest.mark.parametrize(
    ("wrong", "what", "error"),
    [
        (Role.READER, lambda r: r.resolve("absent"), NotFound),
        (Role.READER, lambda r: r.version("medical", 99), NotFound),
        (Role.READER, lambda r: r.tag("medical", 1, add=["x"], who=""), Refused),
        (Role.PUBLISHER, lambda r: r.promote("medical", 1, "x", who=""), Refused),
        (Role.PUBLISHER, lambda r: r.protection.require_movable("medical", "x"), Refused),
        (Role.ADMIN, lambda r: r.promote("medical", 1, "x", who="", expect=2), Conflict),
        (Role.ADMIN, lambda r: r.log.deprecate("medical", 99, who="", why="w"), NotFound),
    ],
)
def test_what_the_server_refuses_is_the_same_error(
    server: Server, wrong: Role, what: Callable[[Registry], Any], error: type[Exception]
) -> None:
    before = server.registry.revision()
    with pytest.raises(error):
        what(server.remote(wrong))
    assert server.registry.revision() == before


def test_a_release_that_is_published_from_elsewhere(server: Server, tmp_path: Path) -> None:
    remote = server.remote(Role.PROMOTER)
    files = folder(tmp_path / "new", 30)
    (files / "empty").write_bytes(b"")
    made = remote.publish(files, draft(30, name="fresh"), alias="candidate", who="", why="built")
    assert (made.name, made.version, made.created) == ("fresh", 1, True)
    assert server.registry.resolve("fresh:candidate").digest == made.digest
    assert server.registry.upkeep.verify("fresh@1").clean
    again = remote.publish(files, draft(30, name="fresh"), alias="candidate", who="")
    assert (again.version, again.created) == (1, False)
    assert [move.version for move in server.registry.history("fresh")] == [1]
    assert {event.who for event in server.registry.log.events("fresh")} == {"promoter"}


def test_what_the_store_has_lost_is_sent_again(server: Server, tmp_path: Path) -> None:
    """The index still names it; the bytes are not there."""
    remote = server.remote(Role.PUBLISHER)
    files = folder(tmp_path / "lost", 40)
    made = remote.publish(files, draft(40, name="lost"), who="")
    weights = server.registry.release(made.digest).files["servable/adapter_model.safetensors"]
    server.registry.blobs.delete(weights.digest)
    assert not remote.blobs.exists(weights.digest)
    healed = remote.publish(files, draft(40, name="lost"), who="")
    assert (healed.version, healed.created) == (1, False)
    assert server.registry.upkeep.verify("lost@1").clean


def test_who_has_sent_nothing_is_told_what_the_store_has_lost(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older client asks the index alone; the release that names the file proves nothing."""
    files = folder(tmp_path / "missing", 45)
    made = server.remote(Role.PUBLISHER).publish(files, draft(45, name="missing"), who="")
    release = server.registry.release(made.digest)
    server.registry.blobs.delete(release.files["adapter.lock"].digest)
    other = server.remote(Role.PROMOTER)  # with a token that has sent nothing
    monkeypatch.setattr(other.blobs, "put", lambda digest, source: None)
    monkeypatch.setattr(other, "_bytes", other.blobs)
    with pytest.raises(Conflict, match="1 files were not sent: sha256:"):
        other.publish(files, draft(46, name="missing"), who="")
    monkeypatch.undo()
    other.publish(files, draft(46, name="missing"), who="")
    assert server.registry.upkeep.verify("missing@1").clean


def test_what_was_erased_does_not_come_back(server: Server, tmp_path: Path) -> None:
    """A build that is run again publishes the same release; nobody erases by hand again."""
    remote, here = server.remote(Role.PUBLISHER), server.registry
    files = folder(tmp_path / "gone", 50)
    (files / "predictions.jsonl").write_bytes(b"Jane Roe, born 1970")
    made = remote.publish(files, draft(50, name="gone"), who="")
    rows = here.release(made.digest).files["predictions.jsonl"].digest
    here.upkeep.erase(rows, who="dpo", why="consent withdrawn")
    again = remote.publish(files, draft(50, name="gone"), who="")
    assert (again.version, again.created) == (1, False)
    new = remote.publish(files, draft(51, name="gone"), who="")  # another release with the file
    assert new.version == 2
    assert not here.blobs.exists(rows)
    with pytest.raises(Refused, match=r"erased on .* by dpo: consent withdrawn"):
        remote.link.put(f"/sent/{rows}", b"Jane Roe, born 1970", {})
    assert not here.blobs.exists(rows)
    assert here.upkeep.verify("gone@1").clean


def test_who_may_not_move_the_alias_publishes_nothing(server: Server, tmp_path: Path) -> None:
    remote = server.remote(Role.PUBLISHER)
    with pytest.raises(Refused, match="moves no alias"):
        remote.publish(folder(tmp_path / "new", 31), draft(31, name="stale"), alias="prod", who="")
    assert "stale" not in [row.name for row in server.registry.names()]


def test_aliases_tags_and_signatures_from_elsewhere(server: Server, tmp_path: Path) -> None:
    remote = server.remote()
    assert remote.promote("legal", 1, "prod", who="", expect=None, why="w").version == 1
    with pytest.raises(Conflict):
        remote.rollback("legal", "prod", who="", expect=2)
    assert remote.retire("legal", "prod", who="", expect=UNSET).kind == "retire"
    assert remote.tag("legal", 1, add=["good"], who="")[-1] == "good"
    place = {"repository": "o/n", "commit": "c"}
    assert remote.log.note("legal", 1, "push", who="", **place).data == place
    private, public = make_key(tmp_path, "release")
    digest = remote.resolve("legal@1").digest
    key = remote.signatures.sign(digest, private, who="")
    assert remote.signatures.require(digest, [public]) == key
    assert server.registry.signatures.own(digest) == remote.signatures.own(digest)
    assert remote.upkeep.verify("legal@1", public_keys=[public]).clean
    remote.signatures.revoke("legal@1", who="", why="poisoned")
    with pytest.raises(Refused, match="revoked"):
        remote.signatures.require(digest, [public])
    assert not remote.upkeep.verify("legal@1", public_keys=[public]).clean


def _of_blobs(server: Server, digest: str) -> list[str]:
    path = f"/v1/registry/blobs/{digest}"
    return [range_ for method, at, range_ in server.asked if (method, at) == ("GET", path)]


def test_a_fetch_that_was_killed_goes_on(server: Server) -> None:
    remote = server.remote(Role.READER)
    lock = b'{"seed": 1}'
    digest = digest_bytes(lock)
    part = remote.home / "fetched" / digest.removeprefix("sha256:")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(lock[:7])  # what a killed fetch left
    server.asked.clear()
    assert b"".join(remote.blobs.get(digest)) == lock
    assert _of_blobs(server, digest) == ["bytes=7-"]
    assert not part.exists()


def test_a_fetch_that_is_cut_off_goes_on(server: Server) -> None:
    remote = server.remote(Role.READER)
    digest = digest_bytes(b"weights 2" * 50)
    server.asked.clear()
    server.cut[:] = [100, 50]
    assert b"".join(remote.blobs.get(digest)) == b"weights 2" * 50
    assert _of_blobs(server, digest) == ["", "bytes=100-", "bytes=150-"]


def test_bytes_that_are_something_else_are_thrown_away(server: Server) -> None:
    remote = server.remote(Role.READER)
    lock = b'{"seed": 2}'
    digest = digest_bytes(lock)
    part = remote.home / "fetched" / digest.removeprefix("sha256:")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"wrong")
    with pytest.raises(IntegrityError, match="something else"):
        list(remote.blobs.get(digest))
    assert b"".join(remote.blobs.get(digest)) == lock


def test_a_sending_that_was_killed_goes_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_blobs, "PART", 10)
    remote = server.remote(Role.PUBLISHER)
    data = bytes(range(35))
    digest = digest_bytes(data)
    put = remote.link.put
    sent = itertools.count()

    def killed(path: str, part: bytes, headers: Any) -> Any:
        if next(sent) == 2:
            raise KeyboardInterrupt
        return put(path, part, headers)

    monkeypatch.setattr(remote.link, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        remote.blobs.put(digest, data)
    server.asked.clear()
    remote.blobs.put(digest, data)
    assert [method for method, path, _ in server.asked if "/sent/" in path].count("PUT") == 2
    assert server.registry.blobs.exists(digest)


@pytest.mark.parametrize("lost", [1, 2, 4])
def test_a_part_whose_answer_was_lost_is_not_sent_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """The server took it: sending goes on behind it, also where it was the last one."""
    monkeypatch.setattr(http_blobs, "PART", 10)
    remote = server.remote(Role.PUBLISHER)
    data = bytes(range(35))
    digest = digest_bytes(data)
    put = remote.link.put
    sent = itertools.count(1)

    def twice(path: str, part: bytes, headers: Any) -> Any:
        if next(sent) == lost:
            put(path, part, headers)  # its answer does not come, and it is asked again
        return put(path, part, headers)

    monkeypatch.setattr(remote.link, "put", twice)
    remote.blobs.put(digest, data)
    assert b"".join(server.registry.blobs.get(digest)) == data


def test_two_who_send_the_same_bytes_with_one_token_both_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_blobs, "PART", 10)
    remote, other = server.remote(Role.PUBLISHER), server.remote(Role.PUBLISHER)
    data = bytes(range(95))
    digest = digest_bytes(data)
    put = remote.link.put
    sent = itertools.count(1)

    def beside(path: str, part: bytes, headers: Any) -> Any:
        if next(sent) % 3 == 0:  # the other one is quicker with this part
            return_value = put(path, part, headers)
            put(path, part, headers)
            return return_value
        return put(path, part, headers)

    monkeypatch.setattr(remote.link, "put", beside)
    remote.blobs.put(digest, data)
    other.blobs.put(digest, data)
    assert b"".join(server.registry.blobs.get(digest)) == data


def test_parts_that_never_follow_end_with_the_servers_words(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = server.remote(Role.PUBLISHER)

    def never(path: str, part: bytes, headers: Any) -> Any:
        raise Conflict("7 of 35 bytes are here, and the part begins at 0")

    monkeypatch.setattr(remote.link, "put", never)
    with pytest.raises(Conflict, match="7 of 35 bytes"):
        remote.blobs.put(digest_bytes(b"x" * 35), b"x" * 35)


def test_what_needs_the_database_says_what_to_do(server: Server) -> None:
    remote = server.remote()
    for call in (
        lambda: remote.upkeep.unlisted(),
        lambda: remote.upkeep.verify(),
        lambda: remote.database,
    ):
        with pytest.raises(InvalidInput, match="own database") as caught:
            call()
        assert "unset `ADAPTERS_REGISTRY`" in (caught.value.hint or "")


def test_a_wrong_token_is_said(server: Server, tmp_path: Path) -> None:
    remote = RemoteRegistry(server.url, "awr-x", tmp_path)
    with remote, pytest.raises(Refused) as caught:
        remote.names()
    assert "ADAPTERS_REGISTRY_TOKEN" in (caught.value.hint or "")


def test_a_server_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "time", SimpleNamespace(sleep=lambda seconds: None))
    remote = RemoteRegistry("http://127.0.0.1:9", "t", tmp_path)
    with remote, pytest.raises(Unavailable, match="does not answer"):
        remote.names()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://r.example", "https://r.example"),
        ("https://r.example/v1/registry/", "https://r.example"),
        ("https://r.example/team", "https://r.example/team"),
        ("http://127.0.0.1:8090", "http://127.0.0.1:8090"),
        ("http://[::1]:8090/", "http://[::1]:8090"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_addresses(url: str, address: str) -> None:
    assert check_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        *("r.example", "ftp://r", "https://"),
        *("https://me:secret@r.example", "https://:secret@r.example", "https://secret@r.example"),
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidInput, match="is not a URL") as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


def test_no_token_travels_in_the_clear() -> None:
    with pytest.raises(InvalidInput, match="in the clear"):
        check_url("http://r.example")
    assert check_url("http://r.example", insecure=True) == "http://r.example"


def test_test_sets_are_sealed_from_elsewhere(server: Server) -> None:
    here, there = Datasets(server.registry), open_datasets(server.remote(Role.PUBLISHER))
    here.seal(seal_of(1), "legal, plan 1")
    there.seal(seal_of(2), "fresh, plan 2")
    there.seal(seal_of(2), "fresh, plan 2")
    assert there.seals() == here.seals()
    assert [sealed.owner for sealed in here.seals()] == ["legal, plan 1", "fresh, plan 2"]
    assert [there.read(sealed.blob) for sealed in there.seals()] == [seal_of(1), seal_of(2)]
    with pytest.raises(Refused, match="asks for a admin"):
        there.read(digest_bytes(b"a tenant's rows"))
    with pytest.raises(NotFound, match="no dataset `rows`"):
        there.get("rows")
    with pytest.raises(InvalidInput, match="own database"):
        there._database  # noqa: B018 – where rows are added
    with pytest.raises(Refused):
        open_datasets(server.remote(Role.READER)).seals()


def test_rows_that_were_erased_are_known_elsewhere_and_not_why(server: Server) -> None:
    here, remote = Datasets(server.registry), server.remote(Role.PUBLISHER)
    with server.registry.database.write() as connection:
        erased.note(connection, ["7" * 16], {}, who="me", why="Ann withdrew")
    (told,) = open_datasets(remote).erased_rows()
    assert [told] == here.erased_rows()
    assert (told.mark, told.why) == ("7" * 16, "")
    with pytest.raises(Refused):
        open_datasets(server.remote(Role.READER)).erased_rows()
    with pytest.raises(NotFound):  # as a server of before answers, which has noted none
        remote.link.get("/no-such-list", dict[str, Any])
