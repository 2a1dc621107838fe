"""What `[evaluate]` asks for and could not be measured or compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import NEAREST, START

LEAST_RESAMPLES = 200  # five of them beyond each end of a 95 % interval


@check("evaluate.metrics", "evaluate.gates", "data.test", "data.test_share")
def _quality_gates(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    metrics = manifest.evaluate.metrics
    for i, metric in enumerate(metrics):
        if metric in metrics[:i]:
            yield Problem(
                ("evaluate", "metrics", i), f"metric `{metric}` is named twice", "remove one"
            )
    for i, gate in enumerate(manifest.evaluate.gates):
        if gate.metric not in metrics:
            yield Problem(
                ("evaluate", "gates", i, "metric"),
                f"gate on `{gate.metric}`, which is not measured",
                f"add it to `evaluate.metrics`, or gate on one of {', '.join(metrics) or 'none'}",
            )
    if manifest.evaluate.gates and not manifest.data.has_test:
        yield Problem(
            ("evaluate", "gates"),
            "gates need test rows",
            "name a `data.test` source, or hold rows out with `data.test_share`",
        )


@check("evaluate.gates", "start")
def _against_start(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    for i, gate in enumerate(manifest.evaluate.gates):
        if gate.against == START and manifest.start is None:
            yield Problem(
                ("evaluate", "gates", i, "against"),
                "the training continues no release, so there is no start to compare with",
                'name one in `[start]`, or compare with `"base"`',
            )


@check("evaluate.gates", "evaluate.baseline")
def _against_nearest(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    for i, gate in enumerate(manifest.evaluate.gates):
        if gate.against == NEAREST and manifest.evaluate.baseline != NEAREST:
            yield Problem(
                ("evaluate", "gates", i, "against"),
                "the nearest training row is not asked, so there is nothing to compare with",
                'set `evaluate.baseline = "nearest"`, or compare with `"base"`',
            )


@check("evaluate.retention")
def _retention(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    retention = manifest.evaluate.retention
    for key in ("max_perplexity_increase", "max_suite_loss"):
        if not retention.on and getattr(retention, key) is not None:
            yield Problem(
                ("evaluate", "retention", key),
                "retention is not measured, so the budget would never be checked",
                "set `evaluate.retention.on = true`",
            )
    if retention.on and retention.max_suite_loss is not None and not retention.suites:
        yield Problem(
            ("evaluate", "retention", "max_suite_loss"),
            "no suite is scored, so the budget would never be checked",
            "name one in `evaluate.retention.suites`, or remove it",
        )


@check("evaluate", "start")
def _ancestors(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    retention = manifest.evaluate.retention
    if retention.ancestors and manifest.start is None:
        yield Problem(
            ("evaluate", "retention", "ancestors"),
            "a training that starts from the base has no ancestors",
            'name the release that it continues: [start] from = "NAME@N"',
        )
    if retention.max_ancestor_loss is not None and not retention.ancestors:
        yield Problem(
            ("evaluate", "retention", "max_ancestor_loss"),
            "no ancestor's test rows are asked",
            "set `evaluate.retention.ancestors = true`",
        )


@check("evaluate.safety")
def _safety(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    given = (written.get("evaluate") or {}).get("safety")
    if manifest.evaluate.safety.on or not isinstance(given, dict):
        return
    for key in given:
        if key != "on":
            yield Problem(
                ("evaluate", "safety", key),
                "refusals are not measured, so nothing would read it",
                "set `evaluate.safety.on = true`",
            )


@check("evaluate.samples")
def _samples(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    samples = manifest.evaluate.samples
    if samples.n and max(samples.k) > samples.n:
        yield Problem(
            ("evaluate", "samples", "k"),
            f"the chance of {max(samples.k)} answers is not to be had from {samples.n}",
            f"set `evaluate.samples.n` to {max(samples.k)} or more; a few times that is exact",
        )
    given = (written.get("evaluate") or {}).get("samples")
    if not samples.n and isinstance(given, dict) and set(given) - {"n"}:
        yield Problem(
            ("evaluate", "samples"),
            "no answer is drawn, so that nothing else there has a meaning",
            "set `evaluate.samples.n`, or remove the table",
        )


@check("evaluate.bootstrap_samples")
def _resamples(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    if (samples := manifest.evaluate.bootstrap_samples) < LEAST_RESAMPLES:
        yield Problem(
            ("evaluate", "bootstrap_samples"),
            f"the ends of a 95 % interval cannot be read from {samples} resamples",
            f"set it to {LEAST_RESAMPLES} or more, or leave it out for 2000",
        )


EVALUATE_CHECKS = (
    _quality_gates,
    _against_start,
    _against_nearest,
    _retention,
    _ancestors,
    _safety,
    _samples,
    _resamples,
)
