"""Keys, tokens and passwords in a text (detect-secrets, Yelp).

Its detectors of known formats are used, and assignments to names such as `password` whose value
looks random; its entropy detectors are not: on code and codes they cry wolf. Nothing is verified
over the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from adapterworks.privacy.key_forms import find_keys

# Detectors of a general shape: entropy of any string, public addresses.
_LEFT_OUT = {
    "Base64HighEntropyString",
    "HexHighEntropyString",
    "IPPublicDetector",
    "KeywordDetector",
    "BasicAuthDetector",
    "GitHubTokenDetector",  # it gives the prefix alone: `key_forms` has the whole
}
_ASSIGNED = re.compile(
    r"""(?ix) (?:passw(?:or)?[dt]|passwd|kennwort|pwd|secret|token|api[ _-]?key|access[ _-]?key|
    schlüssel|密码|口令|密钥)
    [\w-]{0,40}? ["']? \s*
    (?: [:=：]{1,2}=? | \s (?: is | ist | lautet ) \s | \s? [是为] | \s (?=["']) ) \s*
    ["']? ([^\s"',;<>(){}\[\]$]{8,})"""
)
# A run of what keys are made of: detectors in `_NEED_LENGTH` find nothing without one.
_LONG = re.compile(r"[A-Za-z0-9_+/=.-]{20}")
_ARTIFACTORY = re.compile(r"AKC|AP[0-9A-F]")
_NEED_LENGTH = {
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "CloudantDetector",
    "DiscordBotTokenDetector",
    "GitLabTokenDetector",
    "IbmCloudIamDetector",
    "IbmCosHmacDetector",
    "MailchimpDetector",
    "OpenAIDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SoftlayerDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TelegramBotTokenDetector",
    "TwilioKeyDetector",
}
_NEED_MARK = {
    "ArtifactoryDetector": (),  # by `_ARTIFACTORY`: its letters are large ones
    "JwtTokenDetector": ("eyj",),
    "NpmDetector": ("_authtoken",),
    "PrivateKeyDetector": ("private key", "putty"),
    "SlackDetector": ("xox", "hooks.slack.com"),
}
_OF_ASSIGNMENTS = (
    *("passw", "kennwort", "pwd", "secret", "token", "key", "schlüssel"),
    *("密码", "口令", "密钥"),
)
_WINDOW, _OVERLAP = 2048, 512  # characters
_URL_PASSWORD = re.compile(r"://[^\s/:@]+:([^\s/@]{3,})@")


def find_secrets(text: str) -> dict[str, str]:
    """Secret → what it is; several lines may hold several."""
    found: dict[str, str] = {}
    if not _may_hold(text):
        return found
    for line in text.splitlines():
        for part in _windows(line):
            for plugin in _plugins():
                for secret in plugin.analyze_string(part):
                    found[secret] = plugin.secret_type
        found |= dict(find_keys(line))
        for match in _URL_PASSWORD.finditer(line):
            found[match[1]] = "password in an address"
        for match in _ASSIGNED.finditer(line):
            if _looks_random(match[1]):
                found.setdefault(match[1], "password or key")
    return found


def _windows(line: str) -> Iterator[str]:
    """The line in parts that overlap by more than the longest secret that is not one of
    `key_forms`: some of the detectors take time by the square of what they are given."""
    for start in range(0, max(len(line) - _OVERLAP, 1), _WINDOW - _OVERLAP):
        yield line[start : start + _WINDOW]


def _may_hold(text: str) -> bool:
    """Whether a text has what every one of the detectors needs: most rows have nothing of it, and
    are not read pattern by pattern."""
    low = text.lower()
    return (
        any(mark in low for mark in _marks())
        or _LONG.search(text) is not None
        or _ARTIFACTORY.search(text) is not None
    )


@lru_cache(maxsize=1)
def _marks() -> tuple[str, ...]:
    """Texts one of which stands in whatever a detector finds in fewer than 20 characters; of a
    detector that is not known here, the empty text, which stands everywhere."""
    unknown = {type(plugin).__name__ for plugin in _plugins()} - _NEED_LENGTH - _NEED_MARK.keys()
    marks = [mark for own in _NEED_MARK.values() for mark in own]
    return (*marks, *_OF_ASSIGNMENTS, "://", *([""] if unknown else []))


def _looks_random(value: str) -> bool:
    """Letters and digits mixed, not a call, a path, a placeholder or a plain identifier."""
    has_digit = any(c.isdigit() for c in value)
    has_letter = any(c.isalpha() for c in value)
    is_plain = re.fullmatch(r"[A-Za-z_]+\d{0,2}|[\d.:-]+|[\w.]+\.[a-z]\w*|x+\d*", value)
    return has_digit and has_letter and is_plain is None


@lru_cache(maxsize=1)
def _plugins() -> tuple[Any, ...]:
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    classes = {cls.__name__: cls for cls in get_mapping_from_secret_type_to_class().values()}
    return tuple(classes[name]() for name in sorted(classes.keys() - _LEFT_OUT))
