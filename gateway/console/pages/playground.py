"""One question to the base and to adapters, side by side, each answer with its receipt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.responses import Response

from adapterworks.gateway.console.inside import Answer, Denied, Through
from adapterworks.gateway.console.page import Page, command
from adapterworks.gateway.console.visit import Visit, form_of, page

_PLACES = 3
_MOST_TOKENS = 256
_CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Column:
    """One answer with its receipt; all empty: the form of one, which a script fills in.

    Attributes:
        release, base: digests; empty where there is none.
        proof: the state of the release's proof on an engine; empty for a base.
        error: why there is no answer.
    """

    model: str = ""
    text: str = ""
    release: str = ""
    base: str = ""
    request: str = ""
    proof: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Playground(Page):
    """The form and the answers.

    Attributes:
        models: what can be asked.
        chosen: a name for each of the places, empty where there is none.
        question: what was asked.
        columns: the answers, where no script fills them in.
        blank: what a script begins with.
        most_tokens: of an answer.
    """

    template: ClassVar[str] = "playground.html"
    area: ClassVar[str] = "playground"
    models: tuple[str, ...]
    chosen: tuple[str, ...]
    question: str
    columns: tuple[Column, ...] = ()
    blank: Column = Column()
    most_tokens: int = _MOST_TOKENS


async def show(visit: Visit) -> Response:
    """`GET /playground`; `model` can be named several times."""
    listed = await visit.api.get("/v1/models")
    models = [model["id"] for model in listed["data"]]
    named = [name[:300] for name in visit.request.query_params.getlist("model")]
    return visit.show(_page(visit, models, named or models[:_PLACES], visit.asked("question")))


async def ask(visit: Visit) -> Response:
    """`POST /playground`: the same without a script, the answers whole."""
    form = await form_of(visit.request)
    chosen = [form.get(f"model{place}", "").strip()[:300] for place in range(1, _PLACES + 1)]
    question = form.get("question", "")
    listed = await visit.api.get("/v1/models")
    answers = await asyncio.gather(*(_answer(visit, m, question) for m in chosen if m))
    proofs = proofs_of(await visit.api.get("/v1/engines"))
    columns = tuple(
        column_of(model, answer, proofs)
        for model, answer in zip(filter(None, chosen), answers, strict=True)
    )
    return visit.show(_page(visit, [m["id"] for m in listed["data"]], chosen, question, columns))


def _page(
    visit: Visit,
    models: list[str],
    chosen: list[str],
    question: str | None,
    columns: tuple[Column, ...] = (),
) -> Playground:
    places = tuple((chosen + [""] * _PLACES)[:_PLACES])
    asked = question if question is not None else str(visit.words("playground.example"))
    words = command("adapters", "chat", *filter(None, places), asked)
    return Playground(
        models=tuple(models), chosen=places, question=asked, columns=columns, commands=(words,)
    )


async def _answer(visit: Visit, model: str, question: str) -> Answer:
    values = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": _MOST_TOKENS,
        "temperature": 0,
    }
    return await visit.api.ask("POST", _CHAT, values=values)


def column_of(model: str, answer: Answer, proofs: Mapping[str, str]) -> Column:
    """An answer as it is shown."""
    release = answer.headers.get("x-adapter-digest", "")
    receipt = {
        "model": model,
        "release": release,
        "base": answer.headers.get("x-base-digest", ""),
        "request": answer.headers.get("x-request-id", ""),
        "proof": proofs.get(release, ""),
    }
    if answer.status != 200:
        return Column(**receipt, error=Denied(answer).message)
    content = answer.values["choices"][0]["message"]["content"]
    return Column(**receipt, text=str(content or ""))


def proofs_of(engines: Mapping[str, Any]) -> dict[str, str]:
    """The state of each resident release's proof, by digest."""
    return {
        entry["digest"]: entry["proof"]["state"]
        for engine in engines["data"]
        for entry in engine["adapters"]
        if entry["proof"] is not None
    }


async def stream(visit: Visit) -> Through:
    """`POST /playground/answer`: a script's request, answered by the API as it comes."""
    return visit.api.through(visit.request, _CHAT)


async def engines(visit: Visit) -> Through:
    """`GET /playground/engines`: what a script reads the proofs from."""
    return visit.api.through(visit.request, "/v1/engines")


ROUTES = [
    page("/playground", show),
    page("/playground", ask, method="POST"),
    page("/playground/answer", stream, method="POST"),
    page("/playground/engines", engines),
]
