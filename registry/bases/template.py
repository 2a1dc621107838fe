"""A base with another chat template, or with arguments of its template decided.

Invariant: it is another base with a digest of its own, since the template is part of what a base
is: adapters that were trained under it are served under it and proved with it. What the manifest
decides is written into the template's text, so that training, engine and exports read the same.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import place
from adapterworks.manifests.templates import TEMPLATES, names_template_file
from adapterworks.registry.bases.ends import stop_at_end
from adapterworks.registry.bases.files import chat_template

TEMPLATE = "chat_template.jinja"
_KNOWN = Path(__file__).parent / "templates"
# What every renderer gives a template; an argument of these names would be somebody else's.
_GIVEN = frozenset({"messages", "tools", "documents", "add_generation_prompt"})


@dataclass(frozen=True)
class Template:
    """What a manifest decides of a base's template.

    Attributes:
        text: in place of the base's own; None to keep that.
        arguments: by name; what a request says of them has precedence.
    """

    text: str | None = None
    arguments: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    def applied(self, own: str) -> str:
        """The base's template with all that was decided.

        Raises:
            InvalidInput: there is no template, it cannot be read, or does not read an argument.
        """
        from jinja2 import Environment, TemplateSyntaxError, meta

        text = own if self.text is None else self.text
        if not text:
            raise InvalidInput(
                "`base.template_arguments` are given, and the base has no chat template",
                hint="name one in `base.chat_template`",
            )
        environment = Environment(  # noqa: S701 – it is parsed, not rendered
            extensions=["jinja2.ext.loopcontrols"]
        )
        try:
            read = meta.find_undeclared_variables(environment.parse(_without_marks(text)))
        except TemplateSyntaxError as error:
            raise InvalidInput(
                f"the chat template cannot be read: line {error.lineno}: {error.message}",
                hint="it must be Jinja as `transformers` renders it",
            ) from error
        if unknown := sorted(set(self.arguments) - (read - _GIVEN)):
            raise InvalidInput(
                f"the chat template does not read `{unknown[0]}`",
                hint="it reads " + ", ".join(f"`{name}`" for name in sorted(read - _GIVEN)),
            )
        decided = "".join(
            f"{{%- if {name} is not defined %}}{{%- set {name} = {json.dumps(value)} %}}"
            "{%- endif %}"
            for name, value in sorted(self.arguments.items())
        )
        return decided + text


def template_of(manifest: Manifest) -> Template | None:
    """What a manifest decides of its base's template; None if nothing.

    Raises:
        InvalidInput: its file cannot be read.
    """
    table = manifest.base
    if table.chat_template is None and not table.template_arguments:
        return None
    text = None
    if table.chat_template is not None:
        path = (
            place(table.chat_template, manifest.folder)
            if names_template_file(table.chat_template)
            else _KNOWN / f"{table.chat_template}.jinja"
        )
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"`{path}` cannot be read: {error}") from error
        if not text.strip():
            raise InvalidInput(f"`{path}` is empty", hint="write the template into it")
    return Template(text, dict(table.template_arguments))


def template_of_record(table: Mapping[str, Any]) -> Template | None:
    """What a release's `[base]` decided, where that is known without a file of its author's."""
    name, arguments = table.get("chat_template"), table.get("template_arguments") or {}
    if name is not None and name not in TEMPLATES:
        return None
    text = (_KNOWN / f"{name}.jinja").read_text(encoding="utf-8") if name else None
    return Template(text, dict(arguments)) if name or arguments else None


def with_template(original: Path, folder: Path, template: Template) -> None:
    """A checkpoint's files in another folder, beside another template; bytes are shared.

    What closes an answer there is what the base is stopped at, too.
    """
    text = template.applied(chat_template(original))
    folder.mkdir(parents=True)
    for path in sorted(original.iterdir()):
        if not path.is_file() or path.name == TEMPLATE:
            continue
        try:
            os.link(path.resolve(), folder / path.name)
        except OSError:  # another file system
            shutil.copyfile(path, folder / path.name)
    (folder / TEMPLATE).write_text(text, encoding="utf-8")
    stop_at_end(folder)


def _without_marks(text: str) -> str:
    """Without `{% generation %}`, which only `transformers` knows."""
    for mark in ("generation", "endgeneration"):
        for left in ("{%", "{%-"):
            for right in ("%}", "-%}"):
                text = text.replace(f"{left} {mark} {right}", "")
    return text
