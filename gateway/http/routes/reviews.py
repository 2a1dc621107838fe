"""The review queue: kept answers are judged by people, blind, two of them each.

Invariant: what is shown of an answer before it is judged does not say whose it is.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.capture.answered import answered
from adapterworks.gateway.capture.asked import Word
from adapterworks.gateway.capture.saying import say
from adapterworks.gateway.config.table import Table
from adapterworks.gateway.http.routes.common import (
    answer,
    body_of,
    charge,
    gateway_of,
    receipt_of,
    tenant_of,
    writer_of,
)
from adapterworks.gateway.request.checked import checked
from adapterworks.gateway.request.errors import InvalidField, NoSuchThing
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused
from adapterworks.registry.exchanges import reviews
from adapterworks.registry.exchanges.feedback import NewFeedback
from adapterworks.registry.exchanges.preferences import preferences
from adapterworks.registry.exchanges.reviews import Ballot, Review

_Text = Annotated[str, Field(min_length=1, max_length=100_000)]


class AskedBallot(Table):
    """`POST /v1/reviews`.

    Attributes:
        reviewer: a short name; no address of anybody.
        adapter: answers of this adapter only.
    """

    reviewer: Word
    adapter: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class AskedJudgement(Table):
    """`POST /v1/reviews/{ballot}`.

    Attributes:
        choice: the place of the better answer, or 0 for neither; of one answer 1 or 0.
        correction: what the answer should have been.
    """

    reviewer: Word
    choice: Annotated[int, Field(ge=0, le=2)]
    correction: _Text | None = None


def routes() -> list[Route]:
    """The queue, and what it comes to."""
    return [
        Route("/v1/reviews", outcome, methods=["GET"]),
        Route("/v1/reviews", following, methods=["POST"]),
        Route("/v1/reviews/{ballot}", judge, methods=["POST"]),
    ]


async def following(request: Request) -> Response:
    """`POST /v1/reviews`: what a reviewer is to judge next; `id` is null where nothing waits."""
    tenant = writer_of(request)
    asked = checked(AskedBallot, (await body_of(request)).values)
    store = gateway_of(request).capture.store
    found = await asyncio.to_thread(
        reviews.take, store, tenant.id, asked.reviewer, time.time(), adapter=asked.adapter
    )
    return answer(request, ballot_object(found))


async def judge(request: Request) -> Response:
    """`POST /v1/reviews/{ballot}`: a judgement, and a correction if there is one.

    Raises:
        NoSuchThing: the reviewer was not shown that, or not any more.
        InvalidField: it has no such choice, or the correction cannot be kept.
        Conflict: it was judged otherwise before.
    """
    tenant, store = writer_of(request), gateway_of(request).capture.store
    asked = checked(AskedJudgement, (await body_of(request)).values)
    name = request.path_params["ballot"]
    try:
        review, new = await asyncio.to_thread(
            reviews.judge, store, tenant.id, name, asked.reviewer, asked.choice, time.time()
        )
        said = _said(review, asked)
        if said is not None:
            subject = await asyncio.to_thread(answered, store, tenant.id, review.receipt)
            on_personal = tenant.consent.on_personal if tenant.consent is not None else "redact"
            await asyncio.to_thread(say, store, tenant.id, subject, said, on_personal)
    except NotFound as error:
        raise NoSuchThing(error.message, hint=error.hint) from error
    except InvalidInput as error:
        raise InvalidField(error.message, param="choice", hint=error.hint) from error
    except Refused as error:
        raise InvalidField(error.message, param="correction", hint=error.hint) from error
    headers = receipt_of(request).headers()
    return JSONResponse(review_object(review), status_code=201 if new else 200, headers=headers)


async def outcome(request: Request) -> Response:
    """`GET /v1/reviews`: which release is preferred, and how far reviewers agree."""
    tenant, store = tenant_of(request), gateway_of(request).capture.store
    adapter = request.query_params.get("adapter")
    found = await asyncio.to_thread(reviews.judged, store, tenant=tenant.id, adapter=adapter)
    charge(request, len(found))
    data = [dataclasses.asdict(one) for one in preferences(found)]
    return answer(request, {"object": "list", "data": data})


def ballot_object(found: Ballot | None) -> dict[str, Any]:
    """What is to be judged, in our words; nothing of who answered."""
    if found is None:
        return {"object": "review.ballot", "id": None, "waiting": 0}
    return {
        "object": "review.ballot",
        "id": found.id,
        "waiting": found.waiting,
        "adapter": found.exchange.adapter,
        "messages": found.exchange.messages,
        "answers": list(found.answers),
        "choices": list(found.choices),
    }


def review_object(review: Review) -> dict[str, Any]:
    """A judgement as it is answered: whose the answers are stays unsaid."""
    return {
        "object": "review",
        "id": review.id,
        "reviewer": review.reviewer,
        "choice": review.choice,
        "judged_at": int(review.judged),
    }


def _said(review: Review, asked: AskedJudgement) -> NewFeedback | None:
    """The judgement as feedback on the client's answer: one that was shown alone is right or wrong,
    and a correction is what any answer should have been."""
    alone = not review.shadow
    if not alone and asked.correction is None:
        return None
    right = alone and review.choice == 1 and asked.correction is None
    return NewFeedback(
        reviewer=asked.reviewer,
        thumb="up" if right else "down" if alone else "",
        correction=asked.correction,
        once=review.id,
    )
