"""What a captured request's answer should have been, as far as anybody knows.

Invariant: the first word on an answer counts (a correction, or that it was right), so that what is
said later changes nothing that was counted. An answer that was found right is the reference of both
releases: another wording is then wrong, so metrics are for answers that have one form (codes,
labels, numbers, JSON); for others there are judges and people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from adapterworks.builders.data.rows import ROLES, Message, Row
from adapterworks.builders.evaluation.metrics.metric import Metric
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.exchanges.exchange import Exchange

UP = "up"


def row_of(exchange: Exchange, answer: str, **meta: object) -> Row:
    """The request as a row with an answer."""
    turns: list[Message] = [
        {"role": turn["role"], "content": turn["content"]} for turn in exchange.messages
    ]
    return Row((*turns, {"role": "assistant", "content": answer}), meta)


def reference(exchange: Exchange, metric: Metric) -> tuple[float, Row] | None:
    """When it was known what is right, and the row that says it; None where nobody knows, or the
    metric cannot score against what was said (`refusal`).

    A metric that reads columns alone is given the JSON Schema that the request asked for, if it
    did, and needs nobody's word.
    """
    known = _known(exchange, metric)
    return None if known is None or _refused(metric, known[1]) else known


def refusal(exchange: Exchange, metric: Metric) -> str | None:
    """Why a metric cannot score a request although it is known what is right, or nobody has to say
    it; None where it can, or nobody said it."""
    known = _known(exchange, metric)
    return None if known is None else _refused(metric, known[1])


def _refused(metric: Metric, row: Row) -> str | None:
    if metric.require is None:
        return None
    try:
        metric.require([row])
    except InvalidInput as error:
        return error.message
    return None


def _known(exchange: Exchange, metric: Metric) -> tuple[float, Row] | None:
    if metric.reads_columns:
        return exchange.created, row_of(exchange, "", schema=_schema(exchange))
    for said in sorted(exchange.feedback, key=lambda said: said.created):
        if said.correction is not None:
            return said.created, row_of(exchange, said.correction)
        if said.thumb == UP:
            return said.created, row_of(exchange, exchange.text)
    return None


def readable(exchange: Exchange) -> bool:
    """Whether all of its turns are texts."""
    return all(
        turn.get("role") in ROLES and isinstance(turn.get("content"), str)
        for turn in exchange.messages
    )


def first_of_conversations(found: Iterable[Exchange]) -> Iterator[Exchange]:
    """Those that do not go on from one that was given before: a conversation is one draw."""
    seen: set[tuple[str, str]] = set()
    for one in found:
        before = [at for at, turn in enumerate(one.messages) if turn.get("role") == "assistant"]
        if not any((one.tenant, digest_json(one.messages[:at])) in seen for at in before):
            yield one
        seen.add((one.tenant, digest_json(one.messages)))


def _schema(exchange: Exchange) -> object:
    asked = exchange.request.get("response_format")
    asked = asked.get(str(asked.get("type"))) if isinstance(asked, dict) else None
    return asked.get("schema") if isinstance(asked, dict) else None
