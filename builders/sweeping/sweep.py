"""What a sweep is, and by which rules a trial is judged (`trials.py` draws and builds them).

Each trial is a build, published as the next version of `NAME-sweep`. What is drawn next, and what
is ended early, is decided by the validation rows alone: by the best value so far (TPE, Bergstra et
al. 2011), and by asynchronous successive halving (Li et al. 2020) at each validation. The test rows
are looked at by the gates only, once a trial; each gate, and each budget of retention and safety,
is held to a confidence of 1 - (1 - c) / trials (Bonferroni), so that among all trials one passes by
chance no more often than in a single build. The winner is the best on the test rows of those that
passed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from adapterworks.builders.evaluation.metrics import metric as find_metric
from adapterworks.builders.evaluation.scorers import scorer
from adapterworks.builders.sweeping.space import Choices, Dimension
from adapterworks.builders.training.events import Listener
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest

BEST = "best"
"""The alias of the winner."""
TRIAL = "trial"
SUFFIX = "-sweep"


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
which the listener raises, through. `Unavailable` and `Conflict`: not now, whatever the settings."""


@dataclass(frozen=True)
class Sweep:
    """What is swept, and by which rules.

    Attributes:
        load: makes the manifest of the settings of a trial, all checks included.
        trials: how many are drawn in all.
        metric: of the test rows, by which the winner is chosen.
        rows: digest of the rows of all splits: with others, what was found holds no longer.
    """

    name: str
    load: Callable[[Sequence[str]], Manifest]
    space: Sequence[Dimension]
    trials: int
    metric: str
    seed: int
    halve: bool = True
    rows: str = ""

    @property
    def digest(self) -> str:
        """Of everything that decides which trials are drawn: the study goes by it."""
        declared = self.load(()).model_dump(mode="json")
        space = [repr(dimension) for dimension in self.space]
        rules: list[Any] = [space, self.trials, self.metric, self.seed, self.halve]
        rules += [scorer(name) for name in self.load(()).evaluate.metrics]
        return digest_json([declared, self.rows, *rules])

    def overrides(self, settings: Mapping[str, str]) -> tuple[str, ...]:
        """What lays a trial over the manifest: a version of `NAME-sweep`, its gates corrected."""
        plain = self.load(())
        gates = [gate.model_dump(mode="json") for gate in plain.evaluate.gates]
        for gate in gates:
            gate["confidence"] = corrected(gate["confidence"], self.trials)
        budgets = corrected(plain.evaluate.budget_confidence, self.trials)
        return (
            *(f"{key}={value}" for key, value in settings.items()),
            f'adapter.name="{plain.adapter.name}{SUFFIX}"',
            f'publish.alias="{TRIAL}"',
            *([f"evaluate.gates={_inline(gates)}"] if gates else []),
            *([f"evaluate.budget_confidence={budgets!r}"] if _has_budget(plain) else []),
        )

    def manifest(self, settings: Mapping[str, str]) -> Manifest:
        """The manifest of a trial.

        Raises:
            ManifestError: the settings make no manifest.
        """
        return self.load(self.overrides(settings))


def _has_budget(manifest: Manifest) -> bool:
    """Whether a loss of retention or safety is limited."""
    tables = (manifest.evaluate.retention, manifest.evaluate.safety)
    return any(
        value is not None
        for table in tables
        for key, value in table.model_dump().items()
        if key.startswith("max_") and key != "max_new_tokens"
    )


def _inline(tables: Sequence[Mapping[str, Any]]) -> str:
    """Tables of texts and numbers as an array of inline tables of TOML, which has no null."""
    shown = (
        ", ".join(
            f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None
        )
        for table in tables
    )
    return "[" + ", ".join(f"{{{one}}}" for one in shown) + "]"


def corrected(confidence: float, trials: int) -> float:
    """The confidence of each of so many intervals that all hold with `confidence` (Bonferroni)."""
    return 1 - (1 - confidence) / trials


def check(sweep: Sweep) -> None:
    """Refuse what no trial could be judged by, before any is built.

    Raises:
        InvalidInput: the metric is not evaluated, there are no test rows, or the manifest has
            stages.
        ManifestError: an end or a choice of a dimension makes no manifest.
    """
    loaded = sweep.load(())
    if loaded.before is not None:
        raise InvalidInput(
            "the manifest has stages, and a sweep is of one training",
            hint="sweep a manifest of the first stage alone",
        )
    if not loaded.data.has_test:
        raise InvalidInput(
            "there are no test rows to tell trials by",
            hint="name `data.test`, or hold rows out with `data.test_share`",
        )
    if any(dimension.key == "base.model" for dimension in sweep.space):
        raise InvalidInput(
            "`base.model` is varied, and the validation losses that decide a sweep are of each "
            "base's own tokens, which cannot be compared",
            hint="sweep each base by itself, and compare the winners: adapters eval",
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


def winner(tried: Sequence[Tried], metric: str) -> Tried | None:
    """The best on the test rows of those whose gates passed; None if no trial's did."""
    passed = [one for one in tried if one.state == "built" and one.passed]
    found = find_metric(metric)
    sign = 1 if found.higher_is_better else -1

    def worth(one: Tried) -> float:
        """Its score; of a metric that only compares, its gain over the base."""
        if found.absolute:
            return sign * (one.score or 0.0)
        return one.gain[0] if one.gain else 0.0

    return max(passed, key=lambda one: (worth(one), -one.number), default=None)


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
