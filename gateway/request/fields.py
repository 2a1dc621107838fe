"""Which paths are relayed, and which request fields may reach the engine on each.

Invariant: an allow-list. Whatever steers the engine rather than the answer (cache salts, adapter
paths, key-value transfer, priorities, request ids, templates, raw embeddings) never passes; what
was left out is named in the answer's `x-adapter-ignored` header. A field whose loss would change
the meaning of the request is refused instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapterworks.manifests.errors import InvalidInput


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SAMPLING = _names(
    "frequency_penalty logit_bias n presence_penalty seed stop stream temperature top_p user "
    "top_k min_p repetition_penalty length_penalty stop_token_ids include_stop_str_in_output "
    "ignore_eos min_tokens skip_special_tokens spaces_between_special_tokens "
    "allowed_token_ids bad_words truncate_prompt_tokens truncation_side response_format "
    "structured_outputs return_tokens_as_token_ids return_token_ids thinking_token_budget "
    "add_special_tokens"
)
_CHAT = _SAMPLING | _names(
    "messages model logprobs top_logprobs max_tokens max_completion_tokens stream_options "
    "tools tool_choice parallel_tool_calls reasoning_effort include_reasoning "
    "logprob_token_ids echo add_generation_prompt continue_final_message documents "
    "chat_template_kwargs"
)
_COMPLETION = _SAMPLING | _names(
    "prompt model echo logprobs max_tokens stream_options suffix logprob_token_ids"
)
_RESPONSES = _names(
    "include input instructions max_output_tokens max_tool_calls metadata model logit_bias "
    "parallel_tool_calls reasoning include_reasoning stream temperature text tool_choice "
    "tools top_logprobs top_p top_k min_p truncation user skip_special_tokens "
    "presence_penalty frequency_penalty include_stop_str_in_output structured_outputs "
    "repetition_penalty seed stop stop_token_ids ignore_eos chat_template_kwargs"
)
_MESSAGES = _names(
    "model messages max_tokens output_config thinking stop_sequences stream system "
    "temperature tool_choice tools top_k top_p"
)
_EMBEDDINGS = _names("model input encoding_format dimensions user truncate_prompt_tokens")
_STATEFUL = {
    "background": "answers are not kept; leave `background` out and read the stream",
    "previous_response_id": "answers are not kept; send the conversation in `input`",
    "conversation": "answers are not kept; send the conversation in `input`",
    "prompt": "stored prompts are not kept; send the text in `input`",
}
# With LoRA, log-probabilities of prompt tokens stop the engine, for every tenant, once a batch
# holds two requests (vLLM 0.32: its logits layer maps adapters by request, not by token).
_PROMPT_LOGPROBS = {
    "prompt_logprobs": "score a continuation with `logprobs` on generated tokens instead",
}
# Sent by ordinary clients, without meaning for an engine: left out without a word.
_SILENT = frozenset({"store", "metadata", "service_tier", "prompt_cache_key", "safety_identifier"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One relayed path.

    Attributes:
        limit_fields: where a client says how many tokens it wants.
        usage_in_stream: whether `stream_options` can ask for usage in every chunk.
        anthropic: whether errors have Anthropic's shape.
        refused: fields that cannot be left out without changing the meaning, with a hint.
    """

    path: str
    fields: frozenset[str]
    limit_fields: tuple[str, ...] = ()
    usage_in_stream: bool = False
    anthropic: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)


CHAT = Endpoint(
    "/v1/chat/completions",
    _CHAT,
    ("max_completion_tokens", "max_tokens"),
    usage_in_stream=True,
    refused=_PROMPT_LOGPROBS,
)
COMPLETIONS = Endpoint(
    "/v1/completions",
    _COMPLETION,
    ("max_tokens",),
    usage_in_stream=True,
    refused=_PROMPT_LOGPROBS,
)
RESPONSES = Endpoint("/v1/responses", _RESPONSES, ("max_output_tokens",), refused=_STATEFUL)
MESSAGES = Endpoint("/v1/messages", _MESSAGES, ("max_tokens",), anthropic=True)
EMBEDDINGS = Endpoint("/v1/embeddings", _EMBEDDINGS)
ENDPOINTS = (CHAT, COMPLETIONS, RESPONSES, MESSAGES, EMBEDDINGS)


def reduce_fields(
    endpoint: Endpoint, body: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The allowed part of a request body, and the names of what was left out.

    Raises:
        InvalidInput: a field that must not be ignored and cannot be honoured.
    """
    for name, hint in endpoint.refused.items():
        if body.get(name):
            raise InvalidInput(f"`{name}` is not supported", hint=hint)
    # `echo` with `logprobs` is `prompt_logprobs` by another name.
    if body.get("echo") and (body.get("logprobs") or body.get("top_logprobs")):
        raise InvalidInput(
            "`echo` together with `logprobs` is not supported",
            hint=_PROMPT_LOGPROBS["prompt_logprobs"],
        )
    kept = {name: value for name, value in body.items() if name in endpoint.fields}
    ignored = sorted(name for name in body if name not in endpoint.fields and name not in _SILENT)
    return kept, tuple(ignored)


def estimate_tokens(endpoint: Endpoint, body: Mapping[str, Any], size: int) -> int:
    """Tokens a request may cost, before anyone counted them: 4 bytes a token, plus what it asks.

    Args:
        size: bytes of the request body.
    """
    wanted = next((body[f] for f in endpoint.limit_fields if isinstance(body.get(f), int)), 16)
    choices = body.get("n")
    return size // 4 + max(0, wanted) * (choices if isinstance(choices, int) and choices > 0 else 1)
