"""The model card's pictures: the loss curve, base against adapter, and what a training sampled.

Invariant: drawn with matplotlib's Agg canvas through its object interface; no global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapterworks.builders.training.events import Event
from adapterworks.manifests.objective import NEAREST

_BASE, _NEAREST, _ADAPTER = "#9aa0a6", "#f9ab00", "#1a73e8"
# What is drawn of sampled answers, with its unit, and the curve that an alarm belongs to.
_SAMPLED = (
    ("reward", "mean"),
    ("kl", "nats a token"),
    ("length", "tokens"),
    ("entropy", "nats a token"),
)
_OF_ALARM = {"kl": "kl", "entropy": "entropy", "length_growth": "length"}


def draw_loss(events: Sequence[Event], path: Path, reports: str, unit: str) -> None:
    """Training loss by step, and what is reported of the validation rows where it was measured.

    Args:
        reports: the event's key that decides which step is best: `loss`, or a metric, which gets an
            axis of its own.
        unit: of that.
    """
    figure, (axes,) = _axes(7.0)
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
    figure, (axes,) = _axes(2.0 + 1.6 * max(1, len(shown)))
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


def draw_samples(events: Sequence[Event], path: Path) -> None:
    """Reward, divergence from the reference, length and entropy of sampled answers by step, each
    on an axis of its own; those that were told. An alarm is a line at its step."""
    steps = [event for event in events if event["event"] == "step"]
    shown = [one for one in _SAMPLED if any(one[0] in event for event in steps)]
    figure, every = _axes(7.0, max(1, len(shown)))
    for axes, (name, unit) in zip(every, shown, strict=False):
        told = [event for event in steps if name in event]
        axes.plot([e["step"] for e in told], [e[name] for e in told], color=_ADAPTER)
        axes.set_ylabel(f"{name}\n({unit})")
        for alarm in events:
            if alarm["event"] == "alarm" and _OF_ALARM[alarm["name"]] == name:
                axes.axvline(alarm["step"], color=_NEAREST, linestyle="--")
    every[-1].set_xlabel("optimizer step")
    _save(figure, path)


def _axes(width: float, rows: int = 1) -> tuple[Any, Any]:
    """A figure and its axes: one, or several below each other that share their steps."""
    from matplotlib.figure import Figure

    size = (width, 3.6 if rows == 1 else 1.6 * rows)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    every = figure.subplots(rows, sharex=True, squeeze=False)[:, 0]
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, every


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # No date or version in the file: equal data gives equal bytes.
    figure.savefig(path, metadata={"Software": None})
