"""Fine-tuning jobs in OpenAI's words: what is asked, within bounds, and what is answered.

A paused job is `queued`: the client's type has no other word. One that is built and not proved yet
is `running`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from adapterworks.gateway.config.jobs import Integration
from adapterworks.gateway.config.table import Table
from adapterworks.registry.jobs.events import METRICS, Checkpoint, Event
from adapterworks.registry.jobs.fine_tuning import REINFORCEMENT
from adapterworks.registry.jobs.job import Job

Auto = Literal["auto"]
FileId = Annotated[str, Field(min_length=1, max_length=80)]
Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64)],
        Annotated[str, Field(max_length=512)],
    ],
    Field(max_length=16),
]


class Hyperparameters(Table):
    """What a client may leave to the plan; `beta` belongs to `dpo`."""

    batch_size: Auto | Annotated[int, Field(ge=1, le=4096)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=1000)] = "auto"
    n_epochs: Auto | Annotated[int, Field(ge=1, le=100)] = "auto"


class PreferenceHyperparameters(Hyperparameters):
    """Those of `dpo`."""

    beta: Auto | Annotated[float, Field(gt=0, le=2)] = "auto"


class ReinforcementHyperparameters(Hyperparameters):
    """Those of `reinforcement`. Of the last three nothing but the usual can be asked for."""

    compute_multiplier: Auto | Annotated[float, Field(gt=0, le=1000)] = "auto"
    eval_interval: Auto | Annotated[int, Field(ge=1)] = "auto"
    eval_samples: Auto | Annotated[int, Field(ge=1)] = "auto"
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"


class Supervised(Table):
    """`method.supervised`."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Preference(Table):
    """`method.dpo`."""

    hyperparameters: PreferenceHyperparameters = PreferenceHyperparameters()


class Reinforcement(Table):
    """`method.reinforcement`."""

    grader: dict[str, Any]
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()


class AskedMethod(Table):
    """`method`, with the table of its type."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Preference | None = None
    reinforcement: Reinforcement | None = None


Label = Annotated[str, Field(min_length=1, max_length=128)]
Tags = Annotated[tuple[Label, ...], Field(max_length=16)]


class Wandb(Table):
    """`integrations[].wandb`."""

    project: Label
    entity: Label | None = None
    name: Label | None = None
    tags: Tags | None = None


class Mlflow(Table):
    """`integrations[].mlflow`, which OpenAI's clients have no type for."""

    experiment: Label
    name: Label | None = None
    tags: Tags | None = None


class AskedIntegration(Table):
    """`integrations[]`, with the table of its type."""

    type: Integration
    wandb: Wandb | None = None
    mlflow: Mlflow | None = None


class AskedJob(Table):
    """`POST /v1/fine_tuning/jobs`."""

    model: Annotated[str, Field(min_length=1, max_length=512)]
    training_file: FileId
    validation_file: FileId | None = None
    hyperparameters: Hyperparameters | None = None
    method: AskedMethod | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: Metadata | None = None
    integrations: Annotated[tuple[AskedIntegration, ...], Field(max_length=5)] | None = None


def job_object(job: Job) -> dict[str, Any]:
    """A job as it is answered."""
    asked, result = job.arguments, job.result
    method = asked["method"]
    hyperparameters = {
        name: result.get("hyperparameters", {}).get(name, _auto(asked[name]))
        for name in ("batch_size", "learning_rate_multiplier", "n_epochs")
    }
    table: dict[str, Any] = {"hyperparameters": {**hyperparameters, **_further(asked)}}
    if asked.get("asked_grader") is not None:
        table["grader"] = asked["asked_grader"]
    validation = asked["validation"]
    running = status_of(job) == "running"
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created),
        "finished_at": None if job.finished is None else int(job.finished),
        "estimated_finish": result.get("estimated_finish") if running else None,
        "model": asked["model"],
        "fine_tuned_model": result.get("ref") if job.state == "succeeded" else None,
        "organization_id": job.tenant,
        "status": status_of(job),
        "error": {"code": job.code, "message": job.message, "param": job.param or None}
        if job.state == "failed"
        else None,
        "training_file": asked["training"]["file"],
        "validation_file": validation["file"] if validation else None,
        "result_files": result.get("result_files", []),
        "trained_tokens": result.get("trained_tokens") if job.ended else None,
        "hyperparameters": hyperparameters if method == "supervised" else {},
        "method": {"type": method, method: table},
        "seed": asked["seed"],
        "metadata": dict(job.labels) or None,
        "integrations": list(asked.get("integrations", ())),
    }


def _further(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that only the job's method has."""
    if asked["method"] == REINFORCEMENT:
        usual = {"eval_interval": "auto", "eval_samples": "auto", "reasoning_effort": "default"}
        return {"compute_multiplier": _auto(asked["compute_multiplier"]), **usual}
    return {} if asked["method"] == "supervised" else {"beta": _auto(asked["beta"])}


def status_of(job: Job) -> str:
    """A job's status in the client's words."""
    if job.state in ("queued", "paused"):
        # Its first part is done and an engine has yet to prove it.
        return "running" if job.state == "queued" and "ref" in job.result else "queued"
    return job.state


def event_object(event: Event) -> dict[str, Any]:
    """An event as it is answered."""
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": int(event.at),
        "level": event.level,
        "message": event.message,
        "type": "metrics" if event.kind == METRICS else "message",
        "data": dict(event.data),
    }


def checkpoint_object(job: Job, checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as it is answered: what a build resumes from, and no model to be asked."""
    metrics: Mapping[str, float] = checkpoint.metrics
    return {
        "id": checkpoint.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(checkpoint.at),
        "fine_tuned_model_checkpoint": f"{job.arguments['name']}:step-{checkpoint.step}",
        "fine_tuning_job_id": job.id,
        "metrics": dict(metrics),
        "step_number": checkpoint.step,
    }


def _auto(value: Any) -> Any:
    return "auto" if value is None else value
