"""What is unusual about a chat template, asked of the base's own tokenizer."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from adapterworks.builders.data.chat import RENDERED_ON, template, tokenize
from adapterworks.builders.data.reasoning import opening, silence
from adapterworks.builders.data.rows import Message
from adapterworks.registry.bases.ends import special_ids, turn_end

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TURNS: list[Message] = [
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "two."},
]
_DATED = ("strftime_now", "date_string")


def template_lints(
    tokenizer: PreTrainedTokenizerBase, *, replaced: bool, own: str, stop: Collection[int] = ()
) -> Iterator[tuple[str, str]]:
    """(what, who says so) of each unusual thing.

    Args:
        replaced: the manifest names the template.
        own: the base's own one; empty if it has none.
        stop: ids that the base is stopped at; not looked at if there are none.

    Raises:
        InvalidInput: the template refuses a question and an answer.
    """
    if not tokenizer.chat_template:
        return
    asked, whole = template(tokenizer, _TURNS[:1], True), template(tokenizer, _TURNS, False)
    if replaced and own:
        yield (
            "the base has a chat template of its own, which another one takes the place of",
            "a tuned base knows its own turns; every other form is learnt from the rows alone",
        )
    if replaced and not whole.startswith(asked):
        yield (
            "a conversation does not begin as its prompt does, so that answers are not learnt "
            "as they are asked for",
            "transformers' chat templating: `add_generation_prompt` opens the answer's turn",
        )
    elif replaced:
        (ids,) = tokenize(tokenizer, [whole[len(asked) :]])
        if not set(ids) & special_ids(tokenizer):
            yield (
                "no special token of this base ends an answer; the last one of a conversation "
                "gets the end-of-text token, earlier ones none",
                "an end that is not one token is learnt badly, and engines do not stop at it",
            )
    end = turn_end(tokenizer)
    if stop and end is not None and end not in stop:
        yield (
            f"it closes an answer with `{tokenizer.decode([end])}`, which the base is not "
            "stopped at: answers would go on behind their end, to the longest length. A "
            "template that `base.chat_template` names has its end added",
            "the base's `generation_config.json` or `config.json`, which every engine reads",
        )
    mark = opening(asked).strip()
    if block := silence(tokenizer):
        yield (
            f"it writes an empty reasoning block (`{' '.join(block.split())}`) before the last "
            "answer that it does not ask with: answers are learnt without it, as they are "
            "asked for. The base itself may reason first; answers are scored without their "
            "reasoning, which takes up tokens of `evaluate.max_new_tokens`. To ask without "
            "reasoning, set `base.template_arguments = { enable_thinking = false }`",
            "the base's chat template; Qwen3's model card",
        )
    elif mark:
        yield (
            f"its prompt opens reasoning with `{mark}`: answers begin within it and are scored "
            "without it, and it takes up tokens of `evaluate.max_new_tokens`",
            "the base's chat template",
        )
    if any(word in tokenizer.chat_template for word in _DATED):
        yield (
            f"it writes the day's date: rows are rendered on {RENDERED_ON:%d %B %Y}, answers "
            "on the day they are asked for",
            "equal rows would be other rows tomorrow",
        )
