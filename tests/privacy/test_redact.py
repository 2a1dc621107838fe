"""What comes out of redaction holds nothing that was to be found, and all that was around it."""

from __future__ import annotations

import random
import time

import pytest

from adapterworks.privacy import redact as redacting
from adapterworks.privacy.credentials import _windows
from adapterworks.privacy.personal import Found, _apart
from adapterworks.privacy.redact import Unredactable, find, redact, redact_value
from bench.personal_data import is_gone, is_left_alone, shares, wilson
from bench.planted_personal import lookalikes, planted
from tests.privacy.test_detectors import SECRETS

PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\nabc+/=\n-----END RSA " + "PRIVATE KEY-----"


def test_of_what_is_well_defined_nearly_all_is_found_and_little_else() -> None:
    for kind, (hits, count, missed) in shares(planted(7, 6), is_gone).items():
        assert hits / count >= 0.95 or len(missed) == 1, (kind, missed)
    alone = shares(lookalikes(8, 6), is_left_alone)
    taken = sum(count - hits for hits, count, _ in alone.values())
    assert taken <= 0.02 * sum(count for _, count, _ in alone.values()), alone


def test_the_sentences_are_the_same_for_a_seed() -> None:
    assert planted(3, 2) == planted(3, 2)
    assert planted(3, 2) != planted(4, 2)
    low, high = wilson(95, 100)
    assert (low, high) == pytest.approx((0.8882, 0.9785), abs=1e-4)  # Wilson 1927


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("write to jane@acme.org, please", "write to ‹e-mail address›, please"),
        ("请发到zhang@163.com谢谢", "请发到‹e-mail address›谢谢"),
        ("ｊａｎｅ＠ａｃｍｅ．ｏｒｇ!", "‹e-mail address›!"),
        ("jane (at) acme (dot) org", "‹e-mail address›"),
        (f"here:\n{PEM}\nthanks", "here:\n‹private key›\nthanks"),
        (f"cut off: {PEM[:50]}", "cut off: ‹private key›"),
        ("from 8.8.8.8:443, not 10.0.0.1", "from ‹IP address›:443, not 10.0.0.1"),
        ("Version 8.8.8.8 of it", "Version 8.8.8.8 of it"),
        ("Passport no. C01X00T47.", "Passport no. ‹passport number›."),
        ("part no. C01X00T47.", "part no. C01X00T47."),
        ("born on 04.09.1981", "born on 04.09.1981"),
        ("order 4155552671 shipped", "order 4155552671 shipped"),
        ("call 4155552671 now", "call ‹phone number› now"),
        ("ghp_" + "a1B2" * 9 + " fails", "‹GitHub Token› fails"),
        ("nothing at all", "nothing at all"),
    ],
)
def test_what_is_taken_out(text: str, cleaned: str) -> None:
    assert redact(text)[0] == cleaned


@pytest.mark.parametrize("secret", SECRETS)
def test_of_a_secret_no_long_piece_is_left(secret: str) -> None:
    text, kinds = redact(f"use {secret} for it")
    tail = secret.rpartition(" ")[2].rpartition("=")[2]
    if kinds:
        assert len(tail) < 12 or tail[-12:] not in text, text


def test_kinds_that_overlap_are_one_finding_of_both_their_lengths() -> None:
    text = "https://jane:hunter22@acme.org/x"
    (found,) = find(text)
    assert text[found.start : found.stop] == "hunter22@acme.org"


def test_every_text_of_a_value_is_looked_through() -> None:
    value = {"a": ["x@acme.org", {"jane@acme.org": 1}], "n": 4111111111111111, "b": None}
    cleaned, kinds = redact_value(value)
    assert cleaned == {
        "a": ["‹e-mail address›", {"‹e-mail address›": 1}],
        "n": "‹payment card›",  # no less a card's number for its missing quotation marks
        "b": None,
    }
    assert kinds == ("e-mail address", "payment card")
    plain = {"flag": True, "share": 0.1234567890123456, "seed": 2**31 - 1, "at": 1700000000}
    assert redact_value(plain) == (plain, ())


def test_what_is_found_again_and_again_does_not_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redacting, "find", lambda text, regions: [Found("key", 0, 1)])
    with pytest.raises(Unredactable, match="key is found again"):
        redact("anything")


def test_what_a_mark_joins_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking one thing out can show another, which goes too."""
    first = iter([[Found("key", 0, 3)]])
    real = redacting.find
    monkeypatch.setattr(redacting, "find", lambda text, regions: next(first, None) or real(text))
    assert redact("abc jane@acme.org") == ("‹key› ‹e-mail address›", ("key", "e-mail address"))


def findings(of: list[Found]) -> list[Found]:
    """What `_apart` is, by comparing each with all before it."""
    kept: list[Found] = []
    for item in of:
        if all(item.stop <= other.start or other.stop <= item.start for other in kept):
            kept.append(item)
    return sorted(kept, key=lambda item: item.start)


def test_findings_that_overlap_none_before_them_are_those_of_comparing_all() -> None:
    draw = random.Random(7)
    for _ in range(300):
        found = []
        for number in range(draw.randrange(40)):
            start = draw.randrange(120)
            found.append(Found(str(number), start, start + 1 + draw.randrange(9)))
        assert _apart(found) == findings(found)


@pytest.mark.parametrize(
    "piece",
    [
        "jane{}@example.org ",  # as many findings as there can be
        "password=k{}x7Qp9z ",  # each of them another one
        "password",
        "token-",
        "密码",
        "://a:",
        "sk-",
        "eyJ",
        "://",
    ],
)
def test_what_a_text_costs_grows_with_its_length_and_not_with_its_square(piece: str) -> None:
    find("password=abc12345 jane@example.org")  # what is loaded once

    def seconds(length: int) -> float:
        pieces = (piece.format(number) for number in range(length // len(piece) + 1))
        text = "".join(pieces)[:length]
        began = time.thread_time()  # other threads of the process are not asked
        find(text)
        return time.thread_time() - began

    short = min(seconds(8_000) for _ in range(3))
    long = min(seconds(64_000) for _ in range(3))
    assert long < 24 * short + 0.2  # 64 times as long, where it were the square


def test_a_secret_is_found_wherever_it_stands_in_a_long_line() -> None:
    key = "AccountKey=lJzRc1YdHaAA2KCNJJ1tkYwF/+mKK6Ygw0NGe170Xu592euJv2wYUtBlV8z+qnlcNQSnIYVTkLWntUO1F8j8rQ=="  # noqa: E501
    for at in (0, 1_500, 1_530, 1_990, 2_040, 3_500, 9_000):
        line = "a b " * (at // 4) + key + " c d" * 2_000
        cleaned, kinds = redact(line)
        assert key.partition("=")[2] not in cleaned, at
        assert kinds


def test_a_long_line_is_cut_so_that_nothing_stands_in_no_part() -> None:
    for length in (0, 1, 512, 2_047, 2_048, 2_049, 3_584, 3_585, 20_000):
        line = "".join(chr(33 + number % 90) for number in range(length))
        parts = [*_windows(line)]
        assert parts[0] == line[:2_048]
        assert "".join([parts[0], *(part[512:] for part in parts[1:])]) == line
