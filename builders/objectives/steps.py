"""Steps as sequences: behind each one's separator a label, and the token it is weighed against.

Invariant: what is labelled is not what stands there: behind a separator the next step begins, and
the label is what the model would say of the step. So all steps of an answer are judged in one pass,
each by what stands before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapterworks.builders.data.chat import tokenize
from adapterworks.builders.data.render import IGNORED, Encoded, render_prompts
from adapterworks.builders.data.rows import Row, unweighted
from adapterworks.builders.data.steps import BAD, GOOD
from adapterworks.builders.objectives.batch import CONTRAST
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_steps(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    steps: Sequence[Sequence[str]],
    separators: Sequence[str],
    max_length: int,
    *,
    last_only: bool = False,
) -> list[Encoded]:
    """Per row its prompt and these steps, up to the end of the last one.

    Args:
        steps: of each row, at least one.
        separators: of each row, what its steps end with.
        max_length: of a sequence; what is beyond it is cut, labels too.
        last_only: label the last step alone.

    Raises:
        InvalidInput: this tokenizer does not tell `+` from `-`, or has no separator; or no label is
            left of a row.
    """
    good, bad = (ids[0] if ids else None for ids in tokenize(tokenizer, [GOOD, BAD]))
    if good is None or bad is None or good == bad:
        raise InvalidInput(
            f"`{GOOD}` and `{BAD}` begin with the same token in this base's tokenizer, so there is "
            "nothing to read a step's reward from",
            hint="train it on another base",
        )
    prompts = render_prompts(
        tokenizer,
        [[unweighted(turn) for turn in row.context] for row in rows],
        [row.tools for row in rows],
    )
    flat = iter(tokenize(tokenizer, [step for each in steps for step in each]))
    ends = dict(zip({*separators}, tokenize(tokenizer, [*{*separators}]), strict=True))
    closing = tokenizer.eos_token_id or 0  # stands behind the last separator, and is not looked at
    found = []
    for number, (row, prompt, own) in enumerate(zip(rows, prompts, steps, strict=True)):
        end = ends[separators[number]]
        if not end:
            raise InvalidInput(
                f"the separator {separators[number]!r} has no token in this base's tokenizer",
                hint="set `objective.separator` to one that has",
            )
        ids, places = [*prompt], []
        for _ in own:
            ids += [*next(flat), *end]
            places.append(len(ids))
        ids.append(closing)
        wanted = places[-1:] if last_only else places
        kept = [place for place in wanted if place < max_length]
        if not kept:
            raise InvalidInput(
                f"row {row.number or number + 1} has no step that ends within {max_length} tokens: "
                f"{row.excerpt(80)}",
                hint="raise `train.max_length`, or leave the row out",
            )
        ids = ids[: kept[-1] + 1]
        labels, contrast = [IGNORED] * len(ids), [0.0] * len(ids)
        for place in kept:
            labels[place], contrast[place] = good, float(bad)
        columns = {CONTRAST: contrast}
        found.append(Encoded(ids, labels, number, len(wanted) - len(kept), columns))
    return found
