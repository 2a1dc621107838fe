"""Keys whose form their issuer has published: a prefix, and so many characters."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FORMS: tuple[tuple[str, str], ...] = (
    ("AWS Access Key", r"A(?:KIA|SIA)[A-Z0-9]{16}"),
    ("GitHub Token", r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    ("GitHub Token", r"github_pat_[A-Za-z0-9_]{50,255}"),
    ("GitLab Token", r"gl(?:pat|ptt|rt|dt)-[A-Za-z0-9_-]{20,255}"),
    ("OpenAI Token", r"sk-(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,255}"),
    ("Google API Key", r"AIza[A-Za-z0-9_-]{35}"),
    ("Google OAuth Token", r"ya29\.[A-Za-z0-9_-]{20,512}"),
    ("Hugging Face Token", r"hf_[A-Za-z0-9]{30,64}"),
    ("Slack Token", r"xox[abeoprs]-[A-Za-z0-9-]{10,255}"),
    ("Stripe Access Key", r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}"),
    ("SendGrid API Key", r"SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,128}"),
    ("NPM Token", r"npm_[A-Za-z0-9]{36}"),
    ("PyPI Token", r"pypi-[A-Za-z0-9_-]{50,512}"),
    ("DigitalOcean Token", r"do[opr]_v1_[0-9a-f]{64}"),
    ("adapterworks key", r"aw-[a-z2-7]{8}-[a-z2-7]{39}"),
    (
        "JSON Web Token",
        r"eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{8,1024}",
    ),
    ("Bearer Token", r"(?<=[Bb]earer )(?=[A-Za-z._~+/-]*\d)[A-Za-z0-9._~+/-]{20,4096}=*"),
)
_PATTERNS = tuple(
    (kind, re.compile(rf"(?<![A-Za-z0-9_-]){form}(?![A-Za-z0-9_])")) for kind, form in _FORMS
)


def find_keys(text: str) -> Iterator[tuple[str, str]]:
    """Each key as it stands, and its kind."""
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            yield match[0], kind
