"""One task, several methods: a build each, and one table of what they came to.

Invariant: all methods see the same rows, steps and seed; each has its own default learning rate,
since no single rate is fair to all (see `adapters methods`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.comparing.equal_parameters import at_parameters, parameters
from adapterworks.builders.evaluation.retention import require_retention
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.evaluate_tables import RetentionTable
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.naming import again

if TYPE_CHECKING:
    from adapterworks.builders.building.result import BuildResult

ALIAS = "compare"


@dataclass(frozen=True, slots=True)
class Compared:
    """One method's row; shares and scores 0–1, memory in bytes, intervals at 95 %."""

    method: str
    ref: str
    trainable_share: float
    tokens_per_second: float
    memory_predicted: int
    memory_measured: int
    metric: str
    score: float
    interval: tuple[float, float]
    base_score: float
    gain: tuple[float, float, float]
    native_score: float | None
    perplexity_increase: float | None
    servable: str
    conversion_error: float | None

    @property
    def learnt(self) -> bool:
        """Whether the gain over the base is above zero with its whole interval."""
        return self.gain[1] > 0

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        return {**asdict(self), "learnt": self.learnt}


def variant(manifest: Manifest, kind: str, *, one_base: bool = False) -> Manifest:
    """The same task with another method.

    Args:
        manifest: resolved.
        kind: the method.
        one_base: keep the manifest's base quantization for every method, so that one engine can
            serve all; otherwise only a method that is meant for them trains on NF4 values.

    Raises:
        InvalidInput: no such method.
    """
    if kind not in METHODS:
        raise InvalidInput(
            f"there is no method `{kind}`", hint=f"the methods are {', '.join(METHODS)}"
        )
    technique = METHODS[kind]
    values = manifest.model_dump(mode="json")
    adopted = technique.adopt(manifest.method)
    if adopted is not None:
        values["method"] = adopted.model_dump(mode="json")
    else:
        values["method"] = {"kind": kind}
        values["train"]["learning_rate"] = None
    if not (one_base and manifest.base.quantization == "nf4"):
        values["base"]["quantization"] = technique.quantization
    values["adapter"]["name"] = f"{manifest.adapter.name}-{kind}"
    values["publish"] = {**values["publish"], "alias": ALIAS, "hub": None}
    retention = values["evaluate"]["retention"]
    if not retention["on"] and _has_prose():
        values["evaluate"]["retention"] = {**retention, "on": True, "suites": []}
    if not technique.cut:
        values["serve"]["conversion_rank"] = None  # served exactly: nothing is cut
    else:
        # What a cut loses is a column of the table, not a reason to leave the method out.
        values["serve"]["max_conversion_error"] = 1.0
    return again(manifest, values)


def _has_prose() -> bool:
    """Whether what forgetting is measured on is installed; else that column stays empty."""
    try:
        require_retention(RetentionTable(on=True, suites=()))
    except NotFound:
        return False
    return True


def deciding_metric(manifest: Manifest) -> str:
    """The metric of the manifest's first gate, which decides there; without gates, its first."""
    gates = manifest.evaluate.gates
    return gates[0].metric if gates else manifest.evaluate.metrics[0]


def compared(kind: str, result: BuildResult, metric: str) -> Compared:
    """One method's row on a metric of its report."""
    report = result.report
    entry = report["metrics"][metric]
    gain = entry["gains"]["base"]
    training = report["training"]
    retention = report.get("retention") or {}
    servable = result.servable
    return Compared(
        method=kind,
        ref=result.ref,
        trainable_share=result.plan.trainable_share,
        tokens_per_second=training["tokens_per_second"],
        memory_predicted=training["memory"]["predicted"],
        memory_measured=training["memory"]["measured"],
        metric=metric,
        score=entry["values"]["candidate"],
        interval=tuple(entry["intervals"]["candidate"]),
        base_score=entry["values"]["base"],
        gain=(gain["gain"], gain["low"], gain["high"]),
        native_score=entry["values"].get("native"),
        perplexity_increase=_increase(retention),
        servable=f"{servable.form} ({servable.origin})" if servable else "none",
        conversion_error=servable.error if servable else report["conversion"].get("error"),
    )


def _increase(retention: dict[str, Any]) -> float | None:
    perplexity = retention.get("perplexity")
    if not perplexity:
        return None
    return float(perplexity["increase"])


def compare_methods(
    manifest: Manifest,
    kinds: Iterable[str],
    build: Callable[[str, Manifest], BuildResult],
    *,
    metric: str | None = None,
    one_base: bool = False,
    equal_on: BaseShape | None = None,
) -> list[Compared]:
    """Build every method and collect the rows, in the order asked.

    Args:
        manifest: resolved; its data and training are shared.
        kinds: methods.
        build: runs one build.
        metric: the score; by default `deciding_metric`.
        one_base: see `variant`.
        equal_on: the base's shape, to let every method train as many parameters as the manifest's.

    Raises:
        InvalidInput: no such method or none, no test rows, a metric that the manifest does not
            evaluate, or stages.
    """
    if manifest.before is not None:
        raise InvalidInput(
            "the manifest has stages, and methods are compared by one training each",
            hint="compare them by a manifest of the first stage alone",
        )
    kinds = list(kinds)
    if not kinds:
        raise InvalidInput(
            "there is no method to compare", hint=f"the methods are {', '.join(METHODS)}"
        )
    if not manifest.data.has_test:
        raise InvalidInput(
            "there are no test rows to compare methods on",
            hint="name `data.test`, or hold rows out with `data.test_share`",
        )
    metric = metric or deciding_metric(manifest)
    if metric not in manifest.evaluate.metrics:
        raise InvalidInput(
            f"the manifest does not evaluate `{metric}`",
            hint=f"`evaluate.metrics` has {', '.join(manifest.evaluate.metrics)}",
        )
    variants = {kind: variant(manifest, kind, one_base=one_base) for kind in kinds}
    if equal_on is not None:
        target = parameters(equal_on, manifest.method)
        for kind, changed in variants.items():
            table = at_parameters(equal_on, changed.method, target)
            variants[kind] = changed.model_copy(update={"method": table})
    return [compared(kind, build(kind, changed), metric) for kind, changed in variants.items()]


def draw_comparison(rows: list[Compared], path: Path) -> None:
    """Score with its interval per method, and the base's score as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 + 1.1 * len(rows), 3.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    for position, row in enumerate(rows):
        below, above = row.score - row.interval[0], row.interval[1] - row.score
        axes.errorbar(
            position,
            row.score,
            yerr=[[max(0.0, below)], [max(0.0, above)]],
            fmt="o",
            capsize=4,
            color="#1a73e8" if row.learnt else "#9aa0a6",
        )
    axes.axhline(rows[0].base_score, color="#9aa0a6", linestyle="--", label="base")
    axes.set_xticks(range(len(rows)), [row.method for row in rows], rotation=20)
    axes.set_ylabel(rows[0].metric)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None)
