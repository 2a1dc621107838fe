"""What a training does when the answers that it samples go wrong: it says so, or stops.

`objectives/alarms.py` says what is wrong; here its memory is kept with the training's progress, so
that an alarm that rang once does not ring anew when the training is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from adapterworks.builders.objectives.alarms import Watch, stopped_by
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.checkpoint import Progress
from adapterworks.builders.training.sampling import Sampling
from adapterworks.manifests.errors import Refused


def check_alarms(
    plan: Plan,
    rollouts: Sampling,
    progress: Progress,
    metrics: Mapping[str, float],
    say: Callable[..., None],
) -> Refused | None:
    """Look at one step's metrics; returns why the training is to stop, if it is.

    Args:
        progress: `alarms` of it is what the alarms remember, and is written.
        metrics: of the step that is just done, `progress.step`.
        say: emits an event, by its name and fields.
    """
    objective = rollouts.objective
    table = objective.settings.alarms
    watch, stop = Watch(**(progress.alarms or {})), None
    for alarm in watch.look(table, progress.step, metrics, rollouts.highest):
        # At the last step there is nothing left to stop.
        stops = table.action == "stop" and progress.step < plan.steps
        say("alarm", **watch.keep(alarm, "stop" if stops else "warn"))
        if stops:
            watch.forgive(alarm.name)
            name = plan.manifest.adapter.name
            stop = stopped_by(alarm, name, objective.wrong, objective.changed)
    progress.alarms = asdict(watch)
    return stop
