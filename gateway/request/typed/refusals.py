"""Fields that an endpoint does not have and whose loss would change the answer: they are refused.

Each names the value, besides null, that asks for nothing; a client may send that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a field is refused.

    Attributes:
        hint: what to do instead.
        neutral: values with which it asks for nothing.
    """

    hint: str
    neutral: tuple[Any, ...] = ()

    def meets(self, value: Any) -> bool:
        """Whether this value is refused."""
        return not any(type(value) is type(own) and value == own for own in self.neutral)


Refusals = Mapping[str, Refusal]

_GUIDED = Refusal("use `structured_outputs`, as vLLM calls it now, or `response_format`")
_ELSEWHERE = "templates, embeddings and engine arguments are the release's, not a request's"
# 0 asks for log-probabilities of the prompt too.
_PROMPT_LOGPROBS: Refusals = {"prompt_logprobs": Refusal("`/v1/completions` has it")}
_EVERYWHERE: Refusals = {
    **dict.fromkeys(
        (
            "guided_json",
            "guided_choice",
            "guided_regex",
            "guided_grammar",
            "guided_whitespace_pattern",
        ),
        _GUIDED,
    ),
    "use_beam_search": Refusal("ask for `n` answers and choose", (False,)),
    "verbosity": Refusal("say in the prompt how long the answer is to be", ("medium",)),
    "audio": Refusal("answers are texts"),
    "modalities": Refusal("answers are texts", (["text"],)),
    "web_search_options": Refusal("nothing is searched; send what is to be known in the prompt"),
    "watermarking": Refusal("answers are not watermarked", (False,)),
    "repetition_detection": Refusal("use `frequency_penalty` or `repetition_penalty`"),
    "chat_template": Refusal(_ELSEWHERE),
    "prompt_embeds": Refusal(_ELSEWHERE),
    "vllm_xargs": Refusal(_ELSEWHERE, ({},)),
    "mm_processor_kwargs": Refusal(_ELSEWHERE, ({},)),
    "media_io_kwargs": Refusal(_ELSEWHERE, ({},)),
}
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens")


def _limits(*own: str) -> Refusals:
    hint = f"this endpoint calls it `{own[0]}`"
    return {name: Refusal(hint) for name in _LIMITS if name not in own}


_CHOICES: Refusals = {
    "n": Refusal("this endpoint gives one answer a request", (1,)),
    "best_of": Refusal("this endpoint gives one answer a request", (1,)),
}
_FUNCTIONS: Refusals = {
    "functions": Refusal("use `tools`", ([],)),
    "function_call": Refusal("use `tool_choice`", ("none",)),
}
_NO_LOGPROBS: Refusals = {
    "logprobs": Refusal("this endpoint gives no log-probabilities so", (False,)),
    "echo": Refusal("this endpoint does not repeat the prompt", (False,)),
}

OF_CHAT: Refusals = {
    **_EVERYWHERE,
    **_PROMPT_LOGPROBS,
    **_limits("max_completion_tokens", "max_tokens"),
    **_FUNCTIONS,
    "best_of": Refusal("ask for `n` answers with `logprobs` and choose", (1,)),
    "stop_sequences": Refusal("this endpoint calls it `stop`", ([],)),
    "system": Refusal("send it as a message of role `system`"),
    "suffix": Refusal("`/v1/completions` has it"),
}
OF_COMPLETIONS: Refusals = {
    **_EVERYWHERE,
    **_limits("max_tokens"),
    **_FUNCTIONS,
    "tools": Refusal("`/v1/chat/completions` has them", ([],)),
    "top_logprobs": Refusal("this endpoint calls it `logprobs`", (0,)),
    "stop_sequences": Refusal("this endpoint calls it `stop`", ([],)),
}
OF_RESPONSES: Refusals = {
    **_EVERYWHERE,
    **_PROMPT_LOGPROBS,
    **_limits("max_output_tokens"),
    **_FUNCTIONS,
    **_CHOICES,
    **_NO_LOGPROBS,
    "background": Refusal(
        "answers are not kept; leave `background` out and read the stream", (False,)
    ),
    "previous_response_id": Refusal("answers are not kept; send the conversation in `input`"),
    "conversation": Refusal("answers are not kept; send the conversation in `input`"),
    "prompt": Refusal("stored prompts are not kept; send the text in `input`"),
    "messages": Refusal("this endpoint calls it `input`"),
    "response_format": Refusal("this endpoint calls it `text.format`"),
    "reasoning_effort": Refusal("this endpoint calls it `reasoning.effort`"),
}
OF_MESSAGES: Refusals = {
    **_EVERYWHERE,
    **_PROMPT_LOGPROBS,
    **_limits("max_tokens"),
    **_FUNCTIONS,
    **_CHOICES,
    **_NO_LOGPROBS,
    "stop": Refusal("this endpoint calls it `stop_sequences`", ([],)),
    "response_format": Refusal("this endpoint calls it `output_config.format`"),
    "reasoning_effort": Refusal("this endpoint calls it `output_config.effort`"),
    "structured_outputs": Refusal("this endpoint calls it `output_config.format`"),
}
OF_EMBEDDINGS: Refusals = {}
