"""What a base's chat template makes of a few conversations, without its tokenizer.

Whoever serves the base elsewhere can be asked whether it does the same. The conversations are such
that templates of one family differ on them: a system turn, none, blanks at the ends, other scripts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from adapterworks.registry.bases.files import chat_template

Turns = Sequence[Mapping[str, str]]
_USER = {"role": "user", "content": "What is ICD-10 code I21?"}
CONVERSATIONS: tuple[Turns, ...] = (
    (_USER,),
    ({"role": "system", "content": "Answer in one word."}, _USER),
    (_USER, {"role": "assistant", "content": "Infarction."}, {"role": "user", "content": "还有？"}),
    ({"role": "user", "content": "  two lines\nand blanks \n"},),
)


@dataclass(frozen=True, slots=True)
class Rendering:
    """A conversation, and its text up to where the answer begins.

    Attributes:
        dated: the template writes the day, which is another one elsewhere now and then.
    """

    turns: Turns
    text: str
    dated: bool = False


def renderings(checkpoint: Path) -> tuple[Rendering, ...]:
    """Those conversations that the template takes; none where there is no template or it fails."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    text = chat_template(checkpoint)
    if not text:
        return ()
    # As `transformers` sets it up.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    found = []
    try:
        template = environment.from_string(_without_marks(text))
    except TemplateError:
        return ()
    for turns in CONVERSATIONS:
        try:
            rendered = template.render(
                messages=[dict(turn) for turn in turns],
                add_generation_prompt=True,
                tools=None,
                documents=None,
                **_special_tokens(checkpoint),
            )
        except (TemplateError, TypeError, ValueError, LookupError):  # it takes no such roles, say
            continue
        found.append(Rendering(turns, rendered, dated="strftime_now" in text))
    return tuple(found)


def _special_tokens(checkpoint: Path) -> dict[str, str]:
    """Such as `bos_token`, by name."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = checkpoint / name
        if not path.exists():
            continue
        for key, value in json.loads(path.read_text(encoding="utf-8")).items():
            token = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(token, str):
                found[key] = token
    return found


def _without_marks(text: str) -> str:
    """With `{% generation %}`, which only `transformers` knows, as a block that says nothing."""
    text = re.sub(r"(\{%[-+]?\s*)generation(\s*[-+]?%\})", r"\1if true\2", text)
    return re.sub(r"(\{%[-+]?\s*)endgeneration(\s*[-+]?%\})", r"\1endif\2", text)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)
