"""What the receipt of an answer says, and what it cannot be made to say."""

from __future__ import annotations

from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.request.receipts import Receipt

BASE = f"sha256:{'b' * 64}"


def test_a_receipt_says_what_is_known_so_far() -> None:
    receipt = Receipt()
    assert receipt.headers().keys() == {"x-request-id"}
    assert receipt.request_id.startswith("req-")
    assert len(receipt.request_id) == 28
    assert Receipt().request_id != receipt.request_id
    receipt.limits = {"x-ratelimit-limit-requests": "5"}
    receipt.target = Target("tiny", "base:tiny", BASE)
    assert receipt.headers() == {
        "x-request-id": receipt.request_id,
        "x-ratelimit-limit-requests": "5",
        "x-adapter-ref": "tiny",
        "x-base-digest": BASE,
    }
    receipt.target = Target("m:prod", "m", BASE, digest="sha256:d")
    assert receipt.headers()["x-adapter-digest"] == "sha256:d"


def test_what_the_base_answers_names_no_adapter() -> None:
    """Its tokenizer is its adapters' too: none is loaded for it."""
    receipt = Receipt(target=Target("m:prod", "m", BASE, digest="sha256:d"), of_base=True)
    assert receipt.headers() == {
        "x-request-id": receipt.request_id,
        "x-adapter-ref": "m:prod",
        "x-base-digest": BASE,
    }
    assert receipt.answers == BASE
    receipt.of_base = False
    assert receipt.answers == "sha256:d"
    assert Receipt().answers == ""


def test_names_of_ignored_fields_cannot_be_anything_else() -> None:
    receipt = Receipt(ignored=("good", "bad\r\nx-evil: 1", "ü", "", *(f"f{n}" for n in range(30))))
    told = receipt.headers()["x-adapter-ignored"].split(",")
    assert told == ["good", *(f"f{n}" for n in range(16))]  # of the first twenty


def test_names_of_ignored_fields_are_not_as_long_as_a_client_likes() -> None:
    receipt = Receipt(ignored=tuple("f" * 300_000 + str(n) for n in range(20)))
    assert len(receipt.headers()["x-adapter-ignored"]) < 3000
