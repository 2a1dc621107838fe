"""Alarms of `adapters watch`: a row in the log, which webhooks tell of, and a file of metrics.

Invariant: what goes on being wrong is noted once: looking again every hour tells nobody twice. That
it is over is noted too, so that what begins again is told again. Looks at one alias that differ in
anything that was asked for (a tenant's answers, another metric) have an alarm each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapterworks.app import App
from adapterworks.manifests.atomic import write_atomic

KIND = "alarm"
OVER = "alarm-over"
Gauge = tuple[str, dict[str, str], float]
_HELP = {
    "alarm": "1 where the last look found that it is worse, or that it is asked other things",
    "drop": "By how much the mean dropped",
    "rows": "Rows that were compared",
    "questions": "Questions that were compared with what is known",
    "shift": "By how much the mean of what is asked shifted",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """What was looked at, and what was found.

    Attributes:
        origin: what was looked at: `rows`, `feedback` or `inputs`.
        why: in one line.
        looked: what else makes this look another one than others at the alias: `tenant`, `against`,
            `metric`, `rows`, bounds.
    """

    name: str
    version: int
    alias: str
    origin: str
    why: str
    looked: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, str]:
        """What is in the log: of the same look the same."""
        return {"watched": self.origin, **self.looked}

    @property
    def labels(self) -> dict[str, str]:
        """Of its gauges."""
        return {"alias": f"{self.name}:{self.alias}", "from": self.origin, **self.looked}


def raise_alarm(
    app: App, alarm: Alarm, metrics: Path | None, gauges: Sequence[Gauge], *, wrong: bool
) -> None:
    """Note what is wrong, once, and that it no longer is; write the metrics of this look."""
    if metrics is not None:
        write_metrics(metrics, gauges)
    if wrong == _open(app, alarm):
        return
    app.registry.log.note(
        alarm.name,
        alarm.version,
        KIND if wrong else OVER,
        who=app.settings.who,
        why=alarm.why,
        alias=alarm.alias,
        **alarm.data,
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
    write_atomic(path, "\n".join(lines) + "\n")


def _open(app: App, alarm: Alarm) -> bool:
    """Whether the last word on this was that it is wrong."""
    known = app.registry.log.facts(alarm.name, alarm.version, (KIND, OVER))
    same = (one.kind for one in known if (one.alias, one.data) == (alarm.alias, alarm.data))
    return next(same, OVER) == KIND


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
