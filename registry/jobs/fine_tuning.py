"""What a fine-tuning job was asked for, and the manifest it stands for.

Invariant: the manifest is a function of the job's arguments and of nothing else, so that whoever
builds it (a worker, or a person with `adapters build`) makes the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable
from adapterworks.manifests.graders import GRADER

# What a job begins with where `[jobs] template` says nothing else.
START: dict[str, Any] = {"method": {"kind": "lora"}}
# What a template may say of an objective: how a training on sampled answers is watched.
_WATCHED = "alarms"
# What the job itself decides; a template that names one of these would be overruled unseen.
OWN = (
    ("adapter", "name"), ("base",), ("data", "train"), ("data", "validation"), ("data", "test"),
    ("data", "format"), ("train", "seed"), ("objective",), ("publish", "alias"), ("start",),
)  # fmt: skip


class Rows(BaseModel):
    """A file of rows, as it was when the job was created."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    file: str
    blob: str
    kind: str

    @property
    def path(self) -> str:
        """What the file is called beside the manifest: by its bytes, so that equal rows are one."""
        return f"rows-{self.blob.removeprefix('sha256:')[:16]}.jsonl"


class Start(BaseModel):
    """A release of the tenant's own whose training is continued.

    Attributes:
        ref: `NAME@VERSION`.
        method: its `[method]`, by which alone its weights mean anything.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    ref: str
    method: dict[str, Any]


class Asked(BaseModel):
    """The arguments of a job of kind `fine_tuning`; a number that is None is left to the plan.

    Attributes:
        name: of the adapter.
        base, quantization, base_digest: what it is trained on and served with.
        method: as the client calls it; `beta` belongs to one of them.
        compute_multiplier: of the answers that are sampled to a prompt.
        grader: what a sampled answer is worth, as a manifest has it; `asked_grader` is as the
            client sent it.
        answer: the column that is each row's own answer, where rows have columns.
        start: what is continued; a new adapter on the base without it.
        integrations: trackers that are told the metrics, as the client sees them.
        template: tables that every job of the gateway begins from.
        who: for the registry's log.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: str
    model: str
    base: str
    quantization: str
    base_digest: str
    method: str
    seed: int
    training: Rows
    validation: Rows | None = None
    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    beta: float | None = None
    compute_multiplier: float | None = None
    grader: dict[str, Any] | None = None
    asked_grader: dict[str, Any] | None = None
    answer: str | None = None
    start: Start | None = None
    integrations: tuple[dict[str, Any], ...] = ()
    template: dict[str, Any] = {}
    who: str = ""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of OpenAI's in this project's words.

    Attributes:
        objective: what is learnt; empty where that is what a manifest learns by default.
        kinds: of rows that it takes → their format.
    """

    objective: str
    kinds: Mapping[str, str]


REINFORCEMENT = "reinforcement"
# Answers sampled to a prompt, of which `compute_multiplier` is a multiple, and their bounds.
_GENERATIONS, _FEWEST, _MOST = 8, 2, 256
# What a manifest is measured by unless it says something else.
_METRICS: tuple[str, ...] = EvaluateTable.model_fields["metrics"].default

METHODS: dict[str, Method] = {
    "supervised": Method("", {"supervised": "messages", "completion": "prompt-completion"}),
    "dpo": Method("dpo", {"paired": "openai-preference"}),
    REINFORCEMENT: Method("grpo", {REINFORCEMENT: "openai-reinforcement"}),
}


def manifest_values(asked: Asked, usual_rate: Callable[[str], float]) -> dict[str, Any]:
    """The manifest's tables.

    Args:
        usual_rate: a method's kind → its usual learning rate, which multipliers are of.
    """
    method = METHODS[asked.method]
    values = merged(START, asked.template)
    watched = values.get("objective", {}).get(_WATCHED)
    for path in OWN:
        table = values
        for key in path[:-1]:
            table = table.setdefault(key, {})
        table.pop(path[-1], None)
    values["adapter"] = {**values.get("adapter", {}), "name": asked.name}
    values["base"] = {"model": asked.base, "quantization": asked.quantization}
    if asked.start is not None:
        values["start"] = {"from": asked.start.ref}
        values["method"] = dict(asked.start.method)
    data = values.setdefault("data", {})
    data["train"] = asked.training.path
    data["format"] = method.kinds[asked.training.kind]
    train = values.setdefault("train", {})
    train["seed"] = asked.seed
    if method.objective:
        values["objective"] = {"kind": method.objective}
    if watched and asked.method == REINFORCEMENT:
        values["objective"][_WATCHED] = watched
    if asked.n_epochs is not None:
        train["epochs"] = asked.n_epochs
    if asked.batch_size is not None:
        train["batch_size"] = asked.batch_size
    if asked.learning_rate_multiplier is not None:
        rate = train.get("learning_rate") or usual_rate(values["method"]["kind"])
        train["learning_rate"] = rate * asked.learning_rate_multiplier
    if asked.beta is not None:
        values.setdefault("objective", {})["beta"] = asked.beta
    if asked.grader is not None:
        _graded(values, asked, asked.grader)
    if asked.integrations:
        _tracked_as_asked(train, asked.integrations)
    if asked.validation is not None:
        # The rows that the tenant keeps back: the loss is watched on them, and gates judge by them.
        data["validation"] = data["test"] = asked.validation.path
    elif "evaluate" in values:
        values["evaluate"].pop("gates", None)  # there is nothing that they could judge on
    return values


def continued(declared: Mapping[str, Any]) -> dict[str, Any]:
    """The `[method]` of a training that goes on with a release's, from what the release declares.

    How its factors once began, and what an earlier continuation kept as it was, are no part of what
    the weights mean now.
    """
    values = {key: value for key, value in declared.items() if value is not None}
    values.pop("init", None)
    if "keep_ranks" in declared:
        values.pop("keep_ranks", None)
        values.pop("orthogonality", None)  # to the ranks that were kept, and to nothing else
    return values


def _tracked_as_asked(train: dict[str, Any], integrations: Sequence[Mapping[str, Any]]) -> None:
    """A tracker is told a training once: where the job says, if the template names it too."""
    tables = [tracked(one) for one in integrations]
    kinds = {table["tracker"] for table in tables}
    kept = [one for one in train.get("tracking", ()) if one.get("tracker") not in kinds]
    train["tracking"] = [*kept, *tables]
    if "trackers" in train:
        train["trackers"] = [one for one in train["trackers"] if one not in kinds]


def tracked(integration: Mapping[str, Any]) -> dict[str, Any]:
    """One of a job's integrations as `[[train.tracking]]` has it.

    What wandb calls a project and a name, mlflow calls an experiment and a run's name.
    """
    kind = integration["type"]
    given = integration[kind]
    values = {
        "tracker": kind,
        "project": given.get("project") or given.get("experiment"),
        "run": given.get("name"),
        "entity": given.get("entity"),
        "tags": list(given.get("tags") or ()),
    }
    return {key: value for key, value in values.items() if value}


def _graded(values: dict[str, Any], asked: Asked, grader: Mapping[str, Any]) -> None:
    """What is learnt by sampled answers: who grades them, how many there are and how long."""
    objective = values["objective"]
    objective["graders"] = [grader]
    evaluate = values.setdefault("evaluate", {})
    # What is learnt by is measured too, beside what the template names; code grades rewards alone.
    parts = [grader, *(grader.get("graders") or {}).values()]
    if not any(one["type"] == "python" for one in parts):
        evaluate["graders"] = [*evaluate.get("graders", ()), grader]
        evaluate["metrics"] = [*evaluate.get("metrics", _METRICS), f"{GRADER}{grader['name']}"]
    if asked.compute_multiplier is not None:
        many = round(_GENERATIONS * asked.compute_multiplier)
        objective["generations"] = min(_MOST, max(_FEWEST, many))
    # An answer is as long while it is learnt as while it is judged.
    longest = evaluate.get("max_new_tokens")
    if longest is not None:
        objective["max_completion"] = longest
    if asked.answer is not None:
        values["data"]["columns"] = {"reference_answer": asked.answer}


def check_template(values: Mapping[str, Any]) -> None:
    """Refuse a template that says what is each job's own.

    Of an objective it may say `alarms`, which hold for jobs that learn by a grader.

    Raises:
        InvalidInput: it does.
    """
    for path in OWN:
        table: Any = values
        for key in path:
            table = table.get(key) if isinstance(table, Mapping) else None
        if path == ("objective",) and isinstance(table, Mapping) and set(table) <= {_WATCHED}:
            if isinstance(table.get(_WATCHED), Mapping) and "kl" in table[_WATCHED]:
                raise InvalidInput(
                    "`objective.alarms.kl` is a distance from a reference, which jobs have none of",
                    hint="take it out of `[jobs] template`",
                )
            continue
        if table is not None:
            raise InvalidInput(
                f"`{'.'.join(path)}` is each job's own", hint="take it out of `[jobs] template`"
            )


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of tables, the second laid over the first."""
    values = deepcopy(dict(under))
    for key, value in over.items():
        mine = values.get(key)
        if isinstance(mine, dict) and isinstance(value, Mapping):
            values[key] = merged(mine, value)
        else:
            values[key] = deepcopy(value)
    return values
