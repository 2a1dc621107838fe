"""Test sets that are sealed over HTTP: bytes that are no seal would stop every build for ever."""

from __future__ import annotations

import pytest

from adapterworks.gateway.http.routes.registry import seals
from adapterworks.gateway.http.routes.registry.access import PREFIX
from adapterworks.gateway.tokens.roles import Role
from adapterworks.manifests.digests import digest_bytes
from tests.gateway.registry_http.conftest import Offered
from tests.registry.datasets.seals import seal_of


def sealed(offered: Offered, data: bytes, owner: str = "a test set") -> int:
    client, digest = offered.ask(Role.PUBLISHER), digest_bytes(data)
    assert client.put(f"{PREFIX}/sent/{digest}", content=data).status_code == 200
    answer = client.post(f"{PREFIX}/seals", json={"blob": digest, "owner": owner})
    return int(answer.status_code)


def owners(offered: Offered) -> list[str]:
    listed = offered.ask(Role.PUBLISHER).get(f"{PREFIX}/seals").json()["data"]
    return [row["owner"] for row in listed]


def test_only_a_seal_is_sealed(offered: Offered) -> None:
    assert sealed(offered, b"not a seal") == 400
    assert owners(offered) == []
    assert sealed(offered, seal_of(1)) == 200
    assert owners(offered) == ["a test set"]


def test_an_owner_is_one_line_that_a_terminal_can_show(offered: Offered) -> None:
    for owner in ("two\nlines", "\x1b[2J", "\u202egnp.exe"):
        assert sealed(offered, seal_of(1), owner) == 400
    assert owners(offered) == []


def test_no_more_is_read_than_a_seal_can_have(
    offered: Offered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals, "MOST_BYTES", 8)
    read: list[int] = []

    def chunks(digest: str) -> object:
        for _ in range(1000):
            read.append(4)
            yield b"1234"

    monkeypatch.setattr(type(offered.registry.blobs), "get", lambda self, digest: chunks(digest))
    assert sealed(offered, b"1234" * 1000) == 400
    assert sum(read) == 12
