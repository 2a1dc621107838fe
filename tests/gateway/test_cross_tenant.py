"""One tenant tries to reach another's adapters, cache, keys and usage, or the engine's own paths.

Every way in is a case with a name. "Refused" means an error of the gateway's own and an engine that
saw nothing of it; where a request is the tenant's own and only a part of it steers, that part must
not have reached the engine.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from adapterworks.gateway.tenants.keys import _base32, digest_key
from tests.gateway import raw
from tests.gateway.neighbours import CHAT, HELLO, Neighbours, code

RELAYED = (CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")
Headers = tuple[tuple[str, str], ...]


REFS = {
    "by name": "medical",
    "by alias": "medical:prod",
    "by version": "medical@1",
    "by digest": "medical@{digest}",
    "by digest alone": "{digest}",
    "by digest under an own name": "enterprise-kb@{digest}",
    "by an own name and a path": "enterprise-kb/../medical",
    "by a path": "./medical",
    "in capitals": "MEDICAL",
    "with a space": "medical ",
    "with a line break": "enterprise-kb\nmedical",
    "with a null": "medical\0",
    "in full width": "ｍｅｄｉｃａｌ",
    "with a zero-width space": "medi\u200bcal",
    "with a Cyrillic a": "medic\u0430l",
    "with a dotless i": "med\u0131cal",
    "composed otherwise": "me\u0301dical",
    "as a list in a text": "enterprise-kb,medical",
    "as a pattern": "m*",
    "as an own pattern": "enterprise-*",
    "through two selectors": "enterprise-kb:prod@1",
    "the base by name": "{base}",
    "the base as patterns write it": "base:{base}",
    "the base by digest": "{base_digest}",
    "percent-encoded": "%6dedical",
    "as SQL": "x' OR name='medical' --",
}


@pytest.mark.parametrize("ref", REFS.values(), ids=REFS.keys())
def test_no_spelling_of_a_ref_reaches_a_forbidden_adapter(two: Neighbours, ref: str) -> None:
    before, ref = two.reached(), two.fill(ref)
    answer = two.chat(ref)
    assert (answer.status, code(answer)) == (404, "model_not_found")
    assert not any(name.startswith("x-adapter-") for name in answer.headers)
    assert two.reached() == before


@pytest.mark.parametrize("path", [*RELAYED, "/generate"])
def test_a_forbidden_and_a_missing_adapter_are_the_same_bytes(two: Neighbours, path: str) -> None:
    before = two.reached()
    name = "adapter" if path == "/generate" else "model"
    rest: dict[str, Any] = {"messages": HELLO}
    if path in ("/generate", "/v1/completions"):
        rest = {"prompt": "hi"}
    elif path in ("/v1/responses", "/v1/embeddings"):
        rest = {"input": "hi"}
    rest |= {"max_tokens": 1} if path == "/v1/messages" else {}
    for forbidden, missing in (
        ("medical", "mexical"),
        ("medical:prod", "mexical:prod"),
        ("medical@1", "mexical@1"),
        (two.base.name, two.base.name.replace("m", "x")),
        (f"medical@{two.digests['medical']}", f"mexical@{two.digests['medical']}"),
    ):
        hidden, absent = (
            two.ask("POST", path, {name: ref, **rest}) for ref in (forbidden, missing)
        )
        assert hidden.status == absent.status == 404
        assert hidden.body.replace(forbidden.encode(), missing.encode()) == absent.body
        _same_headers(hidden, absent)
    assert two.reached() == before


def test_looking_a_model_up_tells_nothing_either(two: Neighbours) -> None:
    hidden, absent = (two.ask("GET", f"/v1/models/{name}") for name in ("medical", "mexical"))
    assert hidden.status == absent.status == 404
    assert hidden.body.replace(b"medical", b"mexical") == absent.body
    _same_headers(hidden, absent)
    listed = two.ask("GET", "/v1/models")
    assert [model["id"] for model in json.loads(listed.body)["data"]] == ["enterprise-kb", "shared"]


def _same_headers(one: raw.Answer, other: raw.Answer) -> None:
    """Equal in names, order and values, but for the request's own id and time."""
    assert list(one.headers) == list(other.headers)
    own = {"x-request-id": "", "date": ""}
    assert {**one.headers, **own} == {**other.headers, **own}


MODELS = {
    "a list": ["enterprise-kb", "medical"],
    "an object": {"id": "medical"},
    "a number": 1,
    "nothing": None,
    "true": True,
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_a_model_that_is_no_text_is_refused(two: Neighbours, model: Any) -> None:
    before = two.reached()
    assert two.chat(model).status == 400
    assert two.reached() == before


def test_a_body_that_names_two_models_is_refused(two: Neighbours) -> None:
    """A parser that took the first key to check and the last to relay would let one through."""
    rest = json.dumps(HELLO).encode()
    before = two.reached()
    for first, second in ((b'"enterprise-kb"', b'"medical"'), (b'"medical"', b'"shared"')):
        body = b'{"model":%b,"messages":%b,"max_tokens":1,"model":%b}' % (first, rest, second)
        answer = two.ask("POST", CHAT, body)
        assert answer.status == 400
        assert b"`model` appears twice" in answer.body
    assert two.reached() == before


SALT = "{acme_salt}"
FIELDS: dict[str, dict[str, Any]] = {
    "a cache salt": {"cache_salt": SALT},
    "a nested cache salt": {"extra_body": {"cache_salt": SALT}},
    "a cache salt in metadata": {"metadata": {"cache_salt": SALT}},
    "a cache key": {"prompt_cache_key": SALT},
    "a LoRA's name": {"lora_name": "{digest}"},
    "a LoRA's path": {"lora_path": "/{digest}"},
    "a LoRA request": {"lora_request": {"lora_name": "{digest}", "lora_int_id": 1}},
    "an adapter": {"adapter": "{digest}"},
    "adapters": {"adapters": ["{digest}"]},
    "an adapter name": {"adapter_name": "{digest}"},
    "key-value transfer": {"kv_transfer_params": {"remote": "{digest}"}},
    "encoder transfer": {"ec_transfer_params": {"remote": "{digest}"}},
    "a request id": {"request_id": "{acme}"},
    "a session id": {"session_id": "{acme}"},
    "a tenant": {"tenant": "{acme}"},
    "a priority": {"priority": -1000},
    "repeated prefixes": {"cache_salt": SALT, "CACHE_SALT": SALT, "cache_salt ": SALT},
}


REFUSED: dict[str, Any] = {
    "vllm_xargs": {"lora": "{digest}", "adapterworks_prompt": "{digest}"},
    "prompt_embeds": "{digest}",
    "chat_template": "{digest}",
    "media_io_kwargs": {"image": {"path": "/{digest}"}},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_field_that_would_change_the_answer_reaches_no_engine(two: Neighbours, name: str) -> None:
    before = two.reached()
    answer = two.chat("enterprise-kb", **{name: json.loads(two.fill(json.dumps(REFUSED[name])))})
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["param"] == name
    assert two.reached() == before


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS.keys())
def test_no_field_of_a_body_steers_the_engine(two: Neighbours, fields: dict[str, Any]) -> None:
    answer = two.chat("enterprise-kb", **json.loads(two.fill(json.dumps(fields))))
    assert answer.status == 200
    engine = two.standin
    assert set(engine.bodies[-1]) == {"model", "messages", "max_tokens", "cache_salt"}
    assert engine.bodies[-1]["model"] == two.digests["enterprise-kb"]
    assert engine.bodies[-1]["cache_salt"] == two.globex.cache_salt != two.acme.cache_salt


def test_the_same_prompt_on_a_shared_adapter_has_another_salt(two: Neighbours) -> None:
    """Else the time to first token would tell one tenant what another has asked."""
    assert two.chat("shared").status == 200
    assert two.chat("shared", two.acme_key.text).status == 200
    ours, theirs = two.standin.bodies[-2:]
    assert ours.pop("cache_salt") != theirs.pop("cache_salt")
    assert ours == theirs


def test_being_another_user_is_being_ones_own(two: Neighbours) -> None:
    """`user` decides the side of a canary, not whose tenant, salt or limits they are."""
    for user in (two.acme.id, f"{two.acme.id}\nuser", "acme"):
        assert two.chat("medical", user=user).status == 404
        assert two.chat("shared", user=user).status == 200
        assert two.standin.bodies[-1]["cache_salt"] == two.globex.cache_salt


HEADERS: dict[str, Headers] = {
    "an adapter's ref": (("x-adapter-ref", "medical"),),
    "an adapter's digest": (("x-adapter-digest", "{digest}"),),
    "a LoRA": (("x-lora", "{digest}"), ("lora-name", "{digest}")),
    "a cache salt": (("x-cache-salt", "{acme_salt}"), ("cache-salt", "{acme_salt}")),
    "a tenant": (("x-tenant", "acme"), ("x-tenant-id", "{acme}")),
    "OpenAI's organization": (("openai-organization", "acme"), ("openai-project", "{acme}")),
    "a request id": (("x-request-id", "req-000000000000000000000000"),),
    "a session": (("x-session-id", "{acme}"), ("x-correlation-id", "{acme}")),
    "an engine's rank": (("x-data-parallel-rank", "1"),),
    "another method": (("x-http-method-override", "DELETE"), ("x-method-override", "PUT")),
    "another path": (("x-original-url", "/v1/load_lora_adapter"), ("x-rewrite-url", "/pause")),
    "a proxy's word": (("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1")),
    "another user": (("x-forwarded-user", "acme"), ("x-auth-request-user", "acme")),
    "a header of two spellings": (("X_Adapter_Ref", "medical"), ("x-adapter_ref", "medical")),
    "a cookie": (("cookie", "key={acme}; session={acme}"),),
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS.keys())
def test_no_header_changes_who_asks_or_what_the_engine_sees(
    two: Neighbours, headers: Headers
) -> None:
    headers = tuple((name, two.fill(value)) for name, value in headers)
    body = {"model": "enterprise-kb", "messages": HELLO, "max_tokens": 1}
    answer = two.ask("POST", CHAT, body, headers)
    assert answer.status == 200
    assert answer.headers["x-adapter-digest"] == two.digests["enterprise-kb"]
    sent = two.standin.headers[-1]
    assert sent["x-request-id"] == answer.headers["x-request-id"]
    assert set(sent) == {"host", "content-type", "content-length", "accept", "x-request-id"}
    assert not {value for _, value in headers} & {*sent.values(), *answer.headers.values()}
    assert two.ask("POST", CHAT, {**body, "model": "medical"}, headers).status == 404


def _resigned(key: str, other: str) -> str:
    """A key's id with another key's secret, and the right checksum over both."""
    body = key[:12] + other[12:-7]
    return body + _base32(zlib.crc32(body.encode()).to_bytes(4, "big"))


KEYS: dict[str, Any] = {
    "none": lambda two: (),
    "an empty one": lambda two: (("authorization", "Bearer "),),
    "a revoked one": lambda two: (("authorization", f"Bearer {two.revoked}"),),
    "an expired one": lambda two: (("authorization", f"Bearer {two.expired}"),),
    "another's id with an own secret": lambda two: (
        ("authorization", f"Bearer {_resigned(two.acme_key.text, two.key)}"),
    ),
    "one cut short": lambda two: (("authorization", f"Bearer {two.acme_key.text[:-1]}"),),
    "one with more behind it": lambda two: (("authorization", f"Bearer {two.acme_key.text}a"),),
    "one in capitals": lambda two: (("authorization", f"Bearer {two.acme_key.text.upper()}"),),
    "its id": lambda two: (("authorization", f"Bearer {two.acme_key.id}"),),
    "its digest, as a stolen index has it": lambda two: (
        ("authorization", f"Bearer {digest_key(two.acme_key.text)}"),
    ),
    "a tenant's id": lambda two: (("authorization", f"Bearer {two.acme.id}"),),
    "a pattern": lambda two: (("authorization", "Bearer aw-*"),),
    "SQL": lambda two: (("authorization", "Bearer ' OR 1=1 --"),),
    "bytes that are no text": lambda two: (("authorization", "Bearer \xff\xfe"),),
    "another scheme": lambda two: (("authorization", f"Basic {two.acme_key.text}"),),
    "two in one header": lambda two: (
        ("authorization", f"Bearer {two.revoked}, Bearer {two.key}"),
    ),
    "in a cookie": lambda two: (("cookie", f"authorization=Bearer {two.acme_key.text}"),),
    "as a proxy hands it on": lambda two: (("x-api-key-id", two.acme_key.id),),
    "a dead one before an own": lambda two: (
        ("authorization", f"Bearer {two.revoked}"),
        ("authorization", f"Bearer {two.key}"),
        ("x-api-key", two.key),
    ),
}


@pytest.mark.parametrize("headers", KEYS.values(), ids=KEYS.keys())
def test_a_key_that_does_not_work_opens_nothing(two: Neighbours, headers: Any) -> None:
    before = two.reached()
    given = headers(two)
    answers = [
        two.ask("POST", CHAT, {"model": model, "messages": HELLO}, given, key=None)
        for model in ("medical", "shared")
    ]
    answers += [two.ask("GET", path, None, given, key=None) for path in ("/v1/models", "/metrics")]
    assert {(answer.status, code(answer)) for answer in answers} == {(401, "invalid_api_key")}
    assert two.reached() == before


def test_dead_and_invented_keys_get_the_same_bytes(two: Neighbours) -> None:
    """Else an answer would tell that a key once worked."""
    invented = _resigned(two.acme_key.text, two.key)
    told = {two.chat("medical", key).body for key in (two.revoked, two.expired, invented)}
    assert len(told) == 1


def test_a_key_in_the_address_is_no_key(two: Neighbours) -> None:
    for name in ("key", "api_key", "access_token", "authorization"):
        target = f"/v1/models?{name}={two.acme_key.text}"
        assert two.ask("GET", target, key=None).status == 401


def test_two_keys_are_never_more_than_one_of_them(two: Neighbours) -> None:
    """An own key in front of another's: whose request it is must not depend on who looks."""
    dead = (("authorization", f"Bearer {two.revoked}"), ("x-api-key", two.revoked))
    body = {"model": "medical", "messages": HELLO}
    assert two.ask("POST", CHAT, body, dead).status == 404
