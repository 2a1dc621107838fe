"""Which trials are drawn, which are ended early, and which one wins: with trainings made up."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from adapterworks.builders.evaluation import scorers
from adapterworks.builders.plan.occupied import Occupied
from adapterworks.builders.sweeping import study
from adapterworks.builders.sweeping.space import parse_space
from adapterworks.builders.sweeping.study import HALVING
from adapterworks.builders.sweeping.sweep import (
    Built,
    Sweep,
    Tried,
    check,
    corrected,
    line,
    winner,
)
from adapterworks.builders.sweeping.trials import Changed, forget, run_sweep
from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    InvalidInput,
    Refused,
    Unavailable,
)
from adapterworks.manifests.faults import ManifestError
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.models import Manifest
from tests.builders.workshop import Workshop

GATE = '[[evaluate.gates]]\nmetric = "exact_match"\nmin_gain = 0.1\nconfidence = 0.9\n'
PATIENCE_S = 120.0
RATES = "train.learning_rate=1e-4..1e-1"


@dataclass
class Laboratory:
    """Builds that are made up: the loss has its least at a rate of 1e-2."""

    load: Callable[[Sequence[str]], Manifest]
    validations: int = 6
    started: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    dies_at: int | None = None
    bonus: float = 0.0
    passes: Callable[[float], bool] = lambda rate: True
    fails: Callable[[float], bool] = lambda rate: False
    occupied: list[AdapterworksError] = field(default_factory=list)

    def build(
        self, label: str, overrides: Sequence[str], listen: Callable[[Mapping[str, Any]], None]
    ) -> Built:
        rate = self.load(overrides).train.learning_rate
        assert rate is not None
        if self.occupied:
            raise self.occupied.pop(0)
        self.started.append(rate)
        if self.dies_at is not None and len(self.started) == self.dies_at:
            raise KeyboardInterrupt
        if self.fails(rate):
            raise Refused("the training diverged")
        end = abs(math.log10(rate) + 2) - self.bonus
        for number in range(1, self.validations + 1):
            listen({"event": "step", "step": number * 10, "loss": 9.0})
            listen({"event": "validation", "step": number * 10, "loss": end + 1 / number})
        self.finished.append(rate)
        score = 1 - end / 4
        gates = [{"why": f"gain {score:.3f}", "passed": self.passes(rate)}]
        entry = {
            "values": {"candidate": score},
            "gains": {"base": {"gain": score, "low": score - 0.1, "high": score + 0.1}},
        }
        training = {"best_value": end + 1 / self.validations}
        report = {"metrics": {"exact_match": entry}, "gates": gates, "training": training}
        return Built(f"tiny-sweep@{len(self.finished)}", report)


@pytest.fixture
def load(tmp_path: Path, tiny: Path) -> Callable[[Sequence[str]], Manifest]:
    path = Workshop(tmp_path, tiny).manifest(more=GATE)
    return lambda overrides: load_manifest(path, overrides=overrides)


def sweep_of(load: Any, *texts: str, trials: int = 9, **options: Any) -> Sweep:
    space = parse_space(texts or (RATES,))
    values = {"metric": "exact_match", "seed": 0, **options}
    return Sweep("tiny", load, space, trials, **values)


def run(sweep: Sweep, laboratory: Laboratory, home: Path, **options: Any) -> list[Tried]:
    return run_sweep(sweep, laboratory.build, home=home, say=lambda line: None, **options)


def test_a_trial_is_a_version_of_its_own_name_with_gates_for_all_trials(load: Any) -> None:
    sweep = sweep_of(load, "method.rank=2,4", trials=2)
    manifest = sweep.manifest({"method.rank": "4"})
    assert manifest.method.rank == 4
    assert manifest.adapter.name == "tiny-sweep"
    assert manifest.publish.alias == "trial"
    (gate,), (own,) = manifest.evaluate.gates, load(()).evaluate.gates
    assert gate.confidence == pytest.approx(0.95)  # 1 - 0.1 / 2
    assert gate.model_copy(update={"confidence": own.confidence}) == own
    assert manifest.evaluate.budget_confidence == 0.95, "nothing is limited"


def test_budgets_are_held_to_the_confidence_of_gates(load: Any) -> None:
    budgets = ("evaluate.safety.on=true", "evaluate.safety.max_refusal_loss=0.3")
    sweep = sweep_of(lambda more: load((*budgets, *more)), "method.rank=2,4", trials=2)
    manifest = sweep.manifest({"method.rank": "4"})
    assert manifest.evaluate.budget_confidence == pytest.approx(0.975)


def test_what_a_score_depends_on_is_part_of_a_sweep(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sweep_of(load).digest
    assert sweep_of(load).digest == before
    monkeypatch.setattr(scorers, "source_digest", lambda kind, name: "sha256:" + "9" * 64)
    assert sweep_of(load).digest != before


@pytest.mark.parametrize(("trials", "each"), [(1, 0.95), (5, 0.99), (50, 0.999)])
def test_bonferroni(trials: int, each: float) -> None:
    assert corrected(0.95, trials) == pytest.approx(each)


def test_trials_come_nearer_and_the_bad_are_ended_early(load: Any, tmp_path: Path) -> None:
    laboratory = Laboratory(load)
    tried = run(sweep_of(load, trials=20), laboratory, tmp_path)
    assert [one.number for one in tried] == list(range(20))
    assert len({one.settings["train.learning_rate"] for one in tried}) == 20
    ended = {one.state for one in tried}
    assert ended == {"built", "pruned"}
    whole = [one for one in tried if one.state == "built"]
    assert len(whole) < 20 / HALVING + 4
    best = winner(tried, "exact_match")
    assert best is not None
    assert abs(math.log10(float(best.settings["train.learning_rate"])) + 2) < 0.3
    first, last = laboratory.started[:5], laboratory.started[-5:]
    far = lambda rates: sum(abs(math.log10(rate) + 2) for rate in rates)  # noqa: E731
    assert far(last) < far(first)


def test_without_halving_every_trial_is_built(load: Any, tmp_path: Path) -> None:
    tried = run(sweep_of(load, halve=False), Laboratory(load), tmp_path)
    assert {one.state for one in tried} == {"built"}


def test_the_winner_has_passed_its_gates(load: Any, tmp_path: Path) -> None:
    laboratory = Laboratory(load, passes=lambda rate: rate > 0.02)
    tried = run(sweep_of(load, halve=False), laboratory, tmp_path)
    best = winner(tried, "exact_match")
    assert best is not None
    assert float(best.settings["train.learning_rate"]) > 0.02
    assert best.score == max(one.score or 0 for one in tried if one.passed)
    assert best.score < max(one.score or 0 for one in tried)
    assert winner([one for one in tried if not one.passed], "exact_match") is None


def test_a_metric_that_should_be_low(load: Any) -> None:
    low, high = (Tried(n, {}, "built", score=n / 10, passed=True) for n in (1, 2))
    assert winner([low, high], "exact_match") == high
    assert winner([low, high], "perplexity") == low


def test_of_a_metric_that_only_compares_the_gain_decides(load: Any) -> None:
    """A win rate is one half for every trial."""
    worse, better = (
        Tried(n, {}, "built", score=0.5, gain=(n / 10, 0.0, 1.0), passed=True) for n in (1, 2)
    )
    assert winner([worse, better], "win_rate") == better


def test_what_cannot_be_built_now_was_not_tried(load: Any, tmp_path: Path) -> None:
    """Memory that others hold, an index that is away, a plan that somebody else builds."""
    sweep = sweep_of(load, trials=2, halve=False)
    whole = run(sweep, Laboratory(load), tmp_path / "whole")
    for_a_moment = [Occupied("others hold it"), Conflict("it is being built")]
    waited: list[float] = []
    laboratory = Laboratory(load, occupied=[*for_a_moment, Unavailable("away", retry_after=3600)])
    assert run(sweep, laboratory, tmp_path / "moment", wait=waited.append) == whole
    assert waited == [15.0, 60.0, 3600]
    for_long = Laboratory(load, occupied=[Unavailable("the index is away")] * 5)
    with pytest.raises(Unavailable, match="the index is away"):
        run(sweep, for_long, tmp_path / "long", wait=waited.append)
    assert for_long.started == []
    assert run(sweep, Laboratory(load), tmp_path / "long") == whole


def test_a_validation_that_is_passed_again_counts_once(load: Any, tmp_path: Path) -> None:
    """A build that was broken off goes on from its checkpoint, before the last validation."""
    laboratory, begun = Laboratory(load), list[str]()

    def build(label: str, overrides: Sequence[str], listen: Callable[..., None]) -> Built:
        if label == "trial 2" and label not in begun:
            begun.append(label)
            for number in (1, 2, 3):
                listen({"event": "validation", "step": number * 10, "loss": 1 / number})
            raise Unavailable("the index is away")
        return laboratory.build(label, overrides, listen)

    sweep = sweep_of(load, trials=2)
    run_sweep(sweep, build, home=tmp_path, say=lambda line: None, wait=lambda _: None)
    (file,) = (tmp_path / "sweeps").glob("*.db")
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{file}")
    reported = study.trials[1].intermediate_values
    assert [*reported] == list(range(1, laboratory.validations + 1))
    assert [reported[number] for number in (1, 2, 3)] == [1.0, 1 / 2, 1 / 3]


def test_one_that_fails_keeps_no_other_from_its_turn(load: Any, tmp_path: Path) -> None:
    laboratory = Laboratory(load, fails=lambda rate: rate > 0.02)
    sweep = sweep_of(load, halve=False)
    tried = run(sweep, laboratory, tmp_path)
    failed = [one for one in tried if one.state == "failed"]
    assert failed
    assert len(tried) == 9
    assert failed[0].why == ("the training diverged",)
    assert line(failed[0], sweep).endswith("failed: the training diverged")


@pytest.mark.parametrize(
    "dies_at", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(8, marks=pytest.mark.slow)]
)
def test_a_sweep_that_was_killed_goes_on_as_if_it_had_not(
    load: Any, tmp_path: Path, dies_at: int
) -> None:
    whole = run(sweep_of(load), Laboratory(load), tmp_path / "whole")
    laboratory = Laboratory(load, dies_at=dies_at)
    sweep = sweep_of(load)
    with pytest.raises(KeyboardInterrupt):
        run(sweep, laboratory, tmp_path / "killed")
    died = laboratory.started[-1]
    again = Laboratory(load)
    tried = run(sweep, again, tmp_path / "killed")
    assert again.started[0] == died
    assert [(one.number, one.settings, one.state, one.value) for one in tried] == [
        (one.number, one.settings, one.state, one.value) for one in whole
    ]
    assert run(sweep, Laboratory(load, dies_at=1), tmp_path / "killed") == tried  # nothing is left


def test_one_of_several_that_was_killed_is_built_on(load: Any, tmp_path: Path) -> None:
    """What the others came to meanwhile would have something else drawn in its place.

    One thread has the first and the ninth trial, the other one all between, whoever is faster: the
    first goes on when the eighth is under way, which dies when the ninth, the best, is known.
    """
    laboratory, lost = Laboratory(load), list[float | None]()
    under_way, ninth_is_known = threading.Event(), threading.Event()

    def build(label: str, overrides: Sequence[str], listen: Callable[..., None]) -> Built:
        if label == "trial 1":
            assert under_way.wait(PATIENCE_S)
        if label == "trial 8":
            lost.append(load(overrides).train.learning_rate)
            laboratory.bonus = 5.0
            under_way.set()
            assert ninth_is_known.wait(PATIENCE_S)
            raise KeyboardInterrupt
        return laboratory.build(label, overrides, listen)

    def say(line: str) -> None:
        if line.startswith("trial 9:"):
            ninth_is_known.set()

    sweep = sweep_of(load, halve=False)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, build, home=tmp_path, parallel=2, say=say)
    again = Laboratory(load)
    tried = run(sweep, again, tmp_path)
    assert again.started == lost
    assert [one.number for one in tried] == list(range(9))


def test_one_whose_outcome_is_kept_is_not_built_again(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the outcome was kept and before the study was told."""
    sweep = sweep_of(load, trials=3, halve=False)
    whole = run(sweep, Laboratory(load), tmp_path / "whole")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    laboratory = Laboratory(load)
    with monkeypatch.context() as context:
        context.setattr(study, "_told", killed)
        with pytest.raises(KeyboardInterrupt):
            run(sweep, laboratory, tmp_path / "killed")
    again = run(sweep, laboratory, tmp_path / "killed")
    assert len(laboratory.finished) == len(set(laboratory.finished)) == 3
    assert [one.settings for one in again] == [one.settings for one in whole]


def test_a_sweep_is_run_by_one_process_at_a_time(load: Any, tmp_path: Path) -> None:
    """Another one would take what is under way for a killed one's, and have it drawn again."""
    sweep, laboratory = sweep_of(load, trials=2), Laboratory(load)
    refused = []

    def build(label: str, overrides: Sequence[str], listen: Callable[..., None]) -> Built:
        with pytest.raises(Conflict, match="another process runs this sweep") as found:
            run(sweep, Laboratory(load), tmp_path)
        refused.append(found)
        run(sweep_of(load, trials=1, seed=1), Laboratory(load), tmp_path)  # another sweep may
        return laboratory.build(label, overrides, listen)

    run_sweep(sweep, build, home=tmp_path, say=lambda line: None)
    assert len(refused) == len(laboratory.finished) == 2


@pytest.mark.parametrize("edited", ["epochs = 7\n", "[train]\nepochs = \n"])
def test_a_sweep_ends_where_its_manifest_is_edited(load: Any, tmp_path: Path, edited: str) -> None:
    """What was found with the old one says nothing of the new one."""
    (path,) = tmp_path.glob("*.toml")
    before = path.read_text()
    sweep, laboratory = sweep_of(load, trials=3, halve=False), Laboratory(load)

    def build(label: str, overrides: Sequence[str], listen: Callable[..., None]) -> Built:
        built = laboratory.build(label, overrides, listen)
        path.write_text(before.replace("epochs = 4\n", edited))
        assert path.read_text() != before
        return built

    with pytest.raises(Changed, match="was edited while the sweep ran"):
        run_sweep(sweep, build, home=tmp_path / "home", say=lambda line: None)
    assert len(laboratory.finished) == 1
    path.write_text(before)
    run(sweep, laboratory, tmp_path / "home")  # with the change undone it goes on
    assert len(laboratory.finished) == len(set(laboratory.finished)) == 3


def test_what_waits_is_not_built_of_an_edited_manifest(load: Any, tmp_path: Path) -> None:
    (path,) = tmp_path.glob("*.toml")
    laboratory = Laboratory(load, occupied=[Unavailable("an index is away")])

    def wait(seconds: float) -> None:
        path.write_text(path.read_text().replace("epochs = 4\n", "epochs = 7\n"))

    with pytest.raises(Changed):
        run(sweep_of(load), laboratory, tmp_path / "home", wait=wait)
    assert laboratory.started == []


def test_settings_that_do_not_go_together_fail_and_end_no_sweep(load: Any, tmp_path: Path) -> None:
    """Each value is taken with another's: that is all that can be looked at before."""
    space = ("train.batch_size=8,16,32", "train.micro_batch_size=4,16", "train.learning_rate=0.1,1")
    tried = run(sweep_of(load, *space, trials=12, halve=False), Laboratory(load), tmp_path / "home")
    failed = [one for one in tried if one.state == "failed"]
    assert [one.settings["train.batch_size"] for one in failed] == ["8", "8"]
    assert {one.settings["train.micro_batch_size"] for one in failed} == {"16"}
    assert all("does not divide" in one.why[0] for one in failed)
    assert len(tried) == 12


def test_another_sweep_has_a_study_of_its_own(load: Any, tmp_path: Path) -> None:
    laboratory = Laboratory(load)
    run(sweep_of(load, trials=2), laboratory, tmp_path)
    run(sweep_of(load, trials=2, seed=1), laboratory, tmp_path)
    assert len(set(laboratory.started)) == 4
    run(sweep_of(load, trials=2, rows="sha256:others"), laboratory, tmp_path)
    assert len(laboratory.started) == 6, "what was found on other rows is no answer"
    assert len(list((tmp_path / "sweeps").glob("*.db"))) == 3


def test_all_of_a_small_space_is_tried(load: Any, tmp_path: Path) -> None:
    space = ("method.rank=2,4", "train.learning_rate=0.001,0.01,0.02")
    tried = run(sweep_of(load, *space, trials=6, halve=False), Laboratory(load), tmp_path)
    assert len({tuple(one.settings.items()) for one in tried}) == 6


def test_several_at_once(load: Any, tmp_path: Path) -> None:
    tried = run(sweep_of(load, halve=False), Laboratory(load), tmp_path, parallel=3)
    assert [one.number for one in tried] == list(range(9))


def test_what_no_trial_could_be_is_refused_before_any_is_built(load: Any) -> None:
    with pytest.raises(InvalidInput, match="does not evaluate `bleu`"):
        check(sweep_of(load, metric="bleu"))
    sweep = sweep_of(load)
    bare = sweep.load(())
    data = bare.data.model_copy(update={"test": None, "test_share": 0.0})
    bare = bare.model_copy(update={"data": data})
    with pytest.raises(InvalidInput, match="no test rows to tell trials by"):
        check(replace(sweep, load=lambda _: bare))
    with pytest.raises(InvalidInput, match="of each base's own tokens"):
        check(sweep_of(load, "base.model=./one,./other"))
    with pytest.raises(ManifestError, match=r"method\.rank"):
        check(sweep_of(load, "method.rank=8,many"))
    with pytest.raises(ManifestError, match=r"method\.rang"):
        check(sweep_of(load, "method.rang=8,16"))
    with pytest.raises(ManifestError):
        check(sweep_of(load, "train.learning_rate=-1..1"))


def test_a_half_done_build_of_a_trial_is_removed_and_no_other(tmp_path: Path) -> None:
    published = {"publish": {"digest": "x"}}
    folders: dict[str, tuple[str, dict[str, Any], str]] = {
        "tiny-sweep-aa": ("tiny-sweep", {}, "x"),
        "tiny-sweep-bb": ("tiny-sweep", published, "x"),
        "tiny-sweep-eu-cc": ("tiny-sweep-eu", {}, "x"),
        "tiny-dd": ("tiny", {}, "x"),
        "tiny-sweep-ee": ("tiny-sweep", {}, "of another sweep"),
    }
    for folder, (name, done, plan) in folders.items():
        record = {
            "done": done,
            "digests": {"publish": plan},
            "plan": {"manifest": {"adapter": {"name": name}}},
        }
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "build.json").write_text(json.dumps(record))
    forget(tmp_path, "tiny", "x")
    assert {path.name for path in tmp_path.iterdir()} == {*folders} - {"tiny-sweep-aa"}
