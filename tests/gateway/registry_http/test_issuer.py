"""Persons of a real issuer at the registry over HTTP: who gets in, with which role, and who not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.testclient import TestClient

from adapterworks.gateway.config.oidc import OidcTable
from adapterworks.gateway.config.tables import HttpTable
from adapterworks.gateway.http.app import create_registry_app
from adapterworks.gateway.http.routes.registry.access import PREFIX
from adapterworks.gateway.http.routes.registry.desk import open_desk
from adapterworks.gateway.tokens.discovery import fetch_json
from adapterworks.gateway.tokens.issuer import (
    AGAIN_S,
    FRESH_S,
    STALE_S,
    Issuer,
    groups_of,
)
from adapterworks.gateway.tokens.roles import Role, role_of
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.lifecycle.protection import Rule, Settings
from tests.gateway.registry_http.conftest import Offered, open_at
from tests.gateway.registry_http.test_four_eyes import approve, ask, holder
from tests.issuers import CLIENT, RealIssuer, real_issuer
from tests.registry.releases import publish

ROLES = {"ml-readers": "reader", "ml-leads": "promoter"}


def table(issuer: RealIssuer, **more: Any) -> OidcTable:
    values = {"issuer": issuer.url, "client_id": CLIENT, "roles": ROLES, **more}
    return OidcTable(**{"person": "preferred_username", **values})


@pytest.fixture(scope="module")
def issuer() -> Iterator[RealIssuer]:
    with real_issuer() as running:
        yield running


@pytest.fixture
def offered(tmp_path: Path, issuer: RealIssuer) -> Iterator[Offered]:
    """A registry that takes the issuer's persons."""
    with open_at(tmp_path) as registry:
        desk = open_desk(registry, None, HttpTable(), table(issuer))
        tokens = {role: desk.tokens.create(role.word, role, who="me").text for role in Role}
        yield Offered(registry, desk, tokens, TestClient(create_registry_app(desk)))


def me(offered: Offered, token: str, status: int = 200) -> Any:
    answer = offered.with_key(token).get(f"{PREFIX}/me")
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_persons_groups_are_their_role(offered: Offered, issuer: RealIssuer) -> None:
    cid = issuer.token("cid")
    told = me(offered, cid)
    assert (told["name"], told["role"]) == ("cid", "reader")
    assert me(offered, issuer.token("ben"))["role"] == "promoter"
    tags = offered.with_key(cid).post(f"{PREFIX}/adapters/medical/versions/1/tags", json={})
    assert tags.status_code == 403
    refused = me(offered, issuer.token("dee"), 403)
    assert "`dee` has none of the groups" in refused["error"]["message"]
    metadata = offered.ask(None).get("/.well-known/oauth-protected-resource").json()
    assert metadata["authorization_servers"] == [issuer.url]
    assert metadata["adapters_client_id"] == CLIENT


def test_four_eyes_are_two_persons(offered: Offered, issuer: RealIssuer, tmp_path: Path) -> None:
    for number in (1, 2):
        publish(offered.registry, tmp_path, number)
    offered.registry.promote("medical", 1, "prod", who="me")
    rule = Rule(names=("medical",), approvals=1)
    offered.registry.protection.keep(Settings(aliases={"prod": rule}), who="me")
    ann, ben = issuer.token("ann"), issuer.token("ben")
    number = ask(offered, ann)
    own = offered.desk.tokens.create("ann.ci", Role.ADMIN, who="me", person="ann").text
    for hers in (ann, issuer.token("ann"), own):
        assert approve(offered, hers, number).status_code == 422
    assert holder(offered) == 1
    assert approve(offered, ben, number).status_code == 200
    assert holder(offered) == 2
    assert offered.registry.history("medical", "prod")[-1].who == "ben"


def _forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, claims)
    ]
    signed = b".".join(parts)
    mac = b"" if secret is None else hmac.digest(secret, signed, hashlib.sha256)
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def test_what_the_issuer_did_not_sign_opens_nothing(offered: Offered, issuer: RealIssuer) -> None:
    good = issuer.token("ann")
    assert me(offered, good)["role"] == "promoter"
    header, claims = (
        jwt.get_unverified_header(good),
        jwt.decode(good, options={"verify_signature": False}),
    )
    (published,) = issuer.keys()
    public = jwt.PyJWK(published).key
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stranger = rsa.generate_private_key(65537, 2048)
    kid = {"kid": header["kid"]} if "kid" in header else {}
    cut = good.rpartition(".")[0] + "."
    forged = {
        "no algorithm": _forged({**header, "alg": "none"}, claims, None),
        "the public key as a secret": _forged({**header, "alg": "HS256"}, claims, pem),
        "the same, of its JWK": _forged(
            {**header, "alg": "HS256"}, claims, json.dumps(published).encode()
        ),
        "another key": jwt.encode(claims, stranger, "RS256", headers=kid),
        "a key that it brings": jwt.encode(
            claims,
            stranger,
            "RS256",
            headers={"jwk": json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key()))},
        ),
        "no signature": cut,
        "other claims": cut.replace(
            cut.split(".")[1],
            base64.urlsafe_b64encode(json.dumps({**claims, "sub": "x"}).encode())
            .rstrip(b"=")
            .decode(),
        )
        + good.rpartition(".")[2],
        "too long": good + "A" * 20_000,
    }
    for what, token in forged.items():
        answer = offered.with_key(token).get(f"{PREFIX}/me")
        assert answer.status_code == 401, (what, answer.text)
        assert token not in answer.text


def test_tokens_for_others_and_old_ones_open_nothing(offered: Offered, issuer: RealIssuer) -> None:
    me(offered, issuer.token("ann", client="another-program"), 401)
    strict = replace(offered.desk, issuer=Issuer(table(issuer, algorithms=("ES256",)).trusted()))
    other = Offered(offered.registry, strict, {}, TestClient(create_registry_app(strict)))
    me(other, issuer.token("ann"), 401)  # signed, but not as is allowed here
    with real_issuer(lasts=-3600.0) as late:
        desk = replace(offered.desk, issuer=Issuer(table(late).trusted()))
        old = Offered(offered.registry, desk, {}, TestClient(create_registry_app(desk)))
        me(old, late.token("ann"), 401)
        me(old, issuer.token("ann"), 401)  # another issuer's


class Watched:
    """Reads for real, and says how often; time passes when it is told to."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.now = 0.0

    def __call__(self, url: str) -> dict[str, Any]:
        self.read.append(url)
        return fetch_json(url)


def test_keys_are_kept_and_rotate() -> None:
    watched = Watched()
    with real_issuer() as first:
        issuer = Issuer(table(first).trusted(), fetch=watched, now=lambda: watched.now)
        before = first.token("ann")
        for _ in range(20):
            assert issuer.caller(before).name == "ann"
        assert len(watched.read) == 2, "what it says of itself, and its keys"
    with real_issuer(port=first.port) as second:  # the same issuer, with another key
        after = second.token("ann")
        with pytest.raises(Exception, match="not valid here"):
            issuer.caller(after)  # asked a moment ago: whoever sends junk does not make us ask
        assert len(watched.read) == 2
        watched.now += AGAIN_S + 1
        assert issuer.caller(after).role is Role.PROMOTER
        with pytest.raises(Exception, match="not valid here"):
            issuer.caller(before)
        assert len(watched.read) == 3, "its keys; what it says of itself counts for as long"
    watched.now += FRESH_S + 1  # it is away, and what is known counts
    assert issuer.caller(after).name == "ann"
    watched.now += STALE_S
    with pytest.raises(Unavailable):
        issuer.caller(after)


def test_a_key_that_was_withdrawn_opens_nothing_after_ten_minutes() -> None:
    watched = Watched()
    with real_issuer() as first:
        issuer = Issuer(table(first).trusted(), fetch=watched, now=lambda: watched.now)
        before = first.token("ann")
        issuer.caller(before)
    with real_issuer(port=first.port):
        watched.now += FRESH_S + 1
        with pytest.raises(Exception, match="not valid here"):
            issuer.caller(before)


def test_an_issuer_that_hangs_stalls_nobody_whose_key_is_known(issuer: RealIssuer) -> None:
    watched, asked, hung = Watched(), threading.Event(), threading.Event()

    def fetch(url: str) -> dict[str, Any]:
        if watched.now:
            asked.set()
            assert hung.wait(20)
            raise Unavailable("it hung")
        return watched(url)

    known = Issuer(table(issuer).trusted(), fetch=fetch, now=lambda: watched.now)
    token = issuer.token("ann")
    known.caller(token)
    watched.now += FRESH_S + 1
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(known.caller, token)
        assert asked.wait(20)
        try:
            assert known.caller(token).name == "ann"
            with pytest.raises(Unavailable, match="is being asked"):
                known._key("RS256", "unknown", again=False)
            assert not waits.done()
        finally:
            hung.set()
        assert waits.result(20).name == "ann"


@pytest.mark.parametrize(
    ("claims", "name", "found"),
    [
        ({"realm": {"roles": ["ml-readers"]}}, "realm.roles", Role.READER),
        ({"https://x.example/groups": "ml-leads other"}, "https://x.example/groups", Role.PROMOTER),
        ({"groups": ["ml-readers", "ml-leads", 7]}, "groups", Role.PROMOTER),
    ],
)
def test_where_groups_stand(claims: dict[str, Any], name: str, found: Role) -> None:
    words = groups_of(claims, name)
    assert max(role_of(ROLES[word]) for word in words if word in ROLES) is found


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"issuer": "http://login.example"}, "https"),
        ({"roles": {}}, "nobody would get in"),
        ({"roles": {"x": "owner"}}, "reader"),
        ({"algorithms": ("HS256",)}, "RS256"),
        ({"algorithms": ("none",)}, "RS256"),
    ],
)
def test_a_table_that_would_let_anybody_in_is_refused(values: dict[str, Any], words: str) -> None:
    given = {"issuer": "https://login.example", "client_id": "x", "roles": ROLES, **values}
    with pytest.raises(ValueError, match=words):
        OidcTable(**given)
