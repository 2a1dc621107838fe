"""The rows of a file, a page at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.responses import Response

from adapterworks.gateway.console.inside import next_page, part
from adapterworks.gateway.console.page import Page
from adapterworks.gateway.console.visit import Visit, page

_PAGE = 20


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file.

    Attributes:
        number: from 1.
        turns: role and text of each turn, where it is a conversation that is shown whole.
        text: what else is in it.
        cut: whether it goes on.
    """

    number: int
    turns: tuple[tuple[str, str], ...]
    text: str
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRows(Page):
    """The rows.

    Attributes:
        file: as `/v1/files` has it.
        lines: of this page.
        more: the line after which the next page begins; None if there is none.
    """

    template: ClassVar[str] = "file.html"
    area: ClassVar[str] = "files"
    file: dict[str, Any]
    lines: tuple[Line, ...]
    more: str | None


async def show(visit: Visit) -> Response:
    """`GET /files/{file}`."""
    path = f"/v1/files/{part(visit.request.path_params['file'])}"
    file = await visit.api.get(path)
    found = await visit.api.get(f"{path}/lines", limit=_PAGE, after=visit.asked("after"))
    return visit.show(
        FileRows(
            file=file,
            lines=tuple(line_of(given) for given in found["data"]),
            more=next_page(found),
            commands=(
                "curl -H 'Authorization: Bearer '\"$ADAPTERS_KEY\" "
                f"http://HOST/v1/files/{part(file['id'])}/content",
            ),
        )
    )


def line_of(given: dict[str, Any]) -> Line:
    """A line as it is shown: a conversation by its turns, everything else as it stands."""
    text, cut = str(given["text"]), bool(given["cut"])
    try:
        row = {} if cut else json.loads(text)
    except (ValueError, RecursionError):
        row = {}
    rest = {**row} if isinstance(row, dict) else {}
    messages = rest.pop("messages", None)
    if not isinstance(messages, list) or not all(_is_turn(turn) for turn in messages):
        return Line(given["line"], (), text, cut)
    turns = tuple((turn["role"], turn["content"]) for turn in messages)
    said = json.dumps(rest, ensure_ascii=False) if rest else ""
    return Line(given["line"], turns, said, cut)


def _is_turn(turn: Any) -> bool:
    """Whether a turn is its role and its text, and nothing that would not be seen."""
    return (
        isinstance(turn, dict)
        and turn.keys() == {"role", "content"}
        and all(isinstance(value, str) for value in turn.values())
    )


ROUTES = [page("/files/{file}", show)]
