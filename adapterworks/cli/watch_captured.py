"""`adapters watch --from shadow` and `--from capture`: two releases on the requests of clients."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapterworks.app import App
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.data.rows import Row
    from adapterworks.builders.evaluation.metrics.metric import Metric
    from adapterworks.builders.evaluation.sequences import Decision
    from adapterworks.builders.watching.alias import Pair
    from adapterworks.builders.watching.shadowed import Losses
    from adapterworks.registry.exchanges.exchange import Exchange

PARALLEL = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """What is read, and who judges it.

    Attributes:
        tenant: a name; all tenants', if not given.
        since: seconds; asked within them.
        metric, judge: at most one of both; people's reviews if neither is given.
        max_tokens: of the judge.
    """

    tenant: str | None
    since: int | None
    metric: str | None
    judge: str | None
    key_env: str | None
    max_tokens: int

    def __post_init__(self) -> None:
        if self.metric is not None and self.judge is not None:
            raise InvalidInput("`--metric` and `--judge` exclude each other", hint="leave one out")

    def tenant_id(self, app: App) -> str | None:
        """The tenant's id."""
        from adapterworks.cli.tenant_shown import admin

        return None if self.tenant is None else admin(app).show(self.tenant)[0].id

    @property
    def begin(self) -> float:
        """Seconds since the epoch."""
        return 0.0 if self.since is None else time.time() - self.since


def shadowed(
    app: App, pair: Pair, asked: Asked, confidence: float, most: float
) -> tuple[Decision, dict[str, Any]]:
    """What both have answered, one of them unseen."""
    from adapterworks.builders.watching.shadowed import both_of, compare_shadowed

    tenant = asked.tenant_id(app)
    with _losses(app, pair, asked, tenant) as (by, losses):
        found = compare_shadowed(
            app.exchanges,
            pair,
            by,
            losses,
            tenant=tenant,
            since=asked.begin,
            confidence=confidence,
            most=most,
        )
    if not found.pairs:
        app.note(
            f"no request was answered by both {pair.watched} and {pair.reference}: add a "
            "[[shadow]] to gateway.toml, and have a tenant let its requests be kept"
        )
    elif asked.metric is not None and not found.judged:
        both = both_of(app.exchanges, pair, tenant=tenant, since=asked.begin)
        why = _left_out([one.exchange for one in both], _metric(app, pair, asked.metric))
        app.note(why or f"nobody has said what is right of these {found.pairs} requests")
    told = {"metric": found.by, "pairs": found.pairs, "judged": found.judged, "same": found.same}
    return found.decision, told


def captured(
    app: App,
    pair: Pair,
    asked: Asked,
    confidence: float,
    most: float,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[Decision, dict[str, Any]]:
    """Both are asked again what clients asked, as far as it is known what is right."""
    from adapterworks.builders.watching.paired import watch_rows
    from adapterworks.engines.compose import compose_builders_engines

    metric = _metric(app, pair, asked.metric)
    items = list(
        app.exchanges.read(tenant=asked.tenant_id(app), adapter=pair.name, since=asked.begin)
    )
    rows, kept = _rows(app, pair, items, metric), len(items)
    watched = watch_rows(
        pair,
        given=rows,
        metric=metric.name,
        confidence=confidence,
        most=most,
        registry=app.registry,
        bases=app.bases,
        cache=app.settings.home / "cache",
        state=app.settings.home / "watch",
        engines=compose_builders_engines(app, say=app.note),
        progress=progress,
        say=app.note,
    )
    told = {"metric": metric.name, "of": watched.rows, "asked": watched.asked, "kept": kept}
    return watched.decision, told


def _rows(app: App, pair: Pair, items: Sequence[Exchange], metric: Metric) -> Sequence[Row]:
    """The kept requests with what is right; why others are left out is said.

    Raises:
        InvalidInput: there is none, with the reason.
    """
    from adapterworks.builders.watching.references import (
        first_of_conversations,
        readable,
        reference,
    )

    first = list(first_of_conversations(filter(readable, items)))
    rows = [row for _, row in filter(None, (reference(item, metric) for item in first))]
    why = _left_out(first, metric)
    if rows:
        if why and not metric.reads_columns:
            app.note(why)
        return rows
    raise InvalidInput(
        f"of {len(items)} kept requests of `{pair.name}`, none has an answer known to be right"
        if why is None
        else f"of {len(items)} kept requests of `{pair.name}`, none can be scored: {why}",
        hint="say what is right: adapters feedback add, POST /v1/feedback, or the console"
        if why is None
        else "name another metric with `--metric`",
    )


def _left_out(items: Sequence[Exchange], metric: Metric) -> str | None:
    """How many requests a metric cannot score, with why of the first."""
    from adapterworks.builders.watching.references import refusal

    found = [why for item in items if (why := refusal(item, metric)) is not None]
    return f"{len(found)} cannot be scored by `{metric.name}`: {found[0]}" if found else None


@contextmanager
def _losses(app: App, pair: Pair, asked: Asked, tenant: str | None) -> Iterator[tuple[str, Losses]]:
    """Who judges, and how."""
    from adapterworks.builders.endpoints.budget import Budget
    from adapterworks.builders.endpoints.cache import open_cache
    from adapterworks.builders.endpoints.endpoint import parse_endpoint
    from adapterworks.builders.watching.shadowed import by_judge, by_metric, by_reviews

    if asked.metric is not None:
        metric = _metric(app, pair, asked.metric)
        yield metric.name, by_metric(metric)
    elif asked.judge is None:
        yield "preference of reviewers", by_reviews(app.exchanges, pair, tenant)
    else:
        judge = parse_endpoint(asked.judge, os.environ, asked.key_env)
        app.note(f"questions and answers are sent to {judge.host}")
        budget = Budget(asked.max_tokens)
        with open_cache(app.settings.home / "cache" / "endpoints" / "watch.jsonl") as kept:
            yield (
                f"preference of {judge.name}",
                by_judge(judge, kept, budget, parallel=PARALLEL, sharing=_sharing(app, pair.name)),
            )
        if budget.spent:
            app.note(f"the judge's {asked.max_tokens} tokens ended it: raise --max-tokens")


def _sharing(app: App, adapter: str) -> set[str]:
    """Tenants who share what this adapter answers them with somebody, now."""
    from adapterworks.cli.tenant_shown import admin

    return {one.id for one in admin(app).list() if one.shares(adapter) != "none"}


def _metric(app: App, pair: Pair, name: str | None) -> Metric:
    """The metric of that name, or the first of the watched release's that fits."""
    from adapterworks.builders.evaluation.subjects import find_subject
    from adapterworks.builders.watching.paired import chosen_metric

    manifest = find_subject(app.registry, app.bases, str(pair.watched)).manifest
    _, metric = chosen_metric(manifest.evaluate, name)
    if not metric.alone:
        raise InvalidInput(
            f"`{metric.name}` is of more than an answer's text",
            hint="name one of answers with `--metric`, such as `exact_match`",
        )
    return metric
