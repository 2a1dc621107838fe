"""OpenAI's graders as its clients send them: read within bounds, and what is answered of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from adapterworks.gateway.config.table import Table
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.manifests.graders import Graded, Grader, PythonGrader, ScoreModel, leaves_of

MOST_ANSWER = 100_000
MOST_COLUMNS = 1_000
# Of all its texts together: code that is read for longer would hold up others.
MOST_GRADER = 128_000
_SAID = 500
_KNOWN = (
    "`string_check`, `text_similarity`, `python`, `score_model`, `label_model` and `multi` "
    "are there"
)
_READ: TypeAdapter[Grader] = TypeAdapter(Grader)
_Label = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\n`]+$")]


class AskedValidation(Table):
    """`POST /v1/fine_tuning/alpha/graders/validate`."""

    grader: dict[str, Any]


class AskedRun(Table):
    """`POST /v1/fine_tuning/alpha/graders/run`."""

    grader: dict[str, Any]
    model_sample: Annotated[str, Field(max_length=MOST_ANSWER)]
    item: Annotated[dict[str, Any], Field(max_length=MOST_COLUMNS, default_factory=dict)]


class Labels(Table):
    """The labels of a `label_model`, and which of them are worth 1."""

    labels: Annotated[tuple[_Label, ...], Field(min_length=1, max_length=100)]
    passing_labels: Annotated[tuple[_Label, ...], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _among_them(self) -> Labels:
        if strange := set(self.passing_labels) - set(self.labels):
            raise ValueError(f"`passing_labels` has `{min(strange)}`, which is none of `labels`")
        return self


@dataclass(frozen=True, slots=True)
class Read:
    """A grader that was sent.

    Attributes:
        grader: as a manifest has it; a `label_model` is a `score_model` from 0 to 1 there.
        labels: of each `label_model`, by its name in a formula, else "".
    """

    grader: Grader
    labels: Mapping[str, Labels]

    @property
    def models(self) -> dict[str, ScoreModel]:
        """Those that ask a model, by name."""
        leaves = leaves_of(self.grader).items()
        return {name: leaf for name, leaf in leaves if isinstance(leaf, ScoreModel)}

    @property
    def code(self) -> dict[str, PythonGrader]:
        """Those that run code, by name."""
        leaves = leaves_of(self.grader).items()
        return {name: leaf for name, leaf in leaves if isinstance(leaf, PythonGrader)}


@dataclass(slots=True)
class Run:
    """What came of asking models and running code.

    Attributes:
        values: by name; 0 where there is a fault.
        no_score, refused, cut: what was wrong with models' answers: no number or label, none was
            given, or it was too long.
        failed: what an engine said instead of an answer.
        raised: what was wrong with code.
        tokens: prompt and completion, by model.
        sampled: the release or base that answered, of the first model.
    """

    values: dict[str, float] = field(default_factory=dict)
    no_score: bool = False
    refused: bool = False
    cut: bool = False
    failed: str | None = None
    raised: str | None = None
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)
    sampled: str | None = None


def read_grader(given: Mapping[str, Any]) -> Read:
    """A grader as OpenAI's clients send it.

    `name` is any text. `graders` of a `multi` is a table by the formula's names, as OpenAI's guide
    has it, or one grader, as its client's type has it. A turn's content is a text, or a block of
    one. `image_tag` only says where OpenAI would run code.

    Raises:
        InvalidField: it has a fault, or is too long.
    """
    if _letters(given) > MOST_GRADER:
        raise InvalidField(
            f"`grader` has more than {MOST_GRADER:,} characters of text",
            param="grader",
            hint="leave out what an answer is not judged by",
        )
    values, labels = _leaf(given), dict[str, Labels]()
    if values.get("type") == "multi" and isinstance(values.get("graders"), dict):
        parts = values["graders"]
        if isinstance(parts.get("type"), str):
            parts = {_slug(parts.get("name")): parts}
        values["graders"] = {
            name: _leaf(part) if isinstance(part, dict) else part for name, part in parts.items()
        }
        leaves = [(n, part) for n, part in values["graders"].items() if isinstance(part, dict)]
    else:
        leaves = [("", values)]
    try:
        for name, leaf in leaves:
            if leaf.get("type") == "label_model":
                labels[name] = _labels(leaf)
        return Read(_READ.validate_python(values), labels)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        said = (values.get("type"), *(leaf.get("type") for _, leaf in leaves))
        kinds = {kind for kind in said if isinstance(kind, str)}
        place = ".".join(str(part)[:64] for part in fault["loc"] if part not in kinds)
        message = fault["msg"].removeprefix("Value error, ")
        raise InvalidField(
            f"`{'.'.join(filter(None, ('grader', place)))}`: {message}",
            param="grader",
            hint=_KNOWN,
        ) from error


def _letters(value: Any) -> int:
    """Characters of all texts in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(key) + _letters(one) for key, one in value.items())
    return sum(map(_letters, value)) if isinstance(value, list | tuple) else 0


def _labels(leaf: dict[str, Any]) -> Labels:
    """The labels, taken out of a grader that is a `score_model` from then on.

    Raises:
        ValidationError: they have a fault.
    """
    taken = {key: leaf.pop(key) for key in ("labels", "passing_labels") if key in leaf}
    labels = Labels.model_validate(
        {key: tuple(value) if isinstance(value, list) else value for key, value in taken.items()}
    )
    leaf["type"] = "score_model"
    return labels


def _leaf(given: Mapping[str, Any]) -> dict[str, Any]:
    """With a name of the alphabet that ours have, and in their form."""
    name = given.get("name")
    values = {**given, "name": _slug(name)} if isinstance(name, str) and name else {**given}
    if values.get("type") == "python":
        values.pop("image_tag", None)
    if values.get("type") in ("score_model", "label_model"):
        if isinstance(values.get("input"), list):
            values["input"] = tuple(_turn(turn) for turn in values["input"])
        if isinstance(values.get("range"), list):
            values["range"] = tuple(values["range"])
        if values.get("range", 0) is None:
            values.pop("range")
    return values


def _turn(turn: Any) -> Any:
    """A turn whose content is a text."""
    if not isinstance(turn, dict):
        return turn
    values = {key: value for key, value in turn.items() if (key, value) != ("type", "message")}
    content = values.get("content")
    blocks = [content] if isinstance(content, dict) else content
    if isinstance(blocks, list):
        texts = [one.get("text") if isinstance(one, dict) else one for one in blocks]
        if all(isinstance(text, str) for text in texts):
            values["content"] = "\n".join(map(str, texts))
    return values


def _slug(name: Any) -> str:
    word = re.sub(r"[^A-Za-z0-9_]+", "_", str(name))[:64]
    return word if re.match(r"[A-Za-z_]", word) else f"_{word}"[:64]


def run_object(given: Mapping[str, Any], found: Graded, ran: Run, seconds: float) -> dict[str, Any]:
    """A run as it is answered.

    Args:
        given: the grader as it came.
        seconds: that it took.
    """
    parts = dict(found.parts)
    usage = {
        model: {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        for model, (prompt, completion) in ran.tokens.items()
    }
    return {
        "reward": found.reward,
        "metadata": {
            "name": given["name"],
            "type": given["type"],
            "errors": {
                "formula_parse_error": False,
                "invalid_variable_error": found.fault == "column",
                "model_grader_parse_error": ran.no_score,
                "model_grader_refusal_error": ran.refused,
                "model_grader_server_error": ran.failed is not None,
                "model_grader_server_error_details": ran.failed and ran.failed[:_SAID],
                "other_error": found.fault == "formula",
                "python_grader_runtime_error": ran.raised is not None,
                "python_grader_runtime_error_details": ran.raised and ran.raised[:_SAID],
                "python_grader_server_error": False,
                "python_grader_server_error_type": None,
                "sample_parse_error": False,
                "truncated_observation_error": ran.cut,
                "unresponsive_reward_error": False,
            },
            "execution_time": seconds,
            "sampled_model_name": ran.sampled,
            "scores": parts,
            "token_usage": sum(map(sum, ran.tokens.values())) if ran.tokens else None,
        },
        "sub_rewards": parts,
        "model_grader_token_usage_per_model": usage,
    }
