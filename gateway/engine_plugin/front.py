"""Requests for virtual tokens or scores of a prompt, as they leave vLLM's front end.

Invariant: a request that passes names an adapter that is there and fits the context with its
virtual tokens, and positions that its prompt has; everything else is refused as a bad request,
before it reaches the engine's loop.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from vllm.config import VllmConfig
from vllm.exceptions import VLLMValidationError
from vllm.platforms import current_platform
from vllm.v1.engine import EngineCoreRequest
from vllm.v1.engine.input_processor import InputProcessor

from adapterworks.gateway.engine_plugin import last_used
from adapterworks.gateway.engine_plugin.positions import POSITIONS, check_positions
from adapterworks.gateway.engine_plugin.servables import PARAMETER, TOKENS, find


def admit(request: EngineCoreRequest, max_model_len: int) -> None:
    """Check one request, and hold its answer to what the context has room for.

    Raises:
        VLLMValidationError: vLLM answers it with status 400.
    """
    sampling = request.sampling_params
    wanted = ((sampling and sampling.extra_args) or {}).get(PARAMETER) or {}
    if "adapter_digest" not in wanted:
        return
    assert sampling is not None
    try:
        adapter = find(wanted["adapter_digest"])
    except ValueError as error:
        raise VLLMValidationError(str(error), parameter=PARAMETER) from None
    last_used.note(wanted["adapter_digest"])
    wanted[TOKENS] = adapter.count
    if request.prompt_token_ids is None or request.prompt_embeds is not None:
        raise VLLMValidationError("prompt embeddings cannot follow virtual tokens")
    if request.lora_request is not None:
        raise VLLMValidationError("a LoRA and virtual tokens cannot be combined")
    room = max_model_len - len(request.prompt_token_ids) - adapter.count
    if room < 1:
        raise VLLMValidationError(
            f"the prompt's {len(request.prompt_token_ids)} tokens and the adapter's "
            f"{adapter.count} virtual tokens leave no room in a context of {max_model_len}",
            parameter="input_tokens",
            value=len(request.prompt_token_ids),
        )
    sampling.max_tokens = min(sampling.max_tokens or room, room)


def ask_for_positions(request: EngineCoreRequest) -> None:
    """Ask for the prompt's scores where the request names positions of it.

    As many likeliest tokens as the answer's own `logprobs` are asked for at each.

    Raises:
        VLLMValidationError: vLLM answers it with status 400.
    """
    sampling = request.sampling_params
    named = ((sampling and sampling.extra_args) or {}).get(POSITIONS)
    if named is None:
        return
    assert sampling is not None
    try:
        check_positions(named, len(request.prompt_token_ids or ()))
    except ValueError as error:
        raise VLLMValidationError(str(error), parameter=POSITIONS) from None
    sampling.prompt_logprobs = sampling.logprobs or 0
    # What the engine has of the prompt in its cache, it would not compute, and so not score.
    sampling.skip_reading_prefix_cache = True


def scores_prompts(config: VllmConfig) -> bool:
    """Whether the engine's worker has `prompt_scores` for its own: on CPU, beside LoRA."""
    return (
        config.lora_config is not None
        and current_platform.is_cpu()
        and not config.use_v2_model_runner
    )


def install() -> None:
    """Check every request as vLLM's front end makes it; harmless when repeated."""
    stock = InputProcessor.process_inputs
    if getattr(stock, "adapterworks", False):
        return

    @wraps(stock)
    def process_inputs(self: InputProcessor, *args: Any, **kwargs: Any) -> EngineCoreRequest:
        request = stock(self, *args, **kwargs)
        admit(request, self.model_config.max_model_len)
        if lora := request.lora_request:
            last_used.note(lora.lora_name)
        if scores_prompts(self.vllm_config):
            ask_for_positions(request)
        return request

    process_inputs.adapterworks = True  # type: ignore[attr-defined]
    InputProcessor.process_inputs = process_inputs
