"""Graders tried on one answer: models of this gateway asked for them, code run in a sandbox.

Invariants:
- a model is asked as by its tenant itself: it must be one that the tenant may use, within its
  limits, and the tokens are its own, metered under the run's request id with a number behind it;
- code is run in the sandbox that rewards are computed in, or not at all;
- nobody is paid for a run that is refused: code is run, and all is computed once, before a model
  is asked;
- what computes runs in a thread, a few at a time, code in a line of its own: nobody's stream waits
  for somebody's grader, and no tenant's for all of another's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.types import Message

from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.graders import AskedRun, Labels, Read, Run, read_grader, run_object
from adapterworks.gateway.jobs.grading_line import GradingLine
from adapterworks.gateway.request.body import parse_body
from adapterworks.gateway.request.collected import collected
from adapterworks.gateway.request.endpoints import ENDPOINTS, parse
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.request.exchange import Exchange
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.usage import Counts, Unusable, read_counts
from adapterworks.gateway.residency.resolve import missing
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.endings import ending_of
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.graders import Graded, ScoreModel, columns_of
from adapterworks.manifests.grading import Grading, Item, Question, Ran

_log = logging.getLogger(__name__)
# Of the wall's clock, for all code of a run together.
_CODE_S = 10.0
_CHAT = next(one for one in ENDPOINTS if one.path == "/v1/chat/completions")
_LABEL = re.compile(r"^\W*label\W*?[:=]\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, or why it said nothing.

    Attributes:
        said: what an engine answered instead of a completion.
        cut: it had more to say than it might.
        sampled: the release or base.
    """

    text: str = ""
    said: str | None = None
    refused: bool = False
    cut: bool = False
    prompt: int = 0
    completion: int = 0
    sampled: str | None = None


class Graders:
    """Runs graders, a few at a time.

    Args:
        python: whether callers' code is run at all.
    """

    def __init__(self, grading: Grading, *, python: bool = True) -> None:
        self._grading, self._python = grading, python
        self._codes, self._lines = GradingLine(), GradingLine()

    async def read(self, gateway: Gateway, tenant: Tenant, given: dict[str, Any]) -> Read:
        """A grader that can be run for this tenant.

        Raises:
            InvalidField: it has a fault, asks a model that the tenant may not use, or has code
                where none is run.
        """
        read = await asyncio.to_thread(read_grader, given)  # long code is read for a while
        if read.code:
            await self._require_sandbox()
        for leaf in read.models.values():
            try:
                target = await gateway.resolver.target(leaf.model, tenant.id)
                if not tenant.may_use(target.access):
                    raise missing(leaf.model)
            except NotFound as error:
                raise InvalidField(
                    error.message, param="grader", hint="name a model that this gateway serves you"
                ) from error
        return read

    async def run(
        self, gateway: Gateway, tenant: Tenant, receipt: Receipt, asked: AskedRun
    ) -> dict[str, Any]:
        """The answer's worth, as it is answered.

        Raises:
            InvalidField: as `read`; or the texts are too long for the grader.
            RateLimited: the tenant's limits, where a model is asked or code is run.
            Unavailable: too many wait already, or a model's engine is away.
        """
        began = time.monotonic()
        read = await self.read(gateway, tenant, asked.grader)
        ran, found = Run(), _lacking(read, asked.item)
        if found is None:
            try:
                questions = self._questions(read, asked)
                await self._run_codes(gateway, tenant, read, asked, ran)
                self._lines.require_room(tenant.id)
                if questions:  # what cannot be computed costs nothing
                    nothing = dict.fromkeys(questions, 0.0)
                    await self._computed(tenant, read, asked, {**ran.values, **nothing})
                await self._ask_models(gateway, tenant, receipt, read, questions, ran)
                found = await self._computed(tenant, read, asked, ran.values)
            except InvalidInput as error:
                raise InvalidField(error.message, param="grader", hint=error.hint) from error
        return run_object(asked.grader, found, ran, time.monotonic() - began)

    async def _require_sandbox(self) -> None:
        why = "whoever runs it has turned that off"
        if self._python:
            # Found out once: it starts a process.
            refusal = await asyncio.to_thread(self._grading.refusal)
            if refusal is None:
                return
            _log.warning("there is no sandbox for code of graders: %s", refusal)
            why = "there is no sandbox on its machine"
        raise InvalidField(
            f"a `python` grader is not run by this gateway: {why}",
            param="grader",
            hint="ask whoever runs it (`[jobs] python_graders`, and bubblewrap beside it), or use "
            "another kind of grader",
        )

    def _questions(self, read: Read, asked: AskedRun) -> dict[str, Question]:
        """What each model is asked, by its grader's name."""
        found = {}
        for name, leaf in read.models.items():
            labels = read.labels.get(name)
            words = labels.labels if labels is not None else ()
            found[name] = self._grading.question(leaf, asked.model_sample, asked.item, words)
        return found

    async def _ask_models(
        self,
        gateway: Gateway,
        tenant: Tenant,
        receipt: Receipt,
        read: Read,
        questions: Mapping[str, Question],
        ran: Run,
    ) -> None:
        for number, (name, question) in enumerate(questions.items(), 1):
            leaf, labels = read.models[name], read.labels.get(name)
            own = Receipt(request_id=f"{receipt.request_id}-{number}", key_id=receipt.key_id)
            reply = await _reply(gateway, tenant, own, leaf.model, question)
            value = self._read_reply(leaf, labels, reply)
            ran.values[name] = value or 0.0
            ran.failed = ran.failed or reply.said
            ran.refused |= reply.refused
            lost = value is None and reply.said is None and not reply.refused
            ran.no_score |= lost
            ran.cut |= lost and reply.cut
            ran.sampled = ran.sampled or reply.sampled
            prompt, completion = ran.tokens.get(leaf.model, (0, 0))
            ran.tokens[leaf.model] = prompt + reply.prompt, completion + reply.completion

    def _read_reply(self, leaf: ScoreModel, labels: Labels | None, reply: Reply) -> float | None:
        if reply.said is not None or reply.refused:
            return None
        if labels is None:
            return self._grading.score(leaf, reply.text)
        label = read_label(reply.text, labels)
        return None if label is None else float(label in labels.passing_labels)

    async def _run_codes(
        self, gateway: Gateway, tenant: Tenant, read: Read, asked: AskedRun, ran: Run
    ) -> None:
        """Run the code, as one request of the tenant's, when it is its turn."""
        if not read.code:
            return
        self._codes.require_room(tenant.id)
        permit = await gateway.limiter.admit(tenant, model="python grader", estimated_tokens=0)
        try:
            await self._codes.run(tenant.id, partial(self._run_code, read, asked, ran))
        finally:
            permit.settle(0, 0)
            permit.release()

    def _run_code(self, read: Read, asked: AskedRun, ran: Run) -> None:
        until = time.monotonic() + _CODE_S
        for name, leaf in read.code.items():
            gave, left = Ran(None), until - time.monotonic()
            if left > 0:
                gave = self._grading.run(leaf, asked.model_sample, asked.item, left)
            why = gave.why
            if gave.value is None and time.monotonic() >= until:
                why = f"all code of a grader together may take {_CODE_S:.0f} s, and it took longer"
            ran.values[name] = 0.0 if gave.value is None else gave.value
            if gave.value is None:
                ran.raised = ran.raised or why

    async def _computed(
        self, tenant: Tenant, read: Read, asked: AskedRun, values: Mapping[str, float]
    ) -> Graded:
        """Compute what neither models nor code give, and the formula, when it is its turn."""
        grade = partial(self._grading.grade, read.grader, asked.model_sample, asked.item, values)
        return await self._lines.run(tenant.id, grade)


def read_label(text: str, labels: Labels) -> str | None:
    """The label of the last line that names one, or that is the whole text; None if none is."""
    said = [one.strip().strip("`\"'*.").strip() for one in (*_LABEL.findall(ending_of(text)), text)]
    known = {label.casefold(): label for label in labels.labels}
    named = [known[one.casefold()] for one in said if one.casefold() in known]
    return named[-1] if named else None


def _lacking(read: Read, item: Item) -> Graded | None:
    """Worth nothing, where a column is not there: before anybody is asked."""
    for column in columns_of(read.grader):
        if item.get(column) is None:
            return Graded(0.0, fault="column", why=f"`item` has no column `{column}`")
    return None


async def _reply(
    gateway: Gateway, tenant: Tenant, receipt: Receipt, model: str, question: Question
) -> Reply:
    """A model's answer, by the path of any request of the tenant's."""
    body = {
        "model": model,
        "messages": list(question.messages),
        "max_tokens": question.max_tokens,
        "temperature": question.temperature,
        "top_p": question.top_p,
        "seed": question.seed,
    }
    call = parse(_CHAT, parse_body(json.dumps(body).encode()))
    never = asyncio.Event()

    async def receive() -> Message:
        await never.wait()
        return {"type": "http.disconnect"}

    exchange = Exchange(gateway, call, tenant, receipt, Headers())
    status, raw = await collected(exchange, receive)
    answer = from_json(raw)
    sampled = receipt.target.ref if receipt.target is not None else None
    if status != 200:
        error = answer.get("error") if isinstance(answer, dict) else None
        said = error.get("message") if isinstance(error, dict) else None
        return Reply(said=str(said or f"the engine answered {status}"), sampled=sampled)
    counts = Counts(0, 0)
    with contextlib.suppress(Unusable):  # charged at its most
        counts = read_counts(answer.get("usage"))
    try:
        choice = answer["choices"][0]
        message, why = choice["message"], choice.get("finish_reason")
        text, refusal = message.get("content"), message.get("refusal")
    except (LookupError, TypeError, AttributeError):
        said = "the engine's answer cannot be read"
        return Reply(said=said, prompt=counts.prompt, completion=counts.completion, sampled=sampled)
    return Reply(
        text=text if isinstance(text, str) else "",
        refused=bool(refusal) or why == "content_filter",
        cut=why == "length",
        prompt=counts.prompt,
        completion=counts.completion,
        sampled=sampled,
    )
