"""Which headers go past the gateway: a client's to an engine, and an engine's to a client.

Invariant: what is not named here is taken out, so that nothing of a client's steers an engine but
its body, and nothing of an engine's tells of it but its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapterworks.gateway.picker.messages import DESTINATION

# What of a client's headers an engine gets, with those that begin with `_FORWARDED`. All others
# stay here: some say who the caller is, or describe a body that is replaced, and some steer the
# engine (`x-vllm-priority`, `x-data-parallel-rank`).
_PASSED = frozenset({"host", "content-type", "accept", "traceparent", "tracestate", "x-request-id"})
_FORWARDED = "x-forwarded-"
# Where Envoy is set to show us only some headers, these are taken out all the same.
_TAKEN_OUT = ("content-length", "content-encoding", "authorization", "x-api-key", "accept-encoding")
# What of an engine's headers a client gets; the others tell of the engine (its load, its program).
_SHOWN = frozenset({"content-type", "date", "transfer-encoding", "connection"})


def kept_here(given: Mapping[str, str], told: Mapping[str, str]) -> list[str]:
    """The client's headers that no engine gets.

    Args:
        given: the client's.
        told: those that are set for the engine.
    """
    own = {name for name in given if not name.startswith((":", _FORWARDED)) and name not in _PASSED}
    return sorted((own | {*_TAKEN_OUT}) - told.keys() - {DESTINATION})


def not_shown(given: Iterable[str], told: Mapping[str, str]) -> list[str]:
    """The engine's headers that no client gets.

    Args:
        given: names of the engine's.
        told: those that are set for the client.
    """
    return sorted({"content-length", *given} - _SHOWN - told.keys())
