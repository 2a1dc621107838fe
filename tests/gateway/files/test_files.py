"""`/v1/files` and `/v1/uploads` through OpenAI's own client."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from adapterworks.gateway.files import joining
from adapterworks.gateway.files.objects import asked_file
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.registry.jobs import schema, uploads
from tests.gateway.files.test_rows import CHAT
from tests.gateway.jobs_support import House, house, move_in, strict
from tests.gateway.running import Launcher, Running

__all__ = ["house"]

ROWS = b"".join(json.dumps(CHAT).encode() + b"\n" for _ in range(12))


def put(client: openai.OpenAI, name: str = "rows.jsonl", data: bytes = ROWS, **more: Any) -> Any:
    return client.files.create(file=(name, data), purpose=more.pop("purpose", "fine-tune"), **more)


def test_a_file_is_put_listed_read_and_deleted(house: House) -> None:
    client = house.client()
    file = put(client)
    strict(file)
    assert (file.bytes, file.filename, file.purpose) == (len(ROWS), "rows.jsonl", "fine-tune")
    assert (file.status, file.expires_at) == ("processed", None)
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == ROWS
    assert [found.id for found in client.files.list()] == [file.id]
    deleted = client.files.delete(file.id)
    strict(deleted)
    assert deleted.deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    assert list(client.files.list()) == []


def test_pages_go_both_ways_and_end(house: House) -> None:
    client = house.client()
    ids = [put(client, f"{number}.jsonl").id for number in range(5)]
    other = put(client, "x.bin", b"anything", purpose="user_data").id
    assert [file.id for file in client.files.list(limit=2, order="asc")] == [*ids, other]
    assert [file.id for file in client.files.list(limit=2)] == [other, *reversed(ids)]
    assert [file.id for file in client.files.list(purpose="user_data")] == [other]
    page = client.files.list(limit=3, after=ids[3])
    assert [file.id for file in page.data] == [ids[2], ids[1], ids[0]]
    assert not page.has_more
    for wrong in ({"limit": 0}, {"limit": 10_001}, {"order": "up"}, {"after": "file-x"}):
        with pytest.raises(openai.BadRequestError):
            client.files.list(**wrong)  # type: ignore[arg-type]


def test_every_fault_of_a_file_is_in_the_error(house: House) -> None:
    lines = ROWS.splitlines(keepends=True)
    lines[2] = b'{"messages": [}\n'
    lines[7] = b'{"messages": [{"role": "user"}]}\n'
    with pytest.raises(openai.BadRequestError) as caught:
        put(house.client(), data=b"".join(lines))
    message = str(caught.value)
    assert "2 of 12 lines cannot be used" in message
    assert "line 3: is not JSON" in message
    body: Any = caught.value.body
    assert [fault["lines"] for fault in body["faults"]] == ["3", "8"]
    assert list(house.client().files.list()) == []


def test_a_file_expires_when_it_should(house: House) -> None:
    client = house.client()
    file = put(client, expires_after={"anchor": "created_at", "seconds": 3600})
    assert file.expires_at == file.created_at + 3600
    row = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/x", "body": {}}).encode()
    batch = put(client, data=row, purpose="batch")
    assert batch.expires_at == batch.created_at + 30 * 86400
    with house.registry.database.write() as connection:  # an hour has passed
        moved = schema.files.c.expires - 3600
        connection.execute(schema.files.update().values(expires=moved))
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)
    assert [found.id for found in client.files.list()] == [batch.id]
    for seconds in (3599, 30 * 86400 + 1):
        with pytest.raises(openai.BadRequestError, match="seconds"):
            put(client, expires_after={"anchor": "created_at", "seconds": seconds})


@pytest.mark.parametrize("seconds", ["²", "-1", "3600.0", "9" * 5000])
def test_what_no_number_of_seconds_is_is_refused_in_words(seconds: str) -> None:
    form = {"purpose": "batch", "expires_after[seconds]": seconds}
    with pytest.raises(InvalidField, match="seconds"):
        asked_file(form)


def test_bounds_of_one_file_and_of_all_together(house: House) -> None:
    client = house.client()
    with pytest.raises(openai.APIStatusError) as caught:
        put(client, data=b"x" * 200_001, purpose="user_data")
    assert caught.value.status_code == 413
    kept = [put(client, data=bytes(199_000), purpose="user_data") for _ in range(2)]
    with pytest.raises(openai.RateLimitError) as over:
        put(client, data=bytes(199_000), purpose="user_data")
    assert over.value.code == "insufficient_quota"
    put(house.client("globex"), data=bytes(199_000), purpose="user_data")
    client.files.delete(kept[0].id)
    put(client, data=bytes(199_000), purpose="user_data")
    assert list((house.registry.home / "uploads").iterdir()) == []


def test_the_bytes_live_as_long_as_a_file_has_them(house: House) -> None:
    """Two tenants' equal files are one blob, and gc takes it when neither has it any more."""
    mine, other = put(house.client()), put(house.client("globex"))
    digest = "sha256:" + hashlib.sha256(ROWS).hexdigest()
    gc = {"grace": 0.0, "unlisted": True}
    age(house, digest)
    assert [blob.digest for blob in house.registry.upkeep.gc(**gc).blobs] == []  # type: ignore[arg-type]
    house.client().files.delete(mine.id)
    house.registry.upkeep.gc(**gc)  # type: ignore[arg-type]
    assert house.client("globex").files.content(other.id).read() == ROWS
    house.client("globex").files.delete(other.id)
    gone = {blob.digest for blob in house.registry.upkeep.gc(**gc).blobs}  # type: ignore[arg-type]
    assert digest in gone
    assert len(gone) == 2  # and the file's deposit


def age(house: House, digest: str) -> None:
    """A day has passed since the blob was put."""
    import os

    path = house.registry.blobs.path(digest)  # type: ignore[attr-defined]
    os.utime(path, (path.stat().st_atime - 86400, path.stat().st_mtime - 86400))


def test_a_form_may_have_its_fields_in_any_order_and_no_others(house: House) -> None:
    url = house.running.url + "/v1/files"
    headers = {"authorization": f"Bearer {house.keys['acme']}"}
    file = ("file", ("a/b/rows.jsonl", b'{"messages": 1}\n', "application/jsonl"))
    late = httpx.post(
        url, headers=headers, files=[file, ("purpose", (None, "fine-tune"))]
    )  # the purpose after the file
    assert (late.status_code, late.json()["error"]["faults"][0]["lines"]) == (400, "1")
    for files, param in (
        ([("purpose", (None, "fine-tune"))], "file"),
        ([file], "purpose"),
        ([file, file, ("purpose", (None, "user_data"))], "file"),
        ([file, ("purpose", (None, "user_data")), ("colour", (None, "red"))], "colour"),
        ([file, ("purpose", (None, "spells"))], "purpose"),
    ):
        answer = httpx.post(url, headers=headers, files=files)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert httpx.post(url, headers=headers, json={}).status_code == 400
    torn = {**headers, "content-type": "multipart/form-data; boundary=x"}
    assert httpx.post(url, headers=torn, content=b"--x\r\nno").status_code == 400
    assert list((house.registry.home / "uploads").iterdir()) == []


def test_an_upload_in_parts_is_a_file(house: House) -> None:
    client = house.client()
    upload = client.uploads.create(
        bytes=len(ROWS), filename="big.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    strict(upload)
    assert (upload.status, upload.expires_at) == ("pending", upload.created_at + 3600)
    second = client.uploads.parts.create(upload.id, data=ROWS[500:])
    first = client.uploads.parts.create(upload.id, data=ROWS[:500])
    strict(first)
    with pytest.raises(openai.BadRequestError, match="announced"):
        client.uploads.parts.create(upload.id, data=b"x")
    ids = [first.id, second.id]
    with pytest.raises(openai.BadRequestError, match="md5"):
        client.uploads.complete(upload.id, part_ids=ids, md5="0" * 32)
    with pytest.raises(openai.BadRequestError, match="cannot be used"):
        client.uploads.complete(upload.id, part_ids=ids[::-1])
    md5 = hashlib.md5(ROWS).hexdigest()
    done = client.uploads.complete(upload.id, part_ids=ids, md5=md5)
    strict(done)
    assert done.status == "completed"
    assert done.file is not None
    assert client.files.content(done.file.id).read() == ROWS
    with pytest.raises(openai.ConflictError):
        client.uploads.complete(upload.id, part_ids=ids)
    with pytest.raises(openai.ConflictError):
        client.uploads.parts.create(upload.id, data=b"x")


def test_an_upload_can_be_given_up_and_ends_by_itself(house: House) -> None:
    client = house.client()
    one, other = (
        client.uploads.create(bytes=9, filename="x", mime_type="text/plain", purpose="user_data")
        for _ in range(2)
    )
    assert client.uploads.cancel(one.id).status == "cancelled"
    with pytest.raises(openai.ConflictError):
        client.uploads.parts.create(one.id, data=b"x")
    with house.registry.database.write() as connection:  # an hour has passed
        connection.execute(schema.uploads.update().values(expires=schema.uploads.c.expires - 3600))
    with pytest.raises(openai.ConflictError, match="expired"):
        client.uploads.parts.create(other.id, data=b"x")


def announce(client: openai.OpenAI, size: int) -> str:
    """An upload of `size` bytes is begun; its id."""
    kind: dict[str, Any] = {"mime_type": "text/plain", "purpose": "user_data"}
    return client.uploads.create(bytes=size, filename="x", **kind).id


def test_what_is_announced_counts_until_it_is_whole_or_over(house: House) -> None:
    client = house.client()  # 500,000 bytes together, 200,000 a file
    first, second = announce(client, 200_000), announce(client, 200_000)
    with pytest.raises(openai.RateLimitError, match="announced uploads take 400000 bytes"):
        announce(client, 200_000)
    with pytest.raises(openai.RateLimitError, match="announced uploads"):
        put(client, "x", b"x" * 150_000, purpose="user_data")
    assert announce(house.client("globex"), 200_000)
    part = client.uploads.parts.create(first, data=b"x" * 200_000)
    with pytest.raises(openai.BadRequestError, match="no bytes"):
        client.uploads.parts.create(second, data=b"")
    client.uploads.complete(first, part_ids=[part.id])  # it need not have room beside itself
    with pytest.raises(openai.RateLimitError):
        announce(client, 200_000)
    client.uploads.cancel(second)
    third = announce(client, 200_000)
    with house.registry.database.write() as connection:  # an hour has passed
        connection.execute(schema.uploads.update().values(expires=schema.uploads.c.expires - 3600))
    assert announce(client, 200_000) != third


def test_a_tenant_has_so_many_uploads_that_are_not_whole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_PENDING", 3)
    monkeypatch.setattr(uploads, "MOST_PARTS", 2)
    client = house.client()
    begun = [announce(client, 5) for _ in range(3)]
    with pytest.raises(openai.RateLimitError, match="3 uploads of yours are not whole"):
        announce(client, 5)
    client.uploads.cancel(begun[0])
    announce(client, 5)
    for _ in range(2):
        client.uploads.parts.create(begun[1], data=b"x")
    with pytest.raises(openai.BadRequestError, match="2 parts"):
        client.uploads.parts.create(begun[1], data=b"x")


def test_completing_reads_no_byte_of_what_is_not_pending(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = house.client()
    upload = announce(client, 3)
    part = client.uploads.parts.create(upload, data=b"abc")
    client.uploads.complete(upload, part_ids=[part.id])
    monkeypatch.setattr(uploads.Uploads, "chunks", None)
    with pytest.raises(openai.ConflictError):
        client.uploads.complete(upload, part_ids=[part.id])


def test_uploads_are_completed_a_few_at_a_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is put together once, the rest wait, and whoever is too many comes again."""
    monkeypatch.setattr(joining, "_MOST_WAITING", 4)
    go, whole, look = threading.Event(), uploads.Uploads.chunks, joining.require_pending
    arrived: list[str] = []
    busy: list[str] = []

    def require_pending(upload: uploads.Upload) -> None:
        arrived.append(upload.id)
        look(upload)

    def chunks(self: uploads.Uploads, parts: Sequence[uploads.Part]) -> Iterator[bytes]:
        busy.append(parts[0].upload)
        assert go.wait(60)
        return whole(self, parts)

    monkeypatch.setattr(joining, "require_pending", require_pending)
    monkeypatch.setattr(uploads.Uploads, "chunks", chunks)
    client = house.client()
    begun = [announce(client, 3) for _ in range(5)]
    parts = [client.uploads.parts.create(upload, data=b"abc").id for upload in begun]

    def complete(number: int) -> str:
        return client.uploads.complete(begun[number], part_ids=[parts[number]]).status

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(complete, number) for number in range(4)]
        deadline = time.monotonic() + 30
        while len(arrived) < 4 or len(busy) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(openai.InternalServerError, match="too many uploads wait"):
            complete(4)
        with pytest.raises(openai.ConflictError, match="is being completed"):
            complete(0)
        assert len(busy) == 2
        go.set()
        assert [one.result() for one in waiting] == ["completed"] * 4
    assert sorted(busy) == sorted(begun[:4])


def test_one_tenants_uploads_leave_room_for_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_MOST_OF_ONE", 1)
    go, whole, busy = threading.Event(), uploads.Uploads.chunks, threading.Semaphore(0)

    def chunks(self: uploads.Uploads, parts: Sequence[uploads.Part]) -> Iterator[bytes]:
        busy.release()
        assert go.wait(60)
        return whole(self, parts)

    monkeypatch.setattr(uploads.Uploads, "chunks", chunks)

    def begun(name: str) -> Callable[[], str]:
        client = house.client(name)
        upload = announce(client, 3)
        part = client.uploads.parts.create(upload, data=b"abc").id
        return lambda: client.uploads.complete(upload, part_ids=[part]).status

    first, second, others = begun("acme"), begun("acme"), begun("globex")
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(first)]
        assert busy.acquire(timeout=60)
        with pytest.raises(openai.InternalServerError, match="too many uploads wait"):
            second()
        waiting.append(pool.submit(others))
        assert busy.acquire(timeout=60)
        go.set()
        assert [one.result() for one in waiting] == ["completed"] * 2
    assert second() == "completed"


def test_the_clients_own_chunks_become_a_file(house: House, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS)
    upload = house.client().uploads.upload_file_chunked(
        file=path, mime_type="application/jsonl", purpose="fine-tune", part_size=300
    )
    assert upload.file is not None
    assert house.client().files.content(upload.file.id).read() == ROWS


def test_without_jobs_there_is_no_such_path(on_standin: Running) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        on_standin.client().files.list()
    assert caught.value.code == "path_not_found"
    assert "[jobs] on = true" in str(caught.value)


def test_a_hundred_thousand_broken_lines_are_all_named(
    launcher: Launcher, registry: Any, base: Any, tmp_path: Path
) -> None:
    house = move_in(launcher, registry, base, tmp_path)
    line = b'{"messages": [{"role": "wizard", "content": "%s"}]}\n' % (b"x" * 40)
    good = json.dumps(CHAT).encode() + b"\n"
    with pytest.raises(openai.BadRequestError, match="50000 of 100000 lines") as caught:
        put(house.client(), data=(line + good) * 50_000)
    body: Any = caught.value.body
    (fault,) = body["faults"]
    assert fault["count"] == 50_000
    assert fault["lines"].split(", ") == [str(number) for number in range(1, 100_000, 2)]
