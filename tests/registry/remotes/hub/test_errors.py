"""The Hub's trouble in our words: which error, what it says, and whether to try again."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.registry.bases.hub_errors import explained


def http(
    status: int,
    kind: type[HfHubHTTPError] = HfHubHTTPError,
    *,
    said: str | None = None,
    headers: Mapping[str, str] | None = None,
    message: str = "the client's\n  words.",
) -> HfHubHTTPError:
    """The client's error for an answer of the Hub."""
    request = httpx2.Request("GET", "https://hub.test/api")
    response = httpx2.Response(status, headers=dict(headers or {}), request=request)
    return kind(message, response=response, server_message=said)


def ours(error: BaseException) -> AdapterworksError:
    """What becomes of an error."""
    with pytest.raises(AdapterworksError) as caught, explained("push to", "org/a"):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (http(401), Refused, "the Hub refuses this token (401: the client's words)"),
        (http(403, said="no rights"), Refused, "the Hub refuses this token (403: no rights)"),
        (http(403, GatedRepoError), Refused, "its owner gives access on request"),
        (http(404, RevisionNotFoundError), NotFound, "it has no such revision"),
        (http(404, RemoteEntryNotFoundError, said="no file"), NotFound, "no file"),
        (http(401, RepositoryNotFoundError), NotFound, "it does not exist or may not be seen"),
        (http(404, said="nothing"), NotFound, "nothing"),
        (http(409, said="main"), Conflict, "its branch has moved (409: main)"),
        (http(412), Conflict, "its branch has moved (412: the client's words)"),
        (http(429, said="slow"), Unavailable, "the Hub answers 429 (slow)"),
        (http(500), Unavailable, "the Hub answers 500 (the client's words)"),
        (http(503), Unavailable, "the Hub answers 503"),
        (http(400, said="bad"), InvalidInput, "the Hub answers 400 (bad)"),
        (http(499), InvalidInput, "the Hub answers 499"),
        (httpx2.ConnectError("no route"), Unavailable, "cannot be reached (no route)"),
        (httpx2.ReadTimeout(""), Unavailable, "cannot be reached (ReadTimeout)"),
        (ConnectionResetError("reset"), Unavailable, "cannot be reached (reset)"),
        (OfflineModeIsEnabled("x"), Unavailable, "HF_HUB_OFFLINE is set"),
        (ValueError("Invalid metadata in README.md.\n- license"), InvalidInput, "model card"),
    ],
)
def test_each_has_one_class_and_says_what_was_being_done(
    error: Exception, kind: type[AdapterworksError], words: str
) -> None:
    found = ours(error)
    assert type(found) is kind
    assert words in found.message
    assert "`org/a`" in found.message


def test_another_value_error_is_our_fault_and_stays_one() -> None:
    with pytest.raises(ValueError, match="something else"), explained("push to", "org/a"):
        raise ValueError("something else")


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (http(503), Unavailable, "the Hub answers 503"),
        (http(401, RepositoryNotFoundError), NotFound, "it does not exist"),
        (OfflineModeIsEnabled("x"), Unavailable, "HF_HUB_OFFLINE is set"),
        (OSError("no route"), Unavailable, "cannot be reached (no route)"),
        (None, Unavailable, "cannot be reached (not here)"),
    ],
)
def test_what_could_not_be_fetched_is_told_by_its_cause(
    cause: Exception | None, kind: type[AdapterworksError], words: str
) -> None:
    error = LocalEntryNotFoundError("not here")
    error.__cause__ = cause
    found = ours(error)
    assert type(found) is kind
    assert words in found.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7.0), ({}, None), ({"Retry-After": "soon"}, None)],
)
def test_when_to_try_again_is_the_hubs_word(headers: dict[str, str], seconds: float | None) -> None:
    found = ours(http(429, headers=headers))
    assert isinstance(found, Unavailable)
    assert found.retry_after == seconds


def test_a_long_message_is_cut_and_a_stop_at_its_end_left_out() -> None:
    assert ours(http(500, message="x" * 201 + ".")).message.endswith(f"({'x' * 200})")
    assert ours(http(500, message="x.")).message.endswith("(x)")
