"""One admitted request: what it took of its tenant's limits, corrected and given back."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.admission.lease import RateLease, SlotLease
from adapterworks.gateway.admission.month import Month
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.manifests.errors import InvalidInput

FORGET_SECONDS = 60.0  # after which nothing of a minute's limit is missing any more


@dataclass(slots=True)
class State:
    """What this gateway knows about one tenant's limits.

    Attributes:
        renewed: when its slots were last, on the monotonic clock.
        used: when a request was last looked at, on the same.
        open: requests that are not over.
    """

    requests: RateLease
    tokens: RateLease
    slots: SlotLease
    month: Month
    renewed: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)
    open: int = 0

    def forgettable(self, now: float) -> bool:
        """Whether nothing is lost if the next request finds none of it."""
        held = self.requests.owes or self.tokens.owes or self.slots.held
        return not (self.open or held) and now - self.used > FORGET_SECONDS


class Permit:
    """One admitted request. `settle` and `release` may be called in any order, any number of times.

    A permit that is released without `settle` gives its estimated tokens back.
    """

    __slots__ = (
        "_released", "_settled", "admitted", "at_once", "estimated", "least", "limits", "sequences",
        "state", "took_month", "took_request", "took_slot", "took_tokens",
    )  # fmt: skip

    def __init__(
        self,
        state: State,
        limits: Limits,
        estimated: int,
        least: int,
        sequences: int,
        at_once: int,
    ) -> None:
        self.state = state
        state.open += 1
        state.used = time.monotonic()
        self.limits = limits
        self.estimated = max(0, estimated)
        self.least = max(0, least)
        self.sequences = sequences
        self.at_once = at_once
        self.took_month = self.took_slot = self.took_request = self.took_tokens = False
        self.admitted = self._settled = self._released = False

    def headers(self) -> dict[str, str]:
        """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}` for the limits there are."""
        headers = {}
        for kind, limit, lease in (
            ("requests", self.limits.rpm, self.state.requests),
            ("tokens", self.limits.tpm, self.state.tokens),
        ):
            if limit:
                lease.per_minute = limit
                headers[f"x-ratelimit-limit-{kind}"] = str(limit)
                headers[f"x-ratelimit-remaining-{kind}"] = str(lease.remaining)
                headers[f"x-ratelimit-reset-{kind}"] = format_seconds(lease.reset)
        return headers

    def settle(self, prompt: int, completion: int) -> None:
        """Replace the estimate by the tokens the engine counted."""
        if not self._settled:
            self._settle(prompt + completion)

    def release(self) -> None:
        """The request is over."""
        if self._released:
            return
        self._released = True
        if not self._settled:
            self._settle(0)
        if self.took_slot:
            self.state.slots.give(self.at_once)
        if self.took_request and not self.admitted:
            self.state.requests.give(self.sequences)
        self.state.open -= 1

    def _settle(self, tokens: int) -> None:
        self._settled = True
        if self.took_tokens:
            self.state.tokens.give(self.estimated - tokens)
        if self.took_month:
            self.state.month.settle(self.estimated, tokens)

    def refusal(
        self,
        tenant: Tenant,
        model: str,
        what: str,
        wait: float,
        *,
        code: str = "rate_limit_exceeded",
    ) -> RateLimited:
        """The 429 for this request."""
        seconds = max(1, math.ceil(wait))
        return RateLimited(
            f"`{model}` for `{tenant.name}`: {what}",
            headers={**self.headers(), "retry-after": str(seconds)},
            retry_after=wait,
            code=code,
            hint=f"try again in {format_seconds(wait)}",
        )


def fits(limits: Limits, tokens: int, sequences: int, at_once: int) -> None:
    """Refuse what no waiting can help.

    Raises:
        InvalidInput: it is above a limit by itself.
    """
    for asked, limit, what in (
        (tokens, limits.tpm, "tokens per minute"),
        (at_once, limits.max_concurrency, "answers at once"),
        (sequences, limits.rpm, "answers per minute"),
    ):
        if limit is not None and asked > limit:
            raise InvalidInput(
                f"the request asks for {asked} {what}, and the tenant's limit is {limit}",
                hint="send it in smaller parts: fewer prompts, a smaller `n` or `max_tokens`",
            )


def reserved(limits: Limits, estimated: int, least: int) -> int:
    """What to reserve: no more than there can be, for a client that sets its answer no bound.

    Half a minute's tokens, because a whole minute's are never there while others hold some. Of the
    month's it is what is left of them when they are taken (`Month.take`).
    """
    return max(least, estimated if limits.tpm is None else min(estimated, limits.tpm // 2))


def format_seconds(seconds: float) -> str:
    """A duration as `x-ratelimit-reset-*` headers write it: `120ms`, `7.66s`, `6m0s`, `2h0m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
