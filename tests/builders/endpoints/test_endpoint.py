"""What somebody types for an endpoint, and whose key is sent where."""

from __future__ import annotations

import pytest

from adapterworks.builders.endpoints.endpoint import Endpoint, is_endpoint, parse_endpoint
from adapterworks.manifests.errors import InvalidInput

KEYS = {"OPENAI_API_KEY": "theirs", "MINE": "mine"}


@pytest.mark.parametrize(
    ("text", "url", "model"),
    [
        ("https://api.openai.com/v1#gpt-4.1", "https://api.openai.com/v1", "gpt-4.1"),
        ("http://localhost:8000#org/name", "http://localhost:8000/v1", "org/name"),
        ("http://h/v1/#m", "http://h/v1", "m"),
        ("https://h/proxy/v1/chat/completions#m@2", "https://h/proxy/v1", "m@2"),
    ],
)
def test_an_address_and_a_model(text: str, url: str, model: str) -> None:
    parsed = parse_endpoint(text, {}, None)
    assert (parsed.url, parsed.model) == (url, model)
    assert is_endpoint(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://api.openai.com/v1", "names no endpoint and model"),
        ("https://#m", "names no endpoint and model"),
        ("ftp://h#m", "names no endpoint and model"),
        ("https://h:port#m", "is not a URL"),
        ("https://user:secret@h/v1#m", "has a user or password"),
        ("https://h/v1?key=secret#m", "has a query"),
    ],
)
def test_what_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        parse_endpoint(text, {}, None)
    assert "secret" not in str(caught.value) or "query" in message


def test_a_key_goes_only_where_it_is_meant_to_go() -> None:
    """OPENAI_API_KEY is set in many shells: no other host is ever sent it unasked."""

    def key(text: str, variable: str | None = None) -> str | None:
        return parse_endpoint(text, KEYS, variable).key

    assert key("https://api.openai.com/v1#m") == "theirs"
    assert key("https://eu.api.openai.com/v1#m") == "theirs"
    assert key("https://openai.com.evil.example/v1#m") is None
    assert key("https://notopenai.com/v1#m") is None
    assert key("http://localhost:8000/v1#m") is None
    assert key("http://localhost:8000/v1#m", "MINE") == "mine"
    with pytest.raises(InvalidInput, match="`NOBODYS` is not set"):
        key("http://localhost:8000/v1#m", "NOBODYS")
    assert "mine" not in repr(Endpoint("http://h/v1", "m", "mine"))


def test_a_reference_is_no_endpoint() -> None:
    assert not is_endpoint("medical@2")
    assert not is_endpoint("medical:prod")
