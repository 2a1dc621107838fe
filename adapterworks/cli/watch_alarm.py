"""Alarms of `adapters watch`: a row in the log, which webhooks tell of, and a file of metrics.

Invariant: what goes on being wrong is noted once: looking again every hour tells nobody twice.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterworks.app import App

KIND = "alarm"
Gauge = tuple[str, dict[str, str], float]
_LOOKED_AT = 200  # rows of a version's log, newest first
_HELP = {
    "alarm": "1 where the last look found that it is worse, or that it is asked other things",
    "drop": "By how much the mean dropped",
    "rows": "Rows that were compared",
    "questions": "Questions that were compared with what is known",
    "shift": "By how much the mean of what is asked shifted",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong.

    Attributes:
        origin: what was looked at: `rows`, `feedback` or `inputs`.
        why: in one line.
    """

    name: str
    version: int
    alias: str
    origin: str
    why: str


def raise_alarm(
    app: App, alarm: Alarm | None, metrics: Path | None, gauges: Sequence[Gauge]
) -> None:
    """Note what is wrong, once, and write the metrics of this look."""
    if metrics is not None:
        write_metrics(metrics, gauges)
    if alarm is None or _known(app, alarm):
        return
    app.registry.log.note(
        alarm.name,
        alarm.version,
        KIND,
        who=app.settings.who,
        why=alarm.why,
        alias=alarm.alias,
        watched=alarm.origin,
    )


def write_metrics(path: Path, gauges: Sequence[Gauge]) -> None:
    """The gauges in Prometheus' text format, whole or not at all, as its node exporter reads them
    (`--collector.textfile.directory`)."""
    lines: list[str] = []
    for name in dict.fromkeys(name for name, _, _ in gauges):
        full = f"adapters_watch_{name}"
        lines += [f"# HELP {full} {_HELP[name]}", f"# TYPE {full} gauge"]
        for found, labels, value in gauges:
            if found == name:
                shown = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels.items())
                lines.append(f"{full}{{{shown}}} {value:.9g}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)


def _known(app: App, alarm: Alarm) -> bool:
    events = app.registry.log.events(
        alarm.name, version=alarm.version, facts=True, limit=_LOOKED_AT
    )
    return any(
        event.kind == KIND
        and (event.alias, event.data.get("watched")) == (alarm.alias, alarm.origin)
        for event in events
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
