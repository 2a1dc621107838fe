"""The model card's two pictures: the loss curve, and base against adapter.

Invariant: drawn with matplotlib's Agg canvas through its object interface; no global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapterworks.builders.training.events import Event
from adapterworks.manifests.objective import NEAREST

_BASE, _NEAREST, _ADAPTER = "#9aa0a6", "#f9ab00", "#1a73e8"


def draw_loss(events: Sequence[Event], path: Path, reports: str, unit: str) -> None:
    """Training loss by step, and what is reported of the validation rows where it was measured.

    Args:
        reports: the event's key that decides which step is best: `loss`, or a metric, which gets an
            axis of its own.
        unit: of that.
    """
    figure, axes = _axes(7.0)
    steps = [event for event in events if event["event"] == "step"]
    axes.plot([e["step"] for e in steps], [e["loss"] for e in steps], color=_BASE, label="training")
    points = [e for e in events if e["event"] == "validation" and e.get(reports) is not None]
    beside = axes if reports == "loss" else axes.twinx()
    if points:
        beside.plot(
            [e["step"] for e in points],
            [e[reports] for e in points],
            color=_ADAPTER,
            marker="o",
            label="validation",
        )
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss")
    beside.set_ylabel(f"{reports.replace('_', ' ')} ({unit})")
    figure.legend(frameon=False) if beside is not axes else axes.legend(frameon=False)
    _save(figure, path)


def draw_scores(metrics: Mapping[str, Any], path: Path) -> None:
    """Base, nearest training row where it was asked, and adapter per metric, with 95 % intervals;
    shares only, as they have one scale."""
    shown = {
        name: entry
        for name, entry in metrics.items()
        if entry["unit"] == "share" and "base" in entry["values"]
    }
    figure, axes = _axes(2.0 + 1.6 * max(1, len(shown)))
    bars = [("base", "base", _BASE), ("candidate", "adapter", _ADAPTER)]
    if any(NEAREST in entry["values"] for entry in shown.values()):
        bars.insert(1, (NEAREST, "nearest training row", _NEAREST))
    width = 0.8 / len(bars)
    for place, (subject, label, colour) in enumerate(bars):
        offset = (place - (len(bars) - 1) / 2) * width
        for position, entry in enumerate(shown.values()):
            value = entry["values"][subject]
            low, high = entry["intervals"][subject]
            axes.bar(
                position + offset,
                value,
                width=0.95 * width,
                color=colour,
                yerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                capsize=3,
                label=label if position == 0 else None,
            )
    axes.set_xticks(range(len(shown)), list(shown))
    axes.set_ylim(0, 1)
    axes.set_ylabel("score")
    if shown:
        axes.legend(frameon=False)
    _save(figure, path)


def _axes(width: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # No date or version in the file: equal data gives equal bytes.
    figure.savefig(path, metadata={"Software": None})
