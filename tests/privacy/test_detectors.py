"""What counts as personal data and as a secret, and what does not."""

from __future__ import annotations

import pytest

from adapterworks.privacy import credentials
from adapterworks.privacy.credentials import _plugins, find_secrets
from adapterworks.privacy.personal import find_personal_data, mask


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mail a.b+c@mail.example.co.uk now", "e-mail address"),
        ("ring (650) 253-0000 today", "phone number"),
        ("ring +44 20 7946 0958 today", "phone number"),
        ("card 4111-1111-1111-1111.", "payment card"),
        ("card 378282246310005", "payment card"),
        ("to GB82 WEST 1234 5698 7654 32", "bank account (IBAN)"),
        ("ssn 536-90-4399", "social security number (US)"),
        ("身份证11010519491231002X号", "national id (CN)"),
        ("CPF 390.533.447-05", "tax number (BR)"),
        ("codice RCCMNL83S18D969H", "tax number (IT)"),
        ("DNI 54362315K", "national id (ES)"),
    ],
)
def test_personal_data(text: str, kind: str) -> None:
    found = find_personal_data(text)
    assert [item.kind for item in found] == [kind]
    assert f"‹{kind}›" in mask(text, found)
    assert text[found[0].start : found[0].stop] not in mask(text, found)


@pytest.mark.parametrize(
    "text",
    [
        "card 4111 1111 1111 1112",  # Luhn fails
        "to GB82 WEST 1234 5698 7654 33",  # mod 97 fails
        "ssn 000-12-3456",  # never issued
        "身份证110105194912310021号",  # check digit fails
        "version 10.20.30.40 of 2024-01-12 12:30:45",
        "E11.65, I25.10 and 1234567890123456",
        "@dataclass and user@localhost",
        "matrix 1 2 3 4 5 6 7 8 9 10 11 12",
        "0x7fffffffffff and 3.14159265358979",
    ],
)
def test_what_only_looks_like_personal_data(text: str) -> None:
    assert find_personal_data(text) == []


# In parts, so that this file is no finding of a secret scanner.
SECRETS = [
    ("AKIA" + "Z7Q2MX4PLT9WRV3B", "AWS Access Key"),
    ("ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8", "GitHub Token"),
    ("-----BEGIN RSA " + "PRIVATE KEY-----", "Private Key"),
    ("xoxb-" + "123456789012-abcdefABCDEF123456789012", "Slack Token"),
    ("eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n", "JSON Web Token"),
    ('api_key: "' + 'q8Zt5Lm2Xc9V"', "password or key"),
    ("PASSWORD=" + "s3cr3tPa55word", "password or key"),
    ("the password is " + "Tr0ub4dor&3", "password or key"),
    ("https://me:" + "hunter2@host/x", "password in an address"),
]  # fmt: skip


def test_detectors_are_asked_in_the_order_of_their_names() -> None:
    """The last one names a secret that two of them find, and it must be the same one every time."""
    names = [type(plugin).__name__ for plugin in _plugins()]
    assert names == sorted(names)
    assert "AWSKeyDetector" in names
    assert not {"KeywordDetector", "HexHighEntropyString"} & {*names}


@pytest.mark.parametrize(("text", "kind"), SECRETS)
def test_secrets(text: str, kind: str) -> None:
    assert kind in find_secrets(f"first line\nsee {text} here\n").values()


@pytest.mark.parametrize(
    "text",
    [
        "password = getpass.getpass()",
        "token = tokenize.NAME",
        'password = "<your password>"',
        "self.password = password",
        "The password is required",
        "token: 1234567890",
        "https://host:8080/a@b",
        "A06.5 Amebic lung abscess",
        "def secret_key(self, value1): return value1",
        "sha256 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    ],
)
def test_what_only_looks_like_a_secret(text: str) -> None:
    assert find_secrets(text) == {}


SECRETS = (
    "AKIA" + "Z" * 16,
    "aws_secret_key = '" + "aB3/" * 10 + "'",
    "AKCabcdefghij1",
    "key: AP1abcdefgh12",
    "AccountKey=" + "aB3/" * 22,
    "cloudant_password = " + "0a" * 32,
    "M" + "a1" * 12 + ".abc123." + "x" * 27,
    "ghp_" + "a1B2" * 9,
    "glpat-" + "a1B2" * 5,
    "ibm_cloud_iam_api_key = " + "a1B2" * 11,
    "cos_hmac_secret_key = " + "0a" * 24,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "a1" * 16 + "-us12",
    "//registry.npmjs.org/:_authToken=npm_abc",
    "sk-" + "a" * 20 + "T3BlbkFJ" + "b" * 20,
    "-----BEGIN RSA PRIVATE KEY-----",
    "pypi-AgEIcHlwaS5vcmc" + "a1" * 36,
    "SG." + "a" * 22 + "." + "b" * 43,
    "xoxb-1234-abcd",
    "https://hooks.slack.com/services/T1/B1/x1",
    "softlayer_api_key = " + "0a" * 32,
    "sq0csp-" + "a1-" * 14 + "b",
    "sk_live_" + "a1B2" * 6,
    "12345678:" + "a1B2-" * 7,
    "AC" + "a1" * 16,
    "password = hunter2hunter2",
    "密码是 abc12345xyz",
    "https://user:pa55word@host/",
)


@pytest.mark.parametrize("secret", SECRETS)
def test_no_row_is_passed_over_that_a_detector_would_find(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most rows are read by none of them, since they have nothing that all need."""
    text = f"Dear all, please note {secret} and keep it."
    found = find_secrets(text)
    monkeypatch.setattr(credentials, "_may_hold", lambda text: True)
    assert found == find_secrets(text)
    assert found or "eyJ" in secret  # that detector asks for a signature that can be read


def test_plain_prose_is_not_read_by_every_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_plugins", lambda: pytest.fail("it was read"))
    monkeypatch.setattr(credentials, "_marks", lambda: marks)
    assert find_secrets("The quick brown fox jumps over the lazy dog, extraordinarily so.") == {}


marks = credentials._marks()
