"""OpenAI's graders, tried on one answer: what is asked, within bounds, and what is answered.

What an answer is worth is computed by what the gateway was composed with (`Gateway.grade`), in a
thread, a few at a time: nobody's stream waits for somebody's table of words.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from adapterworks.gateway.config.table import Table
from adapterworks.gateway.gateway import Grade
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.manifests.graders import Graded, Grader

MOST_ANSWER = 100_000
MOST_COLUMNS = 1_000
_AT_ONCE = 2
_MOST_WAITING = 16
_AGAIN_S = 1.0
_ELSEWHERE = {
    "python": "would run a caller's code, which a gateway never does",
    "score_model": "asks another model, which is not declared here",
    "label_model": "asks another model, which is not declared here",
}
_KNOWN = "`string_check`, `text_similarity` and `multi` are there"
_READ: TypeAdapter[Grader] = TypeAdapter(Grader)


class AskedValidation(Table):
    """`POST /v1/fine_tuning/alpha/graders/validate`."""

    grader: dict[str, Any]


class AskedRun(Table):
    """`POST /v1/fine_tuning/alpha/graders/run`."""

    grader: dict[str, Any]
    model_sample: Annotated[str, Field(max_length=MOST_ANSWER)]
    item: Annotated[dict[str, Any], Field(max_length=MOST_COLUMNS, default_factory=dict)]


class Graders:
    """Runs graders, a few at a time.

    Args:
        grade: what an answer is worth; called in a thread.
    """

    def __init__(self, grade: Grade) -> None:
        self._grade = grade
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def run(self, asked: AskedRun) -> dict[str, Any]:
        """The answer's worth, as it is answered.

        Raises:
            InvalidField: the grader is none that is run here, or the texts are too long for it.
            Unavailable: too many wait already.
        """
        grader = read_grader(asked.grader)
        if self._waiting >= _MOST_WAITING:
            raise Unavailable("too many graders wait to be run", retry_after=_AGAIN_S)
        self._waiting += 1
        try:
            async with self._turns:
                began = time.monotonic()
                found = await asyncio.to_thread(self._grade, grader, asked.model_sample, asked.item)
        except InvalidInput as error:
            raise InvalidField(error.message, param="grader", hint=error.hint) from error
        finally:
            self._waiting -= 1
        return _answer(asked.grader, found, time.monotonic() - began)


def read_grader(given: Mapping[str, Any]) -> Grader:
    """A grader as OpenAI's clients send it.

    `name` is any text. `graders` of a `multi` is a table by the formula's names, as OpenAI's guide
    has it, or one grader, as its client's type has it.

    Raises:
        InvalidField: it has a fault, or is of a kind that is not run here.
    """
    values = _named(given)
    if values.get("type") == "multi" and isinstance(values.get("graders"), dict):
        parts = values["graders"]
        if isinstance(parts.get("type"), str):
            parts = {_slug(parts.get("name")): parts}
        values["graders"] = {
            name: _named(part) if isinstance(part, dict) else part for name, part in parts.items()
        }
    leaves = [values, *_parts(values)]
    for leaf in leaves:
        _refuse_elsewhere(leaf)
    try:
        return _READ.validate_python(values)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        kind = values.get("type")
        place = ".".join(str(part)[:64] for part in fault["loc"] if part != kind)
        message = fault["msg"].removeprefix("Value error, ")
        raise InvalidField(
            f"`{'.'.join(filter(None, ('grader', place)))}`: {message}",
            param="grader",
            hint=_KNOWN,
        ) from error


def _parts(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    graders = values.get("graders")
    listed = graders.values() if isinstance(graders, dict) else ()
    return [part for part in listed if isinstance(part, dict)]


def _refuse_elsewhere(leaf: Mapping[str, Any]) -> None:
    kind = leaf.get("type")
    if isinstance(kind, str) and kind in _ELSEWHERE:
        raise InvalidField(
            f"a `{kind}` grader {_ELSEWHERE[kind]}",
            param="grader",
            hint=_KNOWN + "; a build has `score_model` with a judge, and `python` in a sandbox",
        )


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """With a name of the alphabet that ours have."""
    name = values.get("name")
    return {**values, "name": _slug(name)} if isinstance(name, str) and name else {**values}


def _slug(name: Any) -> str:
    word = re.sub(r"[^A-Za-z0-9_]+", "_", str(name))[:64]
    return word if re.match(r"[A-Za-z_]", word) else f"_{word}"[:64]


def _answer(given: Mapping[str, Any], found: Graded, seconds: float) -> dict[str, Any]:
    parts = dict(found.parts)
    return {
        "reward": found.reward,
        "metadata": {
            "name": given["name"],
            "type": given["type"],
            "errors": {
                "formula_parse_error": False,
                "invalid_variable_error": found.fault == "column",
                "model_grader_parse_error": False,
                "model_grader_refusal_error": False,
                "model_grader_server_error": False,
                "model_grader_server_error_details": None,
                "other_error": found.fault == "formula",
                "python_grader_runtime_error": False,
                "python_grader_runtime_error_details": None,
                "python_grader_server_error": False,
                "python_grader_server_error_type": None,
                "sample_parse_error": False,
                "truncated_observation_error": False,
                "unresponsive_reward_error": False,
            },
            "execution_time": seconds,
            "sampled_model_name": None,
            "scores": parts,
            "token_usage": None,
        },
        "sub_rewards": parts,
        "model_grader_token_usage_per_model": {},
    }
