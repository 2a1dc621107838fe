"""Whether an engine may be asked to score a prompt's own tokens.

Invariant: whoever sends a client's body to an engine asks here first, a shadow too: one without our
plugin ends by such a request, for everybody.
"""

from __future__ import annotations

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.request.endpoints import Call
from adapterworks.gateway.request.errors import InvalidField


async def require_scorable(engine: Engine, call: Call) -> None:
    """Refuse to have a prompt scored where that is not possible.

    Raises:
        InvalidField: the engine would end, for everybody.
        Unavailable: it does not say whether it can.
    """
    if call.asked.scores_prompt and not await engine.can_score_prompts():
        raise InvalidField(
            f"the engine of `{engine.base.name}` cannot score the prompt's own tokens",
            param="prompt_logprobs" if "prompt_logprobs" in call.payload else "logprobs",
            hint="it runs without our plugin, where a batch with LoRA would end it; score "
            "a continuation with `logprobs` on generated tokens instead",
        )
