"""A page: frozen values with a template of the same name, filled in under `StrictUndefined`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from adapterworks.gateway.console.words import LANGUAGES, Words
from adapterworks.manifests.digests import short_digest

_FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a template is given by name; a subclass adds a field for each thing it shows.

    Attributes:
        commands: the command lines that do the same.
    """

    template: ClassVar[str]
    area: ClassVar[str] = ""
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shell:
    """What stands around every page.

    Attributes:
        who: the id of the key that is logged in; None before.
        token: what this session's forms carry.
        areas: name and path of each page that the key opens.
        theme: `auto`, `light` or `dark`.
        here: an address to come back to: the page's own, or its area's where a form led to it.
    """

    lang: str
    other: tuple[str, str]
    areas: tuple[tuple[str, str], ...]
    theme: str
    who: str | None
    token: str
    here: str


def command(*words: str) -> str:
    """A command line, quoted for a shell whatever is in it."""
    return shlex.join(words)


def other_language(language: str) -> tuple[str, str]:
    """The code of the other language, and its own name."""
    code = next(code for code in LANGUAGES if code != language)
    return code, LANGUAGES[code][1]


class Templates:
    """The templates, compiled once; everything that is filled in is escaped."""

    def __init__(self) -> None:
        self.environment = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters |= {
            "iso": iso,
            "moment": moment,
            "size": size,
            "short": short_digest,
        }

    def render(self, page: Page, shell: Shell, words: Words) -> str:
        """The page's HTML."""
        values = {field.name: getattr(page, field.name) for field in fields(page)}
        template = self.environment.get_template(page.template)
        return template.render(**values, area=page.area, shell=shell, t=words)


def iso(seconds: float) -> str:
    """A time as `<time datetime>` has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(seconds: float) -> str:
    """A time for a person, in UTC; a script says it in the reader's own zone."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def size(count: int) -> str:
    """Bytes for a person."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
