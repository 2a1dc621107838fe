"""OpenAI's graders in a job and in an eval: as rewards, and as metrics with gates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from adapterworks.manifests.graders import GRADER, Grader
from adapterworks.manifests.importing.conversion import Draft, Note

_READ: TypeAdapter[Grader] = TypeAdapter(Grader)
_SLOT = re.compile(r"\{\{\s*item\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
# What a criterion has beside these is not what it measures: `pass_threshold`, say.
_KEYS = {"type", "name", "operation", "evaluation_metric", "input", "reference"}
# Columns that formats of ours read as something else.
_READ_AS = {"completion": "answer", "prompt": "question"}
_GATE = "a gate asks for a gain on the base, not for a threshold"
_ANSWER = re.compile(r"^\s*\{\{\s*sample\.output_text\s*\}\}\s*$")
_ASKS = "it asks a model: `adapters eval --judge` does"
_ELSEWHERE = {
    "python": "it runs code: the metric `unit_tests` runs Python in a sandbox",
    "score_model": _ASKS,
    "label_model": _ASKS,
}
_NOT_A_REWARD = {"label_model": "it asks a model for a label: `score_model` asks for a number"}
_JUDGE = "https://api.openai.com/v1"
# What a criterion of an eval measures, as a metric of ours.
_METRICS = {("string_check", "eq"): "exact_match", ("text_similarity", "rouge_l"): "rouge_l",
            ("text_similarity", "bleu"): "bleu"}  # fmt: skip


def put_grader(draft: Draft, key: str, answer: str | None) -> None:
    """A reinforcement's grader as `objective.graders`.

    Args:
        answer: the column that is each row's own answer here, `item.answer`.
    """
    given = draft.get(key)
    if not isinstance(given, Mapping):
        draft.refuse(key, "there is none, and nothing else says what an answer is worth")
        return
    values = _named(_with_answer(given, answer))
    parts = values.get("graders")
    if isinstance(parts, Mapping):
        if isinstance(parts.get("type"), str):
            parts = {_slug(parts.get("name")): parts}
        values["graders"] = {
            str(name): _named(part) if isinstance(part, Mapping) else part
            for name, part in parts.items()
        }
    leaves = [
        one for one in (values, *(values.get("graders") or {}).values()) if isinstance(one, dict)
    ]
    for one in leaves:
        kind = str(one.get("type"))
        if kind in _NOT_A_REWARD:
            draft.refuse(key, f"`{kind}` has no equivalent: {_NOT_A_REWARD[kind]}")
            return
        _as_ours(one)
    try:
        _READ.validate_json(json.dumps(values))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part)[:40] for part in fault["loc"])
        draft.refuse(key, f"{place}: {fault['msg'].removeprefix('Value error, ')}")
        return
    asked = [str(one["model"]) for one in leaves if one.get("type") == "score_model"]
    if asked:
        draft.map(
            key,
            "objective.judge",
            {"endpoint": f"{_JUDGE}#{asked[0]}", "kind": "graders"},
            why="asked at OpenAI, with the key in OPENAI_API_KEY: name another address in "
            "`objective.judge.endpoint` where it is not to be",
            differs=True,
        )
    draft.map(key, "objective.graders", [values])


def _as_ours(leaf: dict[str, Any]) -> None:
    """A grader's turns as texts; without what only says where OpenAI runs it."""
    leaf.pop("image_tag", None)
    turns = leaf.get("input")
    if leaf.get("type") == "score_model" and isinstance(turns, list):
        leaf["input"] = [
            {**turn, "content": turn["content"].get("text")}
            if isinstance(turn, dict) and isinstance(turn.get("content"), dict)
            else turn
            for turn in turns
        ]


def put_criteria(
    draft: Draft, evals: Sequence[Mapping[str, Any]], *, judged: bool, columns: Sequence[str]
) -> None:
    """The criteria of evals as metrics and gates, each with a note.

    Args:
        judged: whether there are rows that gates can judge on.
        columns: of these rows.
    """
    metrics: list[str] = []
    graders: dict[str, dict[str, Any]] = {}
    for one in evals:
        criteria = one.get("testing_criteria")
        for number, criterion in enumerate(criteria if isinstance(criteria, list) else []):
            key = f"{str(one.get('id') or one.get('name'))[:60]}.testing_criteria[{number}]"
            metric, why = _metric(criterion)
            to = ["evaluate.metrics", *(["evaluate.gates"] if judged else [])]
            if metric is None and not why:
                grader, why = _grader(criterion, columns)
                if grader is not None:
                    name = _free(grader["name"], graders)
                    graders[name] = {**grader, "name": name}
                    metric, to = f"{GRADER}{name}", ["evaluate.graders", *to]
            if metric is None:
                draft.notes.append(Note(key, _kind(criterion), "no effect", why=why))
                continue
            metrics += [metric] if metric not in metrics else []
            draft.notes.append(Note(key, _kind(criterion), "differs", tuple(to), why))
    if graders:
        draft.put("evaluate.graders", list(graders.values()))
    if metrics:
        draft.put("evaluate.metrics", metrics)
        if judged:
            draft.put("evaluate.gates", [{"metric": name, "against": "base"} for name in metrics])


def _metric(criterion: Any) -> tuple[str | None, str]:
    """A metric of ours that measures the same; neither it nor a reason where a grader may."""
    if not isinstance(criterion, Mapping):
        return None, "no equivalent: it is no table"
    kind = _kind(criterion)
    if kind in _ELSEWHERE:
        return None, f"no equivalent: {_ELSEWHERE[kind]}"
    what = str(criterion.get("operation" if kind == "string_check" else "evaluation_metric"))
    found = _METRICS.get((kind, what))
    whole = _ANSWER.match(str(criterion.get("input"))) is not None
    if found is None or not whole or not _SLOT.fullmatch(str(criterion.get("reference")).strip()):
        return None, ""
    return found, f"against each row's own answer; {_GATE}"


def _grader(criterion: Any, columns: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """A criterion as one of `evaluate.graders`, or why there is no equivalent."""
    values = _named({key: value for key, value in criterion.items() if key in _KEYS})
    lacking: list[str] = []
    answer = str(values.get("reference")).strip()

    def here(slot: re.Match[str]) -> str:
        name = slot[1]
        if name in columns and name not in _READ_AS:
            return slot[0]
        if name in _READ_AS or slot[0] == answer:
            return f"{{{{item.{_READ_AS.get(name, 'answer')}}}}}"
        lacking.append(name)
        return slot[0]

    for key in ("input", "reference"):
        if isinstance(values.get(key), str):
            values[key] = _SLOT.sub(here, values[key])
    if lacking:
        return None, f"no equivalent: the rows have no column `{lacking[0][:40]}`"
    try:
        read = _READ.validate_python(values)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part)[:40] for part in fault["loc"])
        return None, f"no equivalent: {place}: {fault['msg'].removeprefix('Value error, ')}"
    return read.model_dump(mode="json"), f"the mean of its scores; {_GATE}"


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name, with a number where another criterion has it."""
    names = (name, *(f"{name[:60]}_{number}" for number in range(2, len(taken) + 3)))
    return next(one for one in names if one not in taken)


def _kind(criterion: Any) -> str:
    return str(criterion.get("type"))[:40] if isinstance(criterion, Mapping) else ""


def _with_answer(given: Mapping[str, Any], answer: str | None) -> dict[str, Any]:
    """With the row's own answer under its own name."""
    text = json.dumps(given)
    if answer is not None:
        text = re.sub(r"\{\{\s*item\." + re.escape(answer) + r"\s*\}\}", "{{item.answer}}", text)
    values: dict[str, Any] = json.loads(text)
    return values


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, "name": _slug(values.get("name"))}


def _slug(name: Any) -> str:
    word = re.sub(r"[^A-Za-z0-9_]+", "_", str(name or "grader"))[:64]
    return word if re.match(r"[A-Za-z_]", word) else f"_{word}"[:64]
