"""The trials of a sweep: drawn by optuna, built, ended early where they fall behind, kept.

Invariant: a sweep that was killed goes on where it was: finished trials are in the study's file,
the one that was under way is built on from its checkpoint, and the same seed draws the same trials.
What could not be built for a moment (memory that others hold, an index that is away) was not tried:
it is waited for, and where that does not help the sweep ends as one that was killed.
"""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapterworks.builders.building.record import half_done
from adapterworks.builders.building.result import UNTOLD
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.sweeping.space import of_trial, points
from adapterworks.builders.sweeping.sweep import (
    SUFFIX,
    Build,
    Built,
    Pruned,
    Sweep,
    Tried,
    check,
    line,
)
from adapterworks.builders.training.events import Listener
from adapterworks.manifests.errors import AdapterworksError, Conflict, Unavailable

if TYPE_CHECKING:
    import optuna

HALVING = 3  # of those that reached a validation, this share goes on
_NUMBER, _SETTINGS, _OUTCOME = "number", "settings", "outcome"
_AT_RANDOM = 5  # trials before the sampler goes by what came of them
_WAITS_S = (15.0, 60.0, 300.0, 600.0)


def run_sweep(
    sweep: Sweep,
    build: Build,
    *,
    home: Path,
    parallel: int = 1,
    say: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
) -> list[Tried]:
    """Try until all trials were drawn; in the order that they were drawn.

    Args:
        home: the study is kept under `sweeps/`.
        parallel: trials at once.
        wait: seconds, before what could not be built now is built again.

    Raises:
        Unavailable, Conflict: a trial could not be built, however often; the same sweep goes on
            with it.
        what `check` raises.
    """
    check(sweep)
    study = _study(sweep, home)
    lock = threading.Lock()
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "RUNNING":  # of a process that was killed: drawn again, and built on
            study.tell(trial.number, state=_state("FAIL"))
            study.enqueue_trial(trial.params)

    patient = _patient(build, say, wait)

    def one() -> None:
        with lock:
            trial = _draw(study, sweep)
        tried = _try(sweep, patient, trial)
        with lock:
            trial.set_user_attr(_OUTCOME, tried.to_json())
            if tried.state == "pruned":  # the sampler goes by what was reported of it
                study.tell(trial, state=_state("PRUNED"))
            elif tried.value is None:
                study.tell(trial, state=_state("FAIL"))
            else:
                study.tell(trial, tried.value)
        say(line(tried, sweep))

    _repeat(one, sweep.trials - len(_tried(study)), parallel)
    return sorted(_tried(study), key=lambda tried: tried.number)


def _repeat(what: Callable[[], None], times: int, parallel: int) -> None:
    """Do something so often, several at once; the first error ends it."""
    if parallel == 1:
        for _ in range(times):
            what()
        return
    left = iter(range(times))
    errors: list[BaseException] = []
    lock = threading.Lock()

    def work() -> None:
        while not errors:
            with lock:
                if next(left, None) is None:
                    return
            try:
                what()
            except BaseException as error:
                errors.append(error)

    # Daemons: whoever ends the sweep does not wait for trials that run elsewhere.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _draw(study: optuna.Study, sweep: Sweep) -> optuna.Trial:
    """The next trial: settings that no trial has had yet, as long as there are any."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    counted = [t for t in trials if t.state.name == "RUNNING" or _OUTCOME in t.user_attrs]
    taken = {t.user_attrs[_NUMBER] for t in counted}
    had = [t.user_attrs[_SETTINGS] for t in counted]
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
    trial.set_user_attr(_NUMBER, number)
    trial.set_user_attr(_SETTINGS, settings)
    return trial


def _try(sweep: Sweep, build: Build, trial: optuna.Trial) -> Tried:
    number, settings = trial.user_attrs[_NUMBER], trial.user_attrs[_SETTINGS]
    objective = OBJECTIVES[sweep.manifest(settings).objective.kind]
    values: list[float] = []
    last = -1

    def listen(event: Mapping[str, Any]) -> None:
        nonlocal last
        if event["event"] != "validation" or event.get(objective.reports) is None:
            return
        if event["step"] <= last:  # of a build that goes on before where it was
            return
        last = event["step"]
        value = float(event[objective.reports])
        values.append(value)
        if sweep.halve:
            trial.report(value, len(values))
            if trial.should_prune():
                raise Pruned

    choose = max if objective.higher_is_better else min
    try:
        built = build(f"trial {number + 1}", sweep.overrides(settings), listen)
    except Pruned:
        return Tried(number, settings, "pruned", choose(values))
    except (Conflict, Unavailable):
        raise
    except AdapterworksError as error:
        return Tried(number, settings, "failed", why=(error.message,))
    report = built.report
    if not report:
        return Tried(number, settings, "failed", why=(UNTOLD,))
    entry = report["metrics"][sweep.metric]
    gain = entry["gains"]["base"]
    gates = report.get("gates") or []
    return Tried(
        number,
        settings,
        "built",
        report["training"]["best_value"],
        built.ref,
        entry["values"]["candidate"],
        (gain["gain"], gain["low"], gain["high"]),
        all(gate["passed"] for gate in gates),
        tuple(str(gate["why"]) for gate in gates),
    )


def _patient(build: Build, say: Callable[[str], None], wait: Callable[[float], None]) -> Build:
    """The same, which bears with what cannot be done now."""

    def patient(label: str, overrides: Sequence[str], listen: Listener) -> Built:
        for seconds in _WAITS_S:
            try:
                return build(label, overrides, listen)
            except (Conflict, Unavailable) as error:
                asked = error.retry_after if isinstance(error, Unavailable) else None
                seconds = max(seconds, asked or 0.0)
                say(f"{label}: {error.message}; it is built again in {seconds:.0f} s")
                wait(seconds)
        return build(label, overrides, listen)

    return patient


def forget(builds: Path, name: str) -> None:
    """Remove the half-done build of a trial that was ended early."""
    for folder in half_done(builds, name + SUFFIX):
        shutil.rmtree(folder)


def _study(sweep: Sweep, home: Path) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = home / "sweeps"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sweep.name}-{sweep.digest[7:19]}.db"
    objective = OBJECTIVES[sweep.load(()).objective.kind]
    return optuna.create_study(
        storage=f"sqlite:///{path}",
        study_name=sweep.name,
        load_if_exists=True,
        direction="maximize" if objective.higher_is_better else "minimize",
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=1, reduction_factor=HALVING, min_early_stopping_rate=0
        ),
    )


def _tried(study: optuna.Study) -> list[Tried]:
    found = [t.user_attrs.get(_OUTCOME) for t in study.get_trials(deepcopy=False)]
    return [_of_json(one) for one in found if one is not None]


def _of_json(values: Mapping[str, Any]) -> Tried:
    gain = values["gain"]
    read = {"gain": None if gain is None else tuple(gain), "why": tuple(values["why"])}
    return Tried(**{**values, **read})


def _state(name: str) -> optuna.trial.TrialState:
    from optuna.trial import TrialState

    return TrialState[name]
