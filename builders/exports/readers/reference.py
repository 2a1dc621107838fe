"""Hugging Face and PEFT in float32 as a reader: the reference, and the engine of checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapterworks.builders.evaluation.asking import ends
from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.exports.readers.reader import Distribution, Talk, rendered


class Reference:
    """A `Reader` over a `ServedModel`.

    Args:
        model: what is asked.
        checkpoint: the folder of its tokenizer and template.
        adapter: False asks the base alone.
    """

    name = "transformers"

    def __init__(self, model: ServedModel, checkpoint: Path, *, adapter: bool = True) -> None:
        import transformers

        self.version = str(transformers.__version__)
        self._model = model
        self._adapter = adapter
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(checkpoint)
        # What ends an answer where releases are evaluated and served.
        self.ends = ends(checkpoint, self._tokenizer.eos_token_id)
        # Engines may end at any other control token too; no answer goes on after one.
        self.control = frozenset(
            id_ for id_, token in self._tokenizer.added_tokens_decoder.items() if token.special
        )

    @property
    def has_template(self) -> bool:
        """Whether its tokenizer has a chat template."""
        return self._tokenizer.chat_template is not None

    def base(self) -> Reference:
        """The same without the adapter."""
        other = object.__new__(Reference)
        other.__dict__.update(self.__dict__ | {"_adapter": False})
        return other

    def next_token(self, token_ids: Sequence[int], count: int) -> Distribution:
        """See `Reader`."""
        (last,) = self.next_tokens(token_ids, [len(token_ids)], count)
        return last

    def next_tokens(
        self, token_ids: Sequence[int], lengths: Sequence[int], count: int
    ) -> list[Distribution]:
        """What `next_token` says after so many of the ids each, computed in one pass.

        Args:
            lengths: from 1 to all of them.
        """
        rows = [length - 1 for length in lengths]
        last = self._model.log_probabilities(token_ids, rows, adapter=self._adapter)
        values, ids = last.topk(min(count, last.shape[-1]))
        return [
            dict(zip(*pair, strict=True))
            for pair in zip(ids.tolist(), values.tolist(), strict=True)
        ]

    def greedy(self, token_ids: Sequence[int], count: int) -> list[int]:
        """See `Reader`."""
        answer: list[int] = []
        while len(answer) < count and not set(self.ends).intersection(answer):
            answer.append(next(iter(self.next_token([*token_ids, *answer], 1))))
        return answer

    def ends_with(self, token_ids: Sequence[int], token: int) -> bool:
        """See `Reader`."""
        return token in self.ends

    def tokenize(self, text: str) -> list[int]:
        """See `Reader`."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def render(self, messages: Talk) -> str:
        """See `Reader`."""
        return rendered(self._tokenizer, messages)
