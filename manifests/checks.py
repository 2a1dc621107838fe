"""Combinations that are impossible although each value is valid by itself.

Each check names the keys it reads and is left out when one of them is faulty already, so that one
mistake is reported once. Whether a base, recipe or metric of that name exists is not checked here:
those tables belong to the builders.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from manifests.errors import InvalidInput
from manifests.models import AdaloraMethod, LoraMethod, Manifest, PromptMethod
from manifests.sources import REPO_PATTERN, parse_base, parse_source

KeyPath = tuple[str | int, ...]


class Problem(NamedTuple):
    """What a check found; `key` is where the user would mend it."""

    key: KeyPath
    message: str
    hint: str


Check = Callable[[Manifest, dict[str, Any]], Iterator[Problem]]
_CHECKS: list[tuple[tuple[KeyPath, ...], Check]] = []


def _check(*keys: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        _CHECKS.append((tuple(tuple(key.split(".")) for key in keys), check))
        return check

    return register


def find_problems(
    manifest: Manifest, written: dict[str, Any], faulty: Collection[KeyPath] = ()
) -> Iterator[Problem]:
    """Run every check whose keys are not faulty.

    Args:
        manifest: the validated values.
        written: the merged tables as written, to tell a given value from a default.
        faulty: key paths that have a fault already.
    """
    for reads, check in _CHECKS:
        if not any(_overlap(fault, key) for fault in faulty for key in reads):
            yield from check(manifest, written)


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))


def _is_written(written: dict[str, Any], table: str, key: str) -> bool:
    return key in written.get(table, {})


@_check("method", "base.quantization")
def _quantization(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    kind, quantization = manifest.method.kind, manifest.base.quantization
    if kind == "qlora" and quantization != "nf4":
        yield Problem(
            ("base", "quantization"),
            f'method `qlora` trains on an NF4 base, but quantization is "{quantization}"',
            'set `base.quantization = "nf4"`, or `method.kind = "lora"`',
        )


@_check("base.model")
def _base_grammar(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    try:
        parse_base(manifest.base.model)
    except InvalidInput as error:
        yield Problem(("base", "model"), error.message, error.hint or "")


@_check("data.train", "data.validation", "data.test", "data.mix", "data.replay")
def _source_grammar(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    data = manifest.data
    sources: list[tuple[KeyPath, str | None]] = [
        (("data", "train"), data.train),
        (("data", "validation"), data.validation),
        (("data", "test"), data.test),
        (("data", "replay", "source"), data.replay.source if data.replay else None),
        *((("data", "mix", i, "source"), mixed.source) for i, mixed in enumerate(data.mix)),
    ]
    for key, text in sources:
        if text is not None:
            try:
                parse_source(text)
            except InvalidInput as error:
                yield Problem(key, error.message, error.hint or "")


@_check("method")
def _ranks(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    method = manifest.method
    if isinstance(method, AdaloraMethod):
        if method.rank > method.initial_rank:
            yield Problem(
                ("method", "rank"),
                f"AdaLoRA prunes from `initial_rank` {method.initial_rank} down to `rank` "
                f"{method.rank}, which is larger",
                f"set `initial_rank` to {method.rank} or more",
            )
        if method.warmup_share + method.final_share >= 1.0:
            yield Problem(
                ("method", "final_share"),
                "`warmup_share` and `final_share` leave no steps for pruning",
                "let their sum stay below 1",
            )
    if (
        isinstance(method, LoraMethod | AdaloraMethod)
        and method.target_modules != "all-linear"
        and not method.target_modules
    ):
        yield Problem(
            ("method", "target_modules"),
            "no module would get an adapter",
            'name modules such as `["q_proj", "v_proj"]`, or write `"all-linear"`',
        )


@_check("method", "train.max_length")
def _soft_prompt(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    method = manifest.method
    if not isinstance(method, PromptMethod):
        return
    if method.virtual_tokens + 16 > manifest.train.max_length:
        yield Problem(
            ("method", "virtual_tokens"),
            f"{method.virtual_tokens} virtual tokens leave no room for a row within "
            f"`train.max_length` {manifest.train.max_length}",
            f"use at most {max(manifest.train.max_length - 16, 1)} virtual tokens, "
            "or a larger `train.max_length`",
        )
    if method.encoder_hidden_size is not None and method.kind != "p-tuning-v2":
        yield Problem(
            ("method", "encoder_hidden_size"),
            f"method `{method.kind}` has no reparameterization encoder",
            'remove it, or set `kind = "p-tuning-v2"`',
        )
    if method.init_text is not None and method.kind != "prompt-tuning":
        yield Problem(
            ("method", "init_text"),
            f"method `{method.kind}` cannot start from text: its prompts are not embeddings",
            'remove it, or set `kind = "prompt-tuning"`',
        )


@_check("data.validation", "data.validation_share", "data.test", "data.limit_test")
def _splits(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    data = manifest.data
    if data.validation is None and data.validation_share in (0.0, 1.0):
        yield Problem(
            ("data", "validation_share"),
            "no rows would be left for "
            + ("validation" if data.validation_share == 0.0 else "training"),
            "name a `data.validation` source, or a share between 0 and 1",
        )
    if data.validation is not None and _is_written(written, "data", "validation_share"):
        yield Problem(
            ("data", "validation_share"),
            "nothing is held out when `data.validation` is named",
            "remove one of the two",
        )
    if data.test is None and data.limit_test is not None:
        yield Problem(
            ("data", "limit_test"),
            "there are no test rows to limit",
            "name a `data.test` source, or remove it",
        )


@_check("data.augment")
def _augmentation(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    augment = manifest.data.augment
    for i, template in enumerate(augment.paraphrase_templates):
        if "{prompt}" not in template:
            yield Problem(
                ("data", "augment", "paraphrase_templates", i),
                "the template would lose the question",
                "put `{prompt}` where the question goes",
            )
    has_means = bool(augment.paraphrase_templates) or augment.lexicon is not None
    if has_means and augment.share == 0.0:
        yield Problem(
            ("data", "augment", "share"),
            "no row would be augmented: `share` is 0",
            "set `data.augment.share`, such as 0.2, or remove the table",
        )
    if augment.share > 0.0 and not has_means:
        yield Problem(
            ("data", "augment", "share"),
            "there is nothing to augment with",
            "give `paraphrase_templates` or a `lexicon`",
        )


@_check("data.format", "train.loss_on")
def _loss_on_text(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    if manifest.data.format == "text" and manifest.train.loss_on == "completion":
        yield Problem(
            ("train", "loss_on"),
            "rows of plain text have no completion",
            'remove it, or set `loss_on = "all"`',
        )


@_check("train.batch_size", "train.micro_batch_size")
def _micro_batch(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    train = manifest.train
    if train.micro_batch_size is not None and train.batch_size % train.micro_batch_size:
        yield Problem(
            ("train", "micro_batch_size"),
            f"{train.micro_batch_size} does not divide `batch_size` {train.batch_size}",
            "use a divisor, or leave it to the plan",
        )


@_check("train.packing", "train.group_by_length")
def _packing(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    if manifest.train.packing and manifest.train.group_by_length:
        yield Problem(
            ("train", "group_by_length"),
            "`packing` and `group_by_length` exclude each other: packed rows have one length",
            "turn one of them off",
        )


@_check("evaluate.metrics", "evaluate.gates", "data.test")
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
    if manifest.evaluate.gates and manifest.data.test is None:
        yield Problem(("evaluate", "gates"), "gates need test rows", "name a `data.test` source")


@_check("evaluate.retention")
def _retention(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    retention = manifest.evaluate.retention
    for key in ("max_perplexity_increase", "max_suite_loss"):
        if not retention.on and getattr(retention, key) is not None:
            yield Problem(
                ("evaluate", "retention", key),
                "retention is not measured, so the budget would never be checked",
                "set `evaluate.retention.on = true`",
            )


@_check("publish.alias", "publish.hub", "publish.private")
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
    if publish.hub is None and _is_written(written, "publish", "private"):
        yield Problem(
            ("publish", "private"), "there is no repository to be private", "name `publish.hub`"
        )


@_check("method", "serve.conversion_rank")
def _conversion(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    kind = manifest.method.kind
    if manifest.serve.conversion_rank is not None and kind not in ("full", "dora", "adalora"):
        yield Problem(
            ("serve", "conversion_rank"),
            f"method `{kind}` is served as it is, without conversion",
            "remove it",
        )


@_check("data.gates")
def _gate_thresholds(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    shares = ("near_duplicates", "contamination", "class_balance", "language")
    for name in type(manifest.data.gates).model_fields:
        gate = getattr(manifest.data.gates, name)
        key: KeyPath = ("data", "gates", name, "threshold")
        if gate.threshold is None:
            continue
        if name in shares and not 0.0 <= gate.threshold <= 1.0:
            yield Problem(key, f"{gate.threshold} is not a share", "use a number from 0 to 1")
        elif name == "length_outliers" and gate.threshold <= 0.0:
            yield Problem(key, f"{gate.threshold} is not positive", "use a number such as 6")
        elif name not in (*shares, "length_outliers"):
            yield Problem(key, f"gate `{name}` has no threshold", "remove it")
