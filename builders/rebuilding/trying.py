"""A manifest tried for a few steps: what a short training changes, before the long one is paid for.

Invariant: nothing is published and nothing is left; a question that is shown was not trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterworks.builders.building.lock import build_lock
from adapterworks.builders.building.prepare import prepare
from adapterworks.builders.building.stages import candidates, train_stage
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.engines.huggingface import MEMBER as REFERENCE
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation.asking import asked
from adapterworks.builders.evaluation.comparison import CANDIDATE
from adapterworks.builders.evaluation.subjects import base_model
from adapterworks.builders.training.events import EventLog, Listener
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import RetentionTable
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.scratch import kept_folder

STEPS, QUESTIONS = 20, 5


@dataclass(frozen=True, slots=True)
class Shown:
    """One unseen question: what is wanted, and what base and adapter answer (greedy)."""

    question: str
    wanted: str
    base: str
    adapter: str


@dataclass(frozen=True, slots=True)
class Tried:
    """What a trial came to.

    Attributes:
        steps: that were trained.
        loss: of the first and of the last step (nats a supervised token).
        seconds: that the training took.
    """

    steps: int
    loss: tuple[float, float]
    seconds: float
    shown: tuple[Shown, ...]


def try_out(
    manifest: Manifest,
    *,
    bases: BaseStore,
    registry: Registry | None = None,
    home: Path,
    steps: int = STEPS,
    questions: int = QUESTIONS,
    engines: Engines | None = None,
    listeners: Sequence[Listener] = (),
    progress: Callable[[str], None] | None = None,
) -> Tried:
    """Train a few steps in a folder of its own, then ask base and adapter unseen questions.

    Args:
        manifest: of what will be built, of several stages the first; its own limits stay where they
            are smaller.
        bases: where base models are.
        registry: where datasets and sealed test sets are.
        home: `tmp/` and `cache/` are made under it.
        steps: of the optimizer.
        questions: of the test rows, or of the validation rows where there are none.
        engines: who answers; the reference implementation, if not given.
        listeners: receive the training's events.
        progress: told what takes long.

    Raises:
        InvalidInput: the rows are plain text, which asks nothing; or as `run_build`.
        Refused, Unavailable: as `run_build`; the folder is kept then, for its log.
    """
    prepared = prepare(
        _short(manifest.chain[0], steps, questions),
        bases,
        registry=registry,
        cache=home / "cache",
        progress=progress,
    )
    rows = (prepared.rows["test"] or prepared.rows["validation"])[:questions]
    if not rows or any(row.text is not None for row in rows):
        raise InvalidInput(
            "there is no question to show: "
            + ("the rows are plain text" if rows else "no row is held out"),
            hint="build it, and read its perplexity" if rows else "set `data.test_share`",
        )
    losses: list[float] = []

    def note(event: dict[str, object]) -> None:
        if event.get("event") == "step":
            losses.append(float(str(event["loss"])))

    with kept_folder(home / "tmp", "try") as folder, build_lock(folder) as held:
        result = train_stage(
            prepared, folder, held, EventLog(folder / "events.jsonl", note, *listeners)
        )
        subjects = {
            "base": Subject(base_model(prepared.base)),
            "adapter": candidates(prepared, folder, None)[CANDIDATE],
        }
        answers: dict[str, list[str]] = {}
        table = manifest.evaluate
        with (engines or Engines()).session(
            REFERENCE, [*subjects.values()], tokens=len(rows) * table.max_new_tokens
        ) as session:
            # All are known before the engine is opened for the first.
            opened = asked(session, subjects)
            for name, open_one in opened.items():
                answers[name] = open_one().generate(
                    [row.prompt for row in rows],
                    tools=[row.tools for row in rows],
                    max_new_tokens=table.max_new_tokens,
                    batch_size=table.batch_size,
                )
    shown = zip(rows, answers["base"], answers["adapter"], strict=True)
    return Tried(
        steps=prepared.plan.steps,
        loss=(losses[0], losses[-1]),
        seconds=float(result["seconds"]),
        shown=tuple(
            Shown(row.prompt[-1]["content"], row.answer, base, adapter)
            for row, base, adapter in shown
        ),
    )


def _short(manifest: Manifest, steps: int, questions: int) -> Manifest:
    """The manifest with as many rows as the steps see, and nothing that is only for a release."""
    train, data = manifest.train, manifest.data
    rows = steps * train.batch_size
    fewer = {
        "limit": min(rows, data.limit or rows),
        "limit_validation": min(questions, data.limit_validation or questions),
    }
    if data.has_test:
        fewer["limit_test"] = min(questions, data.limit_test or questions)
    evaluate = {"gates": (), "retention": RetentionTable()}
    short = {
        "max_steps": steps,
        "evaluations": 1,
        "trackers": (),
        "tracking": (),
        "early_stopping": None,
    }
    return manifest.model_copy(
        update={
            "data": data.model_copy(update=fewer),
            "train": train.model_copy(update=short),
            "evaluate": manifest.evaluate.model_copy(update=evaluate),
        }
    )
