"""The study of a sweep: its trials in a file, which a sweep that was killed goes on with.

Invariant: the same seed draws the same trials, whatever was killed; one process has the study.
"""

from __future__ import annotations

import fcntl
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.sweeping.space import of_trial, points
from adapterworks.builders.sweeping.sweep import Sweep, Tried
from adapterworks.manifests.errors import Conflict

if TYPE_CHECKING:
    import optuna

HALVING = 3  # of those that reached a validation, this share goes on
NUMBER, SETTINGS, OUTCOME = "number", "settings", "outcome"
_AT_RANDOM = 5  # trials before the sampler goes by what came of them


@contextmanager
def opened(sweep: Sweep, home: Path) -> Iterator[optuna.Study]:
    """The study of a sweep, which no other process runs meanwhile: it would take trials that are
    under way for those of a process that was killed.

    Raises:
        Conflict: another process runs it.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = home / "sweeps"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sweep.name}-{sweep.digest[7:19]}.db"
    objective = OBJECTIVES[sweep.load(()).objective.kind]
    with path.with_suffix(".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another process runs this sweep of `{sweep.name}`",
                hint="wait for it, or end it: the same command goes on where it was",
            ) from error
        yield optuna.create_study(
            storage=f"sqlite:///{path}",
            study_name=sweep.name,
            load_if_exists=True,
            direction="maximize" if objective.higher_is_better else "minimize",
            pruner=optuna.pruners.SuccessiveHalvingPruner(
                min_resource=1, reduction_factor=HALVING, min_early_stopping_rate=0
            ),
        )


def go_on(study: optuna.Study) -> None:
    """Have trials drawn again that were under way in a process that was killed: they are built on.

    One whose outcome was kept before the study was told of it is only told of.
    """
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name != "RUNNING":
            continue
        if (outcome := trial.user_attrs.get(OUTCOME)) is not None:
            _told(study, trial.number, _of_json(outcome))
        else:
            study.tell(trial.number, state=_state("FAIL"))
            study.enqueue_trial(trial.params)


def draw(study: optuna.Study, sweep: Sweep) -> optuna.Trial:
    """The next trial: settings that no trial has had yet, as long as there are any."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    counted = [t for t in trials if t.state.name == "RUNNING" or OUTCOME in t.user_attrs]
    taken = {t.user_attrs[NUMBER] for t in counted}
    had = [t.user_attrs[SETTINGS] for t in counted]
    number = next(n for n in itertools.count() if n not in taken)
    # By number and history alone, so that a sweep that goes on draws what it would have drawn.
    chance = np.random.default_rng([sweep.seed, number])
    study.sampler = optuna.samplers.TPESampler(
        seed=int(chance.integers(2**31)), n_startup_trials=_AT_RANDOM
    )
    trial = study.ask()
    settings = {dimension.key: dimension.draw(trial) for dimension in sweep.space}
    if settings in had and (left := [one for one in points(sweep.space) if one not in had]):
        study.tell(trial, state=_state("FAIL"))
        study.enqueue_trial(of_trial(sweep.space, left[int(chance.integers(len(left)))]))
        trial = study.ask()
        settings = {dimension.key: dimension.draw(trial) for dimension in sweep.space}
    trial.set_user_attr(NUMBER, number)
    trial.set_user_attr(SETTINGS, settings)
    return trial


def keep(study: optuna.Study, trial: optuna.Trial, tried: Tried) -> None:
    """Note what a trial came to."""
    trial.set_user_attr(OUTCOME, tried.to_json())
    _told(study, trial.number, tried)


def tried_in(study: optuna.Study) -> list[Tried]:
    """What trials of a study came to."""
    found = [t.user_attrs.get(OUTCOME) for t in study.get_trials(deepcopy=False)]
    return [_of_json(one) for one in found if one is not None]


def _told(study: optuna.Study, trial: int, tried: Tried) -> None:
    if tried.state == "pruned":  # the sampler goes by what was reported of it
        study.tell(trial, state=_state("PRUNED"))
    elif tried.value is None:
        study.tell(trial, state=_state("FAIL"))
    else:
        study.tell(trial, tried.value)


def _of_json(values: Mapping[str, Any]) -> Tried:
    gain = values["gain"]
    read = {"gain": None if gain is None else tuple(gain), "why": tuple(values["why"])}
    return Tried(**{**values, **read})


def _state(name: str) -> optuna.trial.TrialState:
    from optuna.trial import TrialState

    return TrialState[name]
