"""Who we are at a registry, and whom we tell."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx2
import pytest

from adapterworks.manifests.errors import AdapterworksError, InvalidInput, Refused, Unavailable
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.oci.auth import Authorizer, Challenge, parse_challenge
from adapterworks.registry.remotes.oci.credentials import Credential, find_credential
from adapterworks.registry.remotes.oci.names import OciName
from tests.registry.remotes.oci.moves import REPOSITORY, pulled, pushed
from tests.registry.remotes.oci.standin import EMPTY, OciStandin

ANN = Credential("ann", "pass:word")
AUTH = base64.b64encode(b"ann:pass:word").decode()


def written(folder: Path, table: object) -> dict[str, str]:
    """The environment of somebody with this file of docker's."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(table))
    return {"DOCKER_CONFIG": str(folder)}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"auths": {"r.example": {"auth": AUTH}}}, ANN),
        ({"auths": {"https://r.example": {"auth": AUTH}}}, ANN),
        ({"auths": {"r.example": {"username": "ann", "password": "pass:word"}}}, ANN),
        ({"auths": {"r.example": {"identitytoken": "t"}}}, Credential(identity_token="t")),
        ({"auths": {"other.example": {"auth": AUTH}}}, None),
        ({"auths": {"r.example": {}}}, None),
        ({"auths": []}, None),
        ({}, None),
    ],
)
def test_what_docker_login_left(tmp_path: Path, table: object, expected: Credential | None) -> None:
    assert find_credential("r.example", written(tmp_path, table)) == expected


def test_nobody_logged_in(tmp_path: Path) -> None:
    assert find_credential("r.example", {"DOCKER_CONFIG": str(tmp_path)}) is None


@pytest.mark.parametrize("table", [[], {"auths": {"r.example": {"auth": "x"}}}])
def test_a_file_that_is_none_is_named_without_what_it_holds(tmp_path: Path, table: object) -> None:
    with pytest.raises(InvalidInput, match=r"config\.json"):
        find_credential("r.example", written(tmp_path, table))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"Username": "ann", "Secret": "pass:word"}, ANN),
        ({"Username": "<token>", "Secret": "t"}, Credential(identity_token="t")),
    ],
)
def test_a_helper_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, str], expected: Credential
) -> None:
    helper = tmp_path / "docker-credential-box"
    helper.write_text(
        f"#!/bin/sh\n[ \"$(cat)\" = r.example ] || exit 1\necho '{json.dumps(said)}'\n"
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    environ = written(tmp_path / "d", {"credHelpers": {"r.example": "box"}, "credsStore": "box"})
    assert find_credential("r.example", environ) == expected
    assert find_credential("other.example", environ) is None


def test_a_helper_that_is_not_there_or_no_name(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="`docker-credential-gone`, which"):
        find_credential("r.example", written(tmp_path, {"credsStore": "gone"}))
    with pytest.raises(InvalidInput, match="no program's name"):
        find_credential("r.example", written(tmp_path, {"credsStore": "../sh"}))


def test_nothing_of_a_credential_is_shown() -> None:
    assert "pass" not in repr(ANN)
    assert "tok" not in repr(Credential(identity_token="tok"))


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ('Basic realm="r"', Challenge("basic", "r")),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:a:pull,push"',
            Challenge("bearer", "https://a/t", "s", "repository:a:pull,push"),
        ),
        ("bearer", Challenge("bearer")),
        ("Negotiate abc", None),
        ("", None),
    ],
)
def test_what_a_registry_asks_for(header: str, challenge: Challenge | None) -> None:
    assert parse_challenge(header) == challenge


@pytest.mark.parametrize("bearer", [True, False])
def test_who_logged_in_pushes_in_private_and_nobody_else_reads(
    ours: Registry, theirs: Registry, oci: OciStandin, tmp_path: Path, bearer: bool
) -> None:
    oci.user, oci.bearer = "ann", bearer
    with pytest.raises(Refused, match="refuses") as refused:
        pushed(ours, oci.host, private=True)
    assert refused.value.hint == f"log in as somebody who may: docker login {oci.host}"
    secret = base64.b64encode(b"ann:secret").decode()
    written(tmp_path / "docker", {"auths": {oci.host: {"auth": secret}}})
    said: list[str] = []
    assert pushed(ours, oci.host, private=True, say=said.append).created
    assert said == [f"oci://{oci.host}/{REPOSITORY} is private"]
    assert pulled(theirs, f"oci://{oci.host}/{REPOSITORY}:v1").published.created
    (tmp_path / "docker" / "config.json").unlink()
    with pytest.raises(AdapterworksError):
        pulled(theirs, f"oci://{oci.host}/{REPOSITORY}:v1")


@pytest.mark.parametrize("bearer", [True, False])
def test_a_repository_that_anybody_may_read_is_public_to_its_owner_too(
    ours: Registry, oci: OciStandin, tmp_path: Path, bearer: bool
) -> None:
    oci.user, oci.bearer, oci.readers = "ann", bearer, {REPOSITORY}
    secret = base64.b64encode(b"ann:secret").decode()
    written(tmp_path / "docker", {"auths": {oci.host: {"auth": secret}}})
    with pytest.raises(Refused, match="is public"):
        pushed(ours, oci.host, private=True)
    assert oci.blobs.keys() == {EMPTY}


def flow(name: OciName, url: str, challenge: str, *, plain: bool = False) -> list[httpx2.Request]:
    """The requests that follow when `url` answers 401 with a challenge, and a token is given."""
    auth = Authorizer(name, ANN, "pull", plain=plain)
    steps = auth.sync_auth_flow(httpx2.Request("GET", url))
    sent = [next(steps)]
    answers = [
        httpx2.Response(401, headers={"WWW-Authenticate": challenge}),
        httpx2.Response(200, json={"token": "t"}),
        httpx2.Response(200),
    ]
    for answer in answers:
        answer.request = sent[-1]
        try:
            sent.append(steps.send(answer))
        except StopIteration:
            break
    return sent


def test_a_token_server_is_told_over_tls_only() -> None:
    name = OciName("r.example", "a")
    asked = flow(name, "https://r.example/v2/a/blobs/x", 'Bearer realm="https://t.example/t"')
    assert [str(request.url.host) for request in asked] == ["r.example", "t.example", "r.example"]
    assert asked[1].headers["Authorization"] == f"Basic {AUTH}"
    assert asked[2].headers["Authorization"] == "Bearer t"
    for realm in ("http://t.example/t", "t", "file:///etc", "http://127.0.0.1:8080/t"):
        with pytest.raises(Refused, match="which is not https"):
            flow(name, "https://r.example/v2/a/blobs/x", f'Bearer realm="{realm}"')
    flow(name, "http://r.example/v2/a/x", 'Bearer realm="http://t.example/t"', plain=True)


def test_no_other_host_is_told_who_we_are() -> None:
    (asked,) = flow(OciName("r.example", "a"), "https://storage.example/x", 'Basic realm="r"')
    assert "Authorization" not in asked.headers
