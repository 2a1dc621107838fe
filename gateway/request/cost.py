"""What a request may cost: reserved before it is asked, charged where nobody counted.

Invariant: `most` is never below what the engine can have counted: a token is at least one byte, and
a prompt and its answer fit into the engine's context.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapterworks.gateway.request.endpoints import Call

USUAL_BYTES = 4  # of one token, in what people write
# What a request takes of an engine in any case, in tokens: it is read, whatever comes of it.
_READ, _BYTES_READ = 16, 256
# A chat template's own words, and virtual tokens in front: not in the client's bytes.
_TEMPLATE = 256


@dataclass(frozen=True, slots=True)
class Cost:
    """Prompt and completion tokens."""

    prompt: int
    completion: int

    @property
    def total(self) -> int:
        """Both."""
        return self.prompt + self.completion


def expected(call: Call, context: int) -> Cost:
    """What is reserved: four bytes a token, and the longest answers that there is room for.

    Args:
        context: tokens that a prompt and its answer may have together on the engine.
    """
    asked = call.asked
    if call.endpoint.free:
        return Cost(0, 0)
    prompt = min(call.size // USUAL_BYTES, context * asked.prompts)
    room = max(1, context - prompt // asked.prompts)
    return Cost(prompt, min(_limit(call, room), room) * asked.sequences)


def demanded(call: Call, context: int) -> int:
    """What cannot be less: as `expected`, but of an answer without a bound only its first token."""
    cost = expected(call, context)
    if call.asked.limit is None and call.endpoint.generates:
        return cost.prompt + call.asked.sequences
    return cost.total


def most(call: Call, context: int) -> Cost:
    """The most it can have cost, as the engine counts."""
    asked = call.asked
    if call.endpoint.free:
        return Cost(0, 0)
    prompt = min(call.size + _TEMPLATE * asked.prompts, context * asked.prompts)
    return Cost(prompt, min(_limit(call, context), context) * asked.sequences)


def of_turn(call: Call, tokens: int) -> int:
    """What a turn counts for its tenant's share of the engine: never nothing.

    A tenant whose requests cost nothing (tokens are only counted, the engine refuses them) would
    stay the one that was served least, and be next for as long as it asks.
    """
    return max(tokens, _READ + call.size // _BYTES_READ)


def _limit(call: Call, unbounded: int) -> int:
    if not call.endpoint.generates:
        return 0
    return call.asked.limit or unbounded
