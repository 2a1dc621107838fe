"""The texts of the pages: one catalogue a language, and which of them a browser gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup
from starlette.requests import Request

COOKIE = "adapters_lang"
# Code → (what `lang` says of the page, its own name).
LANGUAGES = {"en": ("en", "English"), "zh": ("zh-Hans", "中文")}
_FOLDER = Path(__file__).parent / "texts"


def read(language: str) -> Mapping[str, str]:
    """The catalogue of a language: key → text with `{names}`."""
    values: dict[str, str] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return values


CATALOGUES = {language: read(language) for language in LANGUAGES}


class Words:
    """The texts in one language; called with a key and what goes into the text."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = CATALOGUES[language]

    def __call__(self, key: str, /, **values: object) -> Markup:
        """The text. What goes into it is escaped; the text itself is ours.

        Raises:
            KeyError: there is none.
        """
        return Markup(self._texts[key]).format(**values)  # noqa: S704 (our own catalogue)

    def known(self, kind: str, word: str) -> str:
        """A word of the API's (a state, a role) in this language; as it is if there is none."""
        return self._texts.get(f"{kind}.{word}", word)


def language_of(request: Request) -> str:
    """What was chosen, else the first of `Accept-Language` that there is, else English."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    for weighted in _ordered(request.headers.get("accept-language", "")):
        if weighted in LANGUAGES:
            return weighted
    return "en"


def _ordered(header: str) -> list[str]:
    found: list[tuple[float, str]] = []
    for part in header[:500].split(","):
        name, _, rest = part.strip().partition(";")
        try:
            weight = float(rest.strip().removeprefix("q=")) if rest else 1.0
        except ValueError:
            continue
        if weight > 0:
            found.append((-weight, name.partition("-")[0].lower()))
    return [name for _, name in sorted(found, key=lambda pair: pair[0])]
