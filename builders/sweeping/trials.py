"""The trials of a sweep: drawn by optuna, built, ended early where they fall behind, kept.

Invariant: a sweep that was killed goes on where it was: finished trials are in the study's file,
the one that was under way is built on from its checkpoint, and the same seed draws the same trials.
What could not be built for a moment (memory that others hold, an index that is away) was not tried:
it is waited for, and where that does not help the sweep ends as one that was killed. So it does
where its manifest was edited meanwhile, and it is run by one process at a time.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.building.record import half_done, recorded
from adapterworks.builders.building.result import UNTOLD
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.sweeping.study import (
    NUMBER,
    SETTINGS,
    draw,
    go_on,
    keep,
    opened,
    tried_in,
)
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
from adapterworks.manifests.faults import ManifestError

if TYPE_CHECKING:
    import optuna

_WAITS_S = (15.0, 60.0, 300.0, 600.0)


class Changed(Conflict):
    """The manifest says something else than when the sweep began."""


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
            with it. Or another process runs the sweep, or its manifest was edited (`Changed`).
        what `check` raises.
    """
    check(sweep)
    with opened(sweep, home) as study:
        go_on(study)
        lock, begun = threading.Lock(), sweep.digest

        def unchanged(label: str, overrides: Sequence[str], listen: Listener) -> Built:
            _require_unchanged(sweep, begun)
            return build(label, overrides, listen)

        patient = _patient(unchanged, say, wait)

        def one() -> None:
            _require_unchanged(sweep, begun)
            with lock:
                trial = draw(study, sweep)
            tried = _try(sweep, patient, trial)
            with lock:
                keep(study, trial, tried)
            say(line(tried, sweep))

        _repeat(one, sweep.trials - len(tried_in(study)), parallel)
        return sorted(tried_in(study), key=lambda tried: tried.number)


def _require_unchanged(sweep: Sweep, begun: str) -> None:
    """Refuse to go on where the manifest is another one: what is drawn and found is of the old one.

    Args:
        begun: the sweep's digest when it began.

    Raises:
        Changed: it is, or it is none any more.
    """
    try:
        same = sweep.digest == begun
    except ManifestError:
        same = False
    if not same:
        raise Changed(
            f"the manifest of `{sweep.name}` was edited while the sweep ran, and its trials are of "
            "what it said before",
            hint="undo the change, and the same command goes on where it was; as it is now it is "
            "another sweep, which begins anew",
        )


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


def _try(sweep: Sweep, build: Build, trial: optuna.Trial) -> Tried:
    number, settings = trial.user_attrs[NUMBER], trial.user_attrs[SETTINGS]
    try:
        objective = OBJECTIVES[sweep.manifest(settings).objective.kind]
    except ManifestError as error:  # each value is one that it takes, and not all go together
        return Tried(number, settings, "failed", why=(error.message,))
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
            except Changed:
                raise
            except (Conflict, Unavailable) as error:
                asked = error.retry_after if isinstance(error, Unavailable) else None
                seconds = max(seconds, asked or 0.0)
                say(f"{label}: {error.message}; it is built again in {seconds:.0f} s")
                wait(seconds)
        return build(label, overrides, listen)

    return patient


def forget(builds: Path, name: str, plan: str) -> None:
    """Remove the half-done build of a trial that was ended early, and no other sweep's.

    Args:
        plan: its digest, as the build's events say it.
    """
    for folder in half_done(builds, name + SUFFIX):
        record = recorded(folder)
        if record is not None and record["digests"]["publish"] == plan:
            shutil.rmtree(folder)
