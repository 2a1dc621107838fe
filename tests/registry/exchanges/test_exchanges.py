"""What is kept of answers: sealed, listed by page, gone when it is to be gone."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapterworks.manifests.errors import (
    Conflict,
    IntegrityError,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.registry.exchanges import erasing, feedback
from adapterworks.registry.exchanges.exchange import Exchange, Subject
from adapterworks.registry.exchanges.feedback import NewFeedback
from adapterworks.registry.exchanges.files import Staged
from adapterworks.registry.exchanges.store import ORPHAN_SECONDS, Exchanges
from adapterworks.registry.index.database import Database

SAID = "the lamp of room twelve is broken"
NOW = time.time()


def exchange(number: int = 0, **changed: object) -> Exchange:
    values = {
        "id": f"chatcmpl-{number}",
        "receipt": f"req-{number}",
        "tenant": "tn_acme",
        "adapter": "medical",
        "ref": "medical:prod",
        "release": "sha256:r",
        "base": "sha256:b",
        "template": "sha256:t",
        "share": "own",
        "stored": False,
        "request": {"messages": [{"role": "user", "content": SAID}]},
        "answer": {
            "choices": [{"message": {"role": "assistant", "content": f"answer {number}"}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        },
        "metadata": {"number": str(number)},
        "redacted": (),
        "created": NOW + number,
        "expires": NOW + 10_000,
        **changed,
    }
    return Exchange(**values)  # type: ignore[arg-type]


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Exchanges]:
    database = Database(database_url)
    yield Exchanges(database, tmp_path / "home" / "exchanges", tmp_path / "keys")
    database.close()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Exchanges]:
    """On SQLite, for what does not depend on the database."""
    database = Database(f"sqlite:///{tmp_path / 'index.db'}")
    yield Exchanges(database, tmp_path / "home" / "exchanges", tmp_path / "keys")
    database.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def bytes_under(*folders: Path) -> bytes:
    return b"".join(
        path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()
    )


def test_what_is_kept_comes_back_as_it_was(store: Exchanges) -> None:
    assert store.put([exchange(0), exchange(1)]) == 2
    assert store.put([exchange(0)]) == 0  # a receipt is kept once
    got = store.get("tn_acme", "chatcmpl-1")
    assert got == exchange(1)
    assert store.get("tn_acme", "req-1") == got
    assert (got.text, got.tokens, got.messages[0]["content"]) == ("answer 1", (7, 3), SAID)
    with pytest.raises(NotFound):
        store.get("tn_globex", "chatcmpl-1")


def test_a_known_receipt_keeps_its_answer_and_its_metadata(
    one: Exchanges, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A line of a batch is asked again after a kill, and the alias has moved meanwhile."""
    said = {"choices": [{"message": {"role": "assistant", "content": "of another release"}}]}
    again = exchange(0, release="sha256:other", answer=said, metadata={})
    one.put([exchange(0)])
    one.set_metadata("tn_acme", "req-0", {"mine": "yes"})
    assert one.put([again, exchange(1)]) == 1
    found = one.get("tn_acme", "req-0")
    assert (found.release, found.text, found.metadata) == ("sha256:r", "answer 0", {"mine": "yes"})
    assert one.put([exchange(0, tenant="tn_globex")]) == 0  # nobody else's receipt
    # Another process keeps the same between this one's file and its row.
    stage = one.files.stage

    def raced(tenant: str, name: str, value: object, *, durable: bool = True) -> Staged:
        staged = stage(tenant, name, value, durable=durable)
        monkeypatch.undo()
        one.put([exchange(2)])
        return staged

    monkeypatch.setattr(one.files, "stage", raced)
    assert one.put([replace(again, id="chatcmpl-2", receipt="req-2")]) == 0
    assert one.get("tn_acme", "req-2") == exchange(2)
    folder = tmp_path / "home" / "exchanges"
    assert names(folder / "tn_acme") == ["req-0", "req-1", "req-2"]
    assert names(folder / "tn_globex") == []


def test_pages_go_on_where_they_ended(store: Exchanges) -> None:
    store.put([exchange(n, ref="medical" if n % 2 else "code") for n in range(6)])
    store.put([exchange(9, tenant="tn_globex")])

    def ids(page: tuple[list[Exchange], bool]) -> tuple[list[str], bool]:
        return [item.id.removeprefix("chatcmpl-") for item in page[0]], page[1]

    assert ids(store.listed("tn_acme", limit=4)) == (["0", "1", "2", "3"], True)
    assert ids(store.listed("tn_acme", limit=4, after="chatcmpl-3")) == (["4", "5"], False)
    newest = store.listed("tn_acme", limit=2, after="chatcmpl-4", newest_first=True)
    assert ids(newest) == (["3", "2"], True)
    assert ids(store.listed("tn_acme", model="code")) == (["0", "2", "4"], False)
    assert ids(store.listed("tn_acme", metadata={"number": "5"})) == (["5"], False)
    with pytest.raises(NotFound):
        store.listed("tn_acme", after="chatcmpl-9")  # another tenant's


def test_pages_of_rows_join_without_a_gap(one: Exchanges, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterworks.registry.exchanges.store.PAGE", 2)
    one.put([exchange(n) for n in range(5)])
    assert [item.receipt for item in one.read()] == [f"req-{n}" for n in range(5)]


def test_no_text_is_in_the_index_and_none_can_be_read_on_the_disk(
    one: Exchanges, tmp_path: Path
) -> None:
    one.put([exchange(metadata={"who": "planted-metadata"})])
    disk = bytes_under(tmp_path)
    assert b"tn_acme" in disk  # the index is there, and is read
    for planted in (SAID.encode(), b"answer 0", b"planted-metadata"):
        assert planted not in disk
    key = tmp_path / "keys" / "tn_acme.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    file = tmp_path / "home" / "exchanges" / "tn_acme" / "req-0"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key.read_bytes() not in disk.replace(key.read_bytes(), b"", 1)


def test_a_file_opens_only_in_its_place_and_unchanged(one: Exchanges, tmp_path: Path) -> None:
    one.put([exchange(0), exchange(1), exchange(2, tenant="tn_globex")])
    files = tmp_path / "home" / "exchanges"
    mine = files / "tn_acme" / "req-0"
    good = mine.read_bytes()
    for wrong in (
        (files / "tn_acme" / "req-1").read_bytes(),  # of another exchange
        (files / "tn_globex" / "req-2").read_bytes(),  # of another tenant
        good[:-1] + bytes([good[-1] ^ 1]),
        good[:10],
    ):
        mine.write_bytes(wrong)
        with pytest.raises(IntegrityError):
            one.get("tn_acme", "req-0")
    mine.write_bytes(good)
    assert one.get("tn_acme", "req-0").text == "answer 0"


def test_what_has_expired_is_not_shown_and_then_removed(store: Exchanges, tmp_path: Path) -> None:
    store.put([exchange(0, expires=NOW - 1), exchange(1)])
    with pytest.raises(NotFound):
        store.get("tn_acme", "req-0")
    assert [item.receipt for item in store.read()] == ["req-1"]
    assert store.sweep(NOW) == 1
    assert names(tmp_path / "home" / "exchanges" / "tn_acme") == ["req-1"]
    store.shorten("tn_acme", 5.0)
    assert store.sweep(NOW + 5.9) == 0  # it was made a second later
    assert store.sweep(NOW + 6.0) == 1


def test_what_a_crash_left_over_is_removed(one: Exchanges, tmp_path: Path) -> None:
    one.put([exchange(0)])
    one.files.write("tn_acme", "req-without-a-row", {"text": SAID})
    folder = tmp_path / "home" / "exchanges" / "tn_acme"
    (folder / ".req-half-0123").write_bytes(b"half")
    one.sweep(time.time())
    assert len(names(folder)) == 3  # it may be about to get its row
    one.sweep(time.time() + ORPHAN_SECONDS + 1)
    assert names(folder) == ["req-0"]


def test_metadata_are_changed_and_an_exchange_is_deleted(store: Exchanges) -> None:
    store.put([exchange(0), exchange(1)])
    store.set_metadata("tn_acme", "chatcmpl-0", {"seen": "yes"})
    assert store.get("tn_acme", "chatcmpl-0").metadata == {"seen": "yes"}
    with pytest.raises(NotFound):
        store.set_metadata("tn_globex", "chatcmpl-0", {})
    with pytest.raises(NotFound):
        store.delete("tn_globex", "chatcmpl-0")
    assert store.delete("tn_acme", "req-0") == "chatcmpl-0"
    with pytest.raises(NotFound):
        store.get("tn_acme", "chatcmpl-0")


def subject(number: int = 0, *, kept: bool = True) -> Subject:
    return Subject(f"req-{number}", "medical", "sha256:r", kept=kept)


def test_feedback_is_kept_once_and_goes_with_the_exchange(store: Exchanges, tmp_path: Path) -> None:
    store.put([exchange(0)])
    new = NewFeedback(reviewer="ann", thumb="down", correction="the right words", once="k1")
    first, created = feedback.add(store, "tn_acme", subject(), new, NOW)
    assert created
    again, created = feedback.add(store, "tn_acme", subject(), new, NOW + 5)
    assert (again, created) == (first, False)
    with pytest.raises(Conflict):
        feedback.add(store, "tn_acme", subject(), replace(new, thumb="up"), NOW)
    other = NewFeedback(score=0.5, once="k1")  # another tenant's key of the same name
    assert feedback.add(store, "tn_globex", subject(7), other, NOW)[1]
    (item,) = store.read(tenant="tn_acme")
    assert item.feedback == (first,)
    assert b"the right words" not in bytes_under(tmp_path)
    store.delete("tn_acme", "req-0")
    ((_, left),) = feedback.listed(store, tenant="tn_acme")
    assert (left.thumb, left.correction) == ("down", None)
    assert not names(tmp_path / "home" / "exchanges" / "tn_acme")


def test_without_the_answer_a_score_is_kept_and_a_text_is_refused(one: Exchanges) -> None:
    score = NewFeedback(score=0.25, label="wrong-code")
    kept, _ = feedback.add(one, "tn_acme", subject(kept=False), score, NOW)
    assert (kept.score, kept.label) == (0.25, "wrong-code")
    for texts in ({"correction": "x"}, {"comment": "x"}):
        with pytest.raises(Refused, match="no text of this answer is kept"):
            feedback.add(one, "tn_acme", subject(kept=False), NewFeedback(**texts), NOW)
    assert len(list(feedback.listed(one, tenant="tn_acme"))) == 1


def test_what_is_erased_nobody_reads_again(store: Exchanges, tmp_path: Path) -> None:
    store.put([exchange(0), exchange(1, tenant="tn_globex")])
    new = NewFeedback(thumb="down", correction=SAID)
    feedback.add(store, "tn_acme", subject(), new, NOW)
    copied = (tmp_path / "home" / "exchanges" / "tn_acme" / "req-0").read_bytes()
    assert erasing.erase(store, "tn_acme", NOW + 10) == erasing.Holding(1, 1, 2, True)
    assert erasing.holding(store, "tn_acme") == erasing.Holding(0, 0, 0, False)
    assert names(tmp_path / "keys") == ["tn_globex.key"]
    assert store.get("tn_globex", "req-1").text == "answer 1"
    assert not list(feedback.listed(store, tenant="tn_acme"))

    # Another process still had this one in hand: it was asked before the erasure.
    assert store.put([exchange(2)]) == 0
    assert not (tmp_path / "home" / "exchanges" / "tn_acme").exists()
    assert store.put([exchange(11)]) == 1  # consent may be given again
    # A backup of the file is brought back: the key that opened it is gone.
    store.files.remove("tn_acme", "req-11")
    (tmp_path / "home" / "exchanges" / "tn_acme" / "req-11").write_bytes(copied)
    with pytest.raises(IntegrityError, match="another key"):
        store.get("tn_acme", "req-11")


def test_an_erasure_between_file_and_row_wins(
    one: Exchanges, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage = one.files.stage

    def slow(tenant: str, name: str, value: object, *, durable: bool = True) -> Staged:
        erasing.erase(one, tenant, NOW + 10)
        return stage(tenant, name, value, durable=durable)

    monkeypatch.setattr(one.files, "stage", slow)
    assert one.put([exchange(0)]) == 0
    assert not names(tmp_path / "home" / "exchanges" / "tn_acme")
    assert list(one.read()) == []


@pytest.mark.parametrize("gone", ["erased", "deleted", "expired"])
def test_a_text_that_was_on_its_way_when_its_exchange_went_is_not_kept(
    one: Exchanges, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gone: str
) -> None:
    one.put([exchange(0)])
    write = one.files.write

    def slow(tenant: str, name: str, value: object) -> int:
        if gone == "erased":
            erasing.erase(one, tenant, NOW + 10)
        elif gone == "deleted":
            one.delete(tenant, "req-0")
        else:
            one.sweep(NOW + 10**9)
        return write(tenant, name, value)

    monkeypatch.setattr(one.files, "write", slow)
    new = NewFeedback(thumb="down", correction=SAID)
    with pytest.raises(NotFound, match="removed just now"):
        feedback.add(one, "tn_acme", subject(), new, NOW)
    assert not list(feedback.listed(one, tenant="tn_acme"))
    assert not names(tmp_path / "home" / "exchanges" / "tn_acme")


def test_a_text_that_comes_while_its_exchange_goes_goes_too(
    one: Exchanges, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one.put([exchange(0)])
    remove = one.files.remove

    def slow(tenant: str, name: str) -> None:
        remove(tenant, name)
        monkeypatch.setattr(one.files, "remove", remove)
        feedback.add(one, tenant, subject(), NewFeedback(correction=SAID), NOW)

    monkeypatch.setattr(one.files, "remove", slow)
    one.delete("tn_acme", "req-0")
    assert not names(tmp_path / "home" / "exchanges" / "tn_acme")
    ((_, left),) = feedback.listed(one, tenant="tn_acme")
    assert left.correction is None


def test_a_text_that_a_crash_left_of_what_was_said_is_removed(
    one: Exchanges, tmp_path: Path
) -> None:
    one.put([exchange(0)])
    said, _ = feedback.add(one, "tn_acme", subject(), NewFeedback(correction=SAID), NOW)
    sealed = (tmp_path / "home" / "exchanges" / "tn_acme" / said.id).read_bytes()
    one.delete("tn_acme", "req-0")
    (tmp_path / "home" / "exchanges" / "tn_acme" / said.id).write_bytes(sealed)
    one.sweep(time.time() + ORPHAN_SECONDS + 1)
    assert not names(tmp_path / "home" / "exchanges" / "tn_acme")


def test_an_erasure_ends_while_a_gateway_writes_and_removes_beside_it(
    one: Exchanges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.put([exchange(number) for number in range(3)])
    folder = tmp_path / "home" / "exchanges" / "tn_acme"
    unlink, rmdir, seen = os.unlink, os.rmdir, []

    def removed_meanwhile(path: str | Path, **at: int) -> None:
        unlink(path, **at)
        if str(path).startswith("req-") and not seen:  # a gateway's sweep was faster
            seen.append("gone")
            raise FileNotFoundError(2, "no such file", path)

    def written_meanwhile(path: str, **at: int) -> None:
        if len(seen) == 1:  # and another one puts what it has in hand
            seen.append("new")
            (folder / "req-9").write_bytes(b"sealed")
        rmdir(path, **at)

    monkeypatch.setattr(os, "unlink", removed_meanwhile)
    monkeypatch.setattr(os, "rmdir", written_meanwhile)
    found = erasing.erase(one, "tn_acme", NOW + 100)
    assert (found.exchanges, found.key, seen) == (3, True, ["gone", "new"])
    assert not folder.exists()


def test_files_that_stay_are_an_error_in_words(
    one: Exchanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.put([exchange()])

    unlink = os.unlink

    def refused(path: str | Path, **at: int) -> None:
        if str(path).startswith("req-"):
            raise PermissionError(13, "Permission denied", path)
        unlink(path, **at)

    monkeypatch.setattr(os, "unlink", refused)
    with pytest.raises(Unavailable, match=r"still in .*tn_acme`: Permission denied") as error:
        erasing.erase(one, "tn_acme", NOW + 100)
    assert error.value.hint == "erase it again"
    monkeypatch.undo()
    assert erasing.erase(one, "tn_acme", NOW + 100).files == 1
    assert one.files.count("tn_acme") == 0


def test_a_text_that_another_key_has_sealed_is_passed_over(one: Exchanges, tmp_path: Path) -> None:
    one.put([exchange(0), exchange(1)])
    feedback.add(one, "tn_acme", subject(), NewFeedback(thumb="down", correction=SAID), NOW)
    other = Exchanges(one.database, tmp_path / "elsewhere" / "exchanges", tmp_path / "other-keys")
    said, _ = feedback.add(other, "tn_acme", subject(), NewFeedback(correction=SAID), NOW)
    there, here = (
        folder / "exchanges" / "tn_acme" / said.id
        for folder in (tmp_path / "elsewhere", tmp_path / "home")
    )
    here.write_bytes(there.read_bytes())  # two gateways on one home, each with keys of its own
    listed = [said for _, said in feedback.listed(one)]
    assert [(one.thumb, one.correction) for one in listed] == [("", None), ("down", SAID)]
    assert [len(item.feedback) for item in one.read()] == [2, 0]
