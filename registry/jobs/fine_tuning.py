"""What a fine-tuning job was asked for, and the manifest it stands for.

Invariant: the manifest is a function of the job's arguments and of nothing else, so that whoever
builds it (a worker, or a person with `adapters build`) makes the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from adapterworks.manifests.errors import InvalidInput

# What a job begins with where `[jobs] template` says nothing else.
START: dict[str, Any] = {"method": {"kind": "lora"}}
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
        start: what is continued; a new adapter on the base without it.
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
    start: Start | None = None
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


METHODS: dict[str, Method] = {
    "supervised": Method("", {"supervised": "messages", "completion": "prompt-completion"}),
    "dpo": Method("dpo", {"paired": "openai-preference"}),
}


def manifest_values(asked: Asked, usual_rate: Callable[[str], float]) -> dict[str, Any]:
    """The manifest's tables.

    Args:
        usual_rate: a method's kind → its usual learning rate, which multipliers are of.
    """
    method = METHODS[asked.method]
    values = merged(START, asked.template)
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
        values["objective"] = {**values.get("objective", {}), "kind": method.objective}
    if asked.n_epochs is not None:
        train["epochs"] = asked.n_epochs
    if asked.batch_size is not None:
        train["batch_size"] = asked.batch_size
    if asked.learning_rate_multiplier is not None:
        rate = train.get("learning_rate") or usual_rate(values["method"]["kind"])
        train["learning_rate"] = rate * asked.learning_rate_multiplier
    if asked.beta is not None:
        values.setdefault("objective", {})["beta"] = asked.beta
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


def check_template(values: Mapping[str, Any]) -> None:
    """Refuse a template that says what is each job's own.

    Raises:
        InvalidInput: it does.
    """
    for path in OWN:
        table: Any = values
        for key in path:
            table = table.get(key) if isinstance(table, Mapping) else None
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
