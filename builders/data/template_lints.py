"""What is unusual about a chat template, asked of the base's own tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterworks.builders.data.chat import RENDERED_ON, template, tokenize
from adapterworks.builders.data.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TURNS: list[Message] = [
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "two."},
]
_DATED = ("strftime_now", "date_string")


def template_lints(
    tokenizer: PreTrainedTokenizerBase, *, replaced: bool, own: str
) -> list[tuple[str, str]]:
    """(what, who says so) of each unusual thing.

    Args:
        replaced: the manifest names the template.
        own: the base's own one; empty if it has none.

    Raises:
        InvalidInput: the template refuses a question and an answer.
    """
    if not tokenizer.chat_template:
        return []
    found = []
    asked, whole = template(tokenizer, _TURNS[:1], True), template(tokenizer, _TURNS, False)
    if replaced and own:
        found.append(
            (
                "the base has a chat template of its own, which another one takes the place of",
                "a tuned base knows its own turns; every other form is learnt from the rows alone",
            )
        )
    if replaced and not whole.startswith(asked):
        found.append(
            (
                "a conversation does not begin as its prompt does, so that answers are not learnt "
                "as they are asked for",
                "transformers' chat templating: `add_generation_prompt` opens the answer's turn",
            )
        )
    elif replaced:
        (ids,) = tokenize(tokenizer, [whole[len(asked) :]])
        if not set(ids) & set(tokenizer.all_special_ids):
            found.append(
                (
                    "no special token of this base ends an answer; the last one of a conversation "
                    "gets the end-of-text token, earlier ones none",
                    "an end that is not one token is learnt badly, and engines do not stop at it",
                )
            )
    if any(word in tokenizer.chat_template for word in _DATED):
        found.append(
            (
                f"it writes the day's date: rows are rendered on {RENDERED_ON:%d %B %Y}, answers "
                "on the day they are asked for",
                "equal rows would be other rows tomorrow",
            )
        )
    return found
