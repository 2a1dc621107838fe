"""Turns → text by the base's chat template, text → ids: for training and inference alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from adapterworks.builders.data.rows import Message, unweighted
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The day that a template which writes the date (Llama 3.2, SmolLM3) is told: with the real one,
# equal rows would be other rows tomorrow, and a build resumed after midnight another build.
RENDERED_ON = date(2026, 1, 1)


class Span(NamedTuple):
    """An assistant turn's tokens, half-open, and how much each counts; 0: it is not learnt."""

    start: int
    stop: int
    weight: float = 1.0


def template(
    tokenizer: PreTrainedTokenizerBase,
    turns: Sequence[Message],
    generation_prompt: bool,
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The template's text for some turns and the tools that they may call.

    Raises:
        InvalidInput: the tokenizer has no chat template, or the template refuses the turns.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise InvalidInput(
            "the base's tokenizer has no chat template",
            hint='use an instruction-tuned base, or `data.format = "text"` with plain text',
        )
    try:
        text: str = tokenizer.apply_chat_template(
            [unweighted(turn) for turn in turns],
            tools=[*tools] or None,
            tokenize=False,
            add_generation_prompt=generation_prompt,
            strftime_now=RENDERED_ON.strftime,
        )
    except (TemplateError, TypeError) as error:  # TypeError: it adds a text and a table, say
        raise InvalidInput(
            f"the base's chat template refuses a conversation of roles "
            f"{', '.join(turn['role'] for turn in turns)}: {error}",
            hint="many templates want user and assistant to alternate, some have no system turn",
        ) from error
    return text


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], special: bool = False
) -> list[list[int]]:
    """Token ids of texts; templates write their own special tokens, so none are added to them."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(
        [*texts], add_special_tokens=special, return_attention_mask=False, verbose=False
    )["input_ids"]
    return ids
