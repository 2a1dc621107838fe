"""Combinations that are impossible although each value is valid by itself.

Each check names the keys it reads and is left out when one of them is faulty already, so that one
mistake is reported once. What only one method asks is among that method's own checks. Whether a
base or metric of that name exists is not checked here: those tables belong to the builders.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from typing import Any

from adapterworks.manifests.checking import Check, KeyPath, Problem, check, is_written
from adapterworks.manifests.checks_data import DATA_CHECKS
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import load
from adapterworks.manifests.method import method_tables
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import BASE, NEAREST, START, ReferenceTable, reference_ref
from adapterworks.manifests.refs import parse_ref
from adapterworks.manifests.sources import REPO_PATTERN, parse_base
from adapterworks.manifests.templates import SUFFIX, TEMPLATES, names_template_file

# What a reference may differ by where the manifest does not say that it may.
_ALIKE = ReferenceTable.model_fields["max_start_distance"].default


@check("base.quantization", "base.double_quantization")
def _double_quantization(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    if manifest.base.quantization == "none" and is_written(written, "base", "double_quantization"):
        yield Problem(
            ("base", "double_quantization"),
            "the base is not quantized, so there are no constants to quantize",
            'remove it, or set `base.quantization = "nf4"`',
        )


@check("base.model")
def _base_grammar(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    try:
        parse_base(manifest.base.model)
    except InvalidInput as error:
        yield Problem(("base", "model"), error.message, error.hint or "")


@check("base.chat_template", "base.template_arguments")
def _chat_template(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    for argument in manifest.base.template_arguments:
        if not (argument.isidentifier() and argument.isascii()):
            yield Problem(
                ("base", "template_arguments", argument),
                f"`{argument}` is no name that a template could read",
                "a name has letters, digits and `_`",
            )
    name = manifest.base.chat_template
    if name is None or name in TEMPLATES:
        return
    known = ", ".join(f"`{known}`" for known in TEMPLATES)
    if not names_template_file(name):
        yield Problem(
            ("base", "chat_template"),
            f"there is no chat template `{name}`",
            f"known are {known}; a file ends in `{SUFFIX}`",
        )


@check("train.batch_size", "train.micro_batch_size")
def _micro_batch(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    train = manifest.train
    if train.micro_batch_size is not None and train.batch_size % train.micro_batch_size:
        yield Problem(
            ("train", "micro_batch_size"),
            f"{train.micro_batch_size} does not divide `batch_size` {train.batch_size}",
            "use a divisor, or leave it to the plan",
        )


@check("train.packing", "train.group_by_length")
def _packing(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    if manifest.train.packing and manifest.train.group_by_length:
        yield Problem(
            ("train", "group_by_length"),
            "`packing` and `group_by_length` exclude each other: packed rows have one length",
            "turn one of them off",
        )


@check("train.packing", "train.packing_strategy", "objective")
def _packed_ahead(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Rows are put together where something packs them, and each is learnt by itself."""
    train, kind = manifest.train, manifest.objective.kind
    if train.packing_strategy == "micro_batch":
        return
    if not train.packing:
        yield Problem(
            ("train", "packing_strategy"),
            "it says which rows are packed together, and nothing is packed",
            "set `packing = true`, or remove it",
        )
    elif not getattr(load("objectives", kind), "learns_turns", False):
        yield Problem(
            ("train", "packing_strategy"),
            f"objective `{kind}` learns from several sequences together, which have their batch",
            'use `packing_strategy = "micro_batch"`, or leave packing out',
        )


@check("train.quantization_aware", "train.sharding", "method", "base.quantization")
def _rounded(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Weights that are rounded in each step are a method's own, on a base that is not."""
    if manifest.train.quantization_aware is None:
        return
    method, where = manifest.method, ("train", "quantization_aware")
    if not getattr(load("methods", method.kind), "rounds", False):
        yield Problem(
            where,
            f"method `{method.kind}` cannot be trained with rounded weights",
            'use `method.kind = "lora"` or `"full"`, or remove it',
        )
    elif manifest.base.quantization != "none":
        yield Problem(
            where,
            f'the base is rounded already ("{manifest.base.quantization}"), on another grid',
            'set `base.quantization = "none"`, or remove it',
        )
    elif manifest.train.sharding != "none":
        yield Problem(
            ("train", "sharding"),
            "weights that are held in parts are not rounded",
            'set it to "none", or remove `train.quantization_aware`',
        )
    elif getattr(method, "dropout", 0.0):
        yield Problem(
            ("method", "dropout"),
            "dropout is of a LoRA beside its base, and `train.quantization_aware` rounds both as "
            "one weight",
            "set it to 0, or remove `train.quantization_aware`",
        )


@check("train.anchor", "train.sharding", "start", "method")
def _anchor(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """There is something to be held at."""
    anchor, where = manifest.train.anchor, ("train", "anchor")
    if anchor is None:
        return
    whole = bool(getattr(load("methods", manifest.method.kind), "whole_model", False))
    if manifest.start is None and (anchor.kind == "ewc" or not whole):
        yield Problem(
            where,
            "the training continues no release, so nothing has been learnt that could be lost",
            'name the release: [start] from = "NAME@N"',
        )
    if anchor.kind != "ewc" and "rows" in written.get("train", {}).get("anchor", {}):
        yield Problem(
            (*where, "rows"),
            f"`{anchor.kind}` looks at no rows",
            'remove it, or set `kind = "ewc"`',
        )
    if manifest.train.sharding != "none":
        yield Problem(
            ("train", "sharding"),
            "weights that are held in parts are not anchored",
            'set it to "none", or remove `train.anchor`',
        )


@check("train.schedule", "train.optimizer", "train.learning_rate_floor", "train.decay_ratio")
def _schedule(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Keys that the schedule does not read, and schedules that the optimizer does not take."""
    train = manifest.train
    schedule: Any = load("schedules", train.schedule)
    if train.learning_rate_floor and not schedule.falls:
        yield Problem(
            ("train", "learning_rate_floor"),
            f"the schedule `{train.schedule}` does not fall, so that it has no floor",
            'remove it, or use another schedule, such as `"cosine"`',
        )
    if is_written(written, "train", "decay_ratio") and not schedule.decays:
        yield Problem(
            ("train", "decay_ratio"),
            f"the schedule `{train.schedule}` does not read it",
            'remove it, or set `schedule = "wsd"`',
        )
    optimizer: Any = load("optimizers", train.optimizer)
    if optimizer.schedules and train.schedule not in optimizer.schedules:
        yield Problem(
            ("train", "schedule"),
            f"the optimizer `{train.optimizer}` takes no schedule `{train.schedule}`",
            f'set `schedule = "{optimizer.schedules[0]}"`',
        )


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


@check("resources.nodes")
def _nodes(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    if manifest.resources.nodes > 1:
        yield Problem(
            ("resources", "nodes"),
            f"{manifest.resources.nodes} nodes: a build is trained on one",
            "set it to 1; `train.processes` uses several GPUs of a node",
        )


@check("publish.alias", "publish.hub", "publish.private")
def _publication(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    publish = manifest.publish
    if publish.alias is not None and publish.alias.isdigit():
        yield Problem(
            ("publish", "alias"), "a number alone is a version, not an alias", "use a word"
        )
    if publish.hub is not None and not REPO_PATTERN.fullmatch(publish.hub):
        yield Problem(
            ("publish", "hub"), f"`{publish.hub}` is not a Hub repository", "write `org/name`"
        )
    if publish.hub is None and is_written(written, "publish", "private"):
        yield Problem(
            ("publish", "private"), "there is no repository to be private", "name `publish.hub`"
        )


@check("publish.withhold")
def _withheld(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    for index, pattern in enumerate(manifest.publish.withhold or ()):
        needed = (f"{role}/adapter_model.safetensors" for role in ("adapter", "servable", "full"))
        if any(fnmatchcase(path, pattern) for path in needed):
            yield Problem(
                ("publish", "withhold", str(index)),
                f"`{pattern}` means the weights, which no release is without",
                'name what holds texts of rows, such as "predictions.jsonl"',
            )


@check("publish.include", "publish.withhold")
def _included(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    for index, pattern in enumerate(manifest.publish.include):
        if pattern in (manifest.publish.withhold or ()):
            yield Problem(
                ("publish", "include", str(index)),
                f"`{pattern}` is withheld and included",
                "take it out of one of them",
            )


@check("method", "serve.conversion_rank")
def _conversion(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    method = manifest.method
    if manifest.serve.conversion_rank is not None and not load("methods", method.kind).cut:
        cut = [f"`{kind}`" for kind in method_tables() if load("methods", kind).cut]
        others = " and ".join(part for part in (", ".join(cut[:-1]), *cut[-1:]) if part)
        yield Problem(
            ("serve", "conversion_rank"),
            f"method `{method.kind}` is served exactly: nothing is cut to a rank",
            f"remove it; it is for {others}"
            + (", and `method.rank` sets what is served" if hasattr(method, "rank") else ""),
        )


@check("start", "objective")
def _refs(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """What names a release is a ref."""
    try:
        reference_ref(manifest.objective)
    except InvalidInput as error:
        yield Problem(("objective", "reference"), error.message, error.hint or "")
    try:
        if manifest.start is not None:
            parse_ref(manifest.start.ref)
    except InvalidInput as error:
        yield Problem(("start", "from"), error.message, error.hint or "")


@check("start", "objective")
def _reference_apart(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """A continued release begins away from the base, which the build would refuse."""
    reference = getattr(manifest.objective, "reference", START)
    limit = getattr(manifest.objective, "max_start_distance", None)
    if manifest.start is not None and reference == BASE and limit == _ALIKE:
        yield Problem(
            ("objective", "reference"),
            f"the training continues `{manifest.start.ref}`, which is not the base: policy and "
            "reference would differ before the first step",
            "remove it (the reference is then what the training starts from), or say by "
            "`objective.max_start_distance` how far apart they may be",
        )


def _compares_policies(objective: str) -> bool:
    try:
        return bool(getattr(load("objectives", objective), "compares", False))
    except InvalidInput:  # reported as a fault of `objective.kind`
        return False


@check("train.neftune_alpha", "objective")
def _noise(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """With noise, too."""
    kind = manifest.objective.kind
    if manifest.train.neftune_alpha and _compares_policies(kind):
        yield Problem(
            ("train", "neftune_alpha"),
            f"objective `{kind}` compares the policy with a reference, or with what it sampled, "
            "and noise changes the policy by chance",
            "remove it",
        )


@check("method", "objective")
def _dropout(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """With dropout the policy would differ from its reference by chance alone."""
    if getattr(manifest.method, "dropout", 0.0) and _compares_policies(manifest.objective.kind):
        yield Problem(
            ("method", "dropout"),
            f"objective `{manifest.objective.kind}` compares the policy with a reference, or with "
            "what it sampled, and dropout changes the policy by chance",
            "remove it (TRL turns dropout off for it, too)",
        )


_CHECKS = (
    _refs,
    _reference_apart,
    _dropout,
    _noise,
    _against_start,
    _against_nearest,
    _double_quantization,
    _base_grammar,
    _micro_batch,
    _chat_template,
    _packing,
    _packed_ahead,
    _rounded,
    _anchor,
    _schedule,
    _quality_gates,
    _retention,
    _safety,
    _samples,
    _nodes,
    _publication,
    _withheld,
    _conversion,
    *DATA_CHECKS,
)


def find_problems(
    manifest: Manifest, written: dict[str, Any], faulty: Collection[KeyPath] = ()
) -> Iterator[Problem]:
    """Run every check whose keys are not faulty.

    Args:
        manifest: the validated values.
        written: the merged tables as written, to tell a given value from a default.
        faulty: key paths that have a fault already.
    """
    for entry in (*_of_method(manifest, faulty), *_of_objective(manifest, faulty), *_CHECKS):
        if not any(_overlap(fault, key) for fault in faulty for key in entry.reads):
            yield from entry.find(manifest, written)


def _of_method(manifest: Manifest, faulty: Collection[KeyPath]) -> tuple[Check, ...]:
    """The method's own checks, which all read its table."""
    if any(fault[0] == "method" for fault in faulty):
        return ()
    checks: tuple[Check, ...] = load("methods", manifest.method.kind).checks
    return checks


def _of_objective(manifest: Manifest, faulty: Collection[KeyPath]) -> tuple[Check, ...]:
    """The objective's own checks, which all read its table."""
    if any(fault[0] == "objective" for fault in faulty):
        return ()
    checks: tuple[Check, ...] = getattr(load("objectives", manifest.objective.kind), "checks", ())
    return checks


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))
