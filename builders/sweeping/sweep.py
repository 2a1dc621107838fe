"""A sweep: trials of one manifest, drawn by optuna, ended early where they fall behind.

Each trial is a build, published as the next version of `NAME-sweep`. What is drawn next, and what
is ended early, is decided by the validation rows alone: by the best value so far (TPE, Bergstra et
al. 2011), and by asynchronous successive halving (Li et al. 2020) at each validation. The test rows
are looked at by the gates only, once a trial; each gate is held to a confidence of
1 - (1 - c) / trials (Bonferroni), so that among all trials a gate passes by chance no more often
than one of a single build does. The winner is the best on the test rows of those that passed.

Invariant: a sweep that was killed goes on where it was: finished trials are in the study's file,
the one that was under way is built on from its checkpoint, and the same seed draws the same trials.
"""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapterworks.builders.building.record import half_done
from adapterworks.builders.evaluation.metrics import metric as find_metric
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.sweeping.space import Choices, Dimension, of_trial, points
from adapterworks.builders.training.events import Listener
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import AdapterworksError, InvalidInput
from adapterworks.manifests.models import Manifest

if TYPE_CHECKING:
    import optuna

BEST = "best"
"""The alias of the winner."""
TRIAL = "trial"
SUFFIX = "-sweep"
HALVING = 3  # of those that reached a validation, this share goes on
_NUMBER, _SETTINGS, _OUTCOME = "number", "settings", "outcome"
_AT_RANDOM = 5  # trials before the sampler goes by what came of them


class Pruned(Exception):
    """A trial fell behind at a validation, and is ended."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial.

    Attributes:
        settings: what was varied, by key, as TOML.
        state: `built`, `pruned` or `failed`.
        value: the best that the objective reported of the validation rows.
        score, gain: on the test rows; the gain over the base with its interval at 95 %.
        passed: whether all of the manifest's gates passed at the corrected confidence.
        why: what gates said, or why it failed.
    """

    number: int
    settings: Mapping[str, str]
    state: str
    value: float | None = None
    ref: str | None = None
    score: float | None = None
    gain: tuple[float, float, float] | None = None
    passed: bool = False
    why: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Built:
    """What the build of a trial came to: its ref, and its `report.json`."""

    ref: str
    report: Mapping[str, Any]


Build = Callable[[str, Sequence[str], Listener], Built]
"""(label, overrides of the manifest, listener of its events) → what it came to; lets `Pruned`,
which the listener raises, through."""


@dataclass(frozen=True)
class Sweep:
    """What is swept, and by which rules.

    Attributes:
        load: makes the manifest of the settings of a trial, all checks included.
        trials: how many are drawn in all.
        metric: of the test rows, by which the winner is chosen.
    """

    name: str
    load: Callable[[Sequence[str]], Manifest]
    space: Sequence[Dimension]
    trials: int
    metric: str
    seed: int
    halve: bool = True

    @property
    def digest(self) -> str:
        """Of everything that decides which trials are drawn: the study goes by it."""
        declared = self.load(()).model_dump(mode="json")
        space = [repr(dimension) for dimension in self.space]
        return digest_json([declared, space, self.trials, self.metric, self.seed, self.halve])

    def overrides(self, settings: Mapping[str, str]) -> tuple[str, ...]:
        """What lays a trial over the manifest: a version of `NAME-sweep`, its gates corrected."""
        plain = self.load(())
        gates = [gate.model_dump(mode="json") for gate in plain.evaluate.gates]
        for gate in gates:
            gate["confidence"] = corrected(gate["confidence"], self.trials)
        return (
            *(f"{key}={value}" for key, value in settings.items()),
            f'adapter.name="{plain.adapter.name}{SUFFIX}"',
            f'publish.alias="{TRIAL}"',
            *([f"evaluate.gates={_inline(gates)}"] if gates else []),
        )

    def manifest(self, settings: Mapping[str, str]) -> Manifest:
        """The manifest of a trial.

        Raises:
            ManifestError: the settings make no manifest.
        """
        return self.load(self.overrides(settings))


def _inline(tables: Sequence[Mapping[str, Any]]) -> str:
    """Tables of texts and numbers as an array of inline tables of TOML."""
    shown = (", ".join(f"{key} = {json.dumps(table[key])}" for key in table) for table in tables)
    return "[" + ", ".join(f"{{{one}}}" for one in shown) + "]"


def corrected(confidence: float, trials: int) -> float:
    """The confidence of each of so many intervals that all hold with `confidence` (Bonferroni)."""
    return 1 - (1 - confidence) / trials


def check(sweep: Sweep) -> None:
    """Refuse what no trial could be judged by, before any is built.

    Raises:
        InvalidInput: the metric is not evaluated, or the manifest has stages.
        ManifestError: an end or a choice of a dimension makes no manifest.
    """
    loaded = sweep.load(())
    if loaded.before is not None:
        raise InvalidInput(
            "the manifest has stages, and a sweep is of one training",
            hint="sweep a manifest of the first stage alone",
        )
    if sweep.metric not in loaded.evaluate.metrics:
        raise InvalidInput(
            f"the manifest does not evaluate `{sweep.metric}`",
            hint=f"`evaluate.metrics` has {', '.join(loaded.evaluate.metrics)}",
        )
    for settings in _corners(sweep.space):
        sweep.manifest(settings)


def _corners(space: Sequence[Dimension]) -> Iterator[dict[str, str]]:
    """Each value that is written, at least once."""
    ends = {one.key: _written(one) for one in space}
    for turn in range(max(len(values) for values in ends.values())):
        yield {key: values[min(turn, len(values) - 1)] for key, values in ends.items()}


def _written(one: Dimension) -> tuple[str, ...]:
    if isinstance(one, Choices):
        return one.values
    return tuple(str(int(end)) if one.whole else repr(end) for end in (one.low, one.high))


def run_sweep(
    sweep: Sweep,
    build: Build,
    *,
    home: Path,
    parallel: int = 1,
    say: Callable[[str], None],
) -> list[Tried]:
    """Try until all trials were drawn; in the order that they were drawn.

    Args:
        home: the study is kept under `sweeps/`.
        parallel: trials at once.

    Raises:
        what `check` raises.
    """
    check(sweep)
    study = _study(sweep, home)
    lock = threading.Lock()
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "RUNNING":  # of a process that was killed: drawn again, and built on
            study.tell(trial.number, state=_state("FAIL"))
            study.enqueue_trial(trial.params)

    def one() -> None:
        with lock:
            trial = _draw(study, sweep)
        tried = _try(sweep, build, trial)
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

    def listen(event: Mapping[str, Any]) -> None:
        if event["event"] != "validation" or event.get(objective.reports) is None:
            return
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
    except AdapterworksError as error:
        return Tried(number, settings, "failed", why=(error.message,))
    report = built.report
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


def winner(tried: Sequence[Tried], metric: str) -> Tried | None:
    """The best on the test rows of those whose gates passed; None if no trial's did."""
    passed = [one for one in tried if one.state == "built" and one.passed]
    sign = 1 if find_metric(metric).higher_is_better else -1
    return max(passed, key=lambda one: (sign * (one.score or 0.0), -one.number), default=None)


def line(tried: Tried, sweep: Sweep) -> str:
    """A trial in one line."""
    settings = " ".join(f"{key}={value}" for key, value in tried.settings.items())
    head = f"trial {tried.number + 1}: {settings}: "
    if tried.state == "failed":
        return head + "failed: " + "; ".join(tried.why)
    validation = "" if tried.value is None else f", validation {tried.value:.4f}"
    if tried.state == "pruned":
        return head + "ended early" + validation
    assert tried.gain is not None
    low, high = tried.gain[1:]
    gates = "gates passed" if tried.passed else "gates did not pass"
    return (
        f"{head}{tried.ref}, {sweep.metric} {tried.score:.3f}, gain {tried.gain[0]:+.3f} "
        f"[{low:+.3f}, {high:+.3f}]{validation}, {gates}"
    )


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
