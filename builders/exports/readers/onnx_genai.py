"""onnxruntime-genai as a reader: its own tokenizer, template, cache and adapters over a graph."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from adapterworks.builders.exports.readers.onnx_runtime import likeliest
from adapterworks.builders.exports.readers.reader import Distribution, Talk, Unrendered
from adapterworks.manifests.errors import Refused

_NAME = "adapter"


class OnnxGenai:
    """A `Reader` over a folder, with an adapter on its graph.

    Raises:
        Refused: it does not load the folder or the adapter.
    """

    name = "onnxruntime-genai"

    def __init__(self, folder: Path, adapter: str) -> None:
        import onnxruntime_genai

        self._library: Any = onnxruntime_genai
        self.version = f"onnxruntime-genai {metadata.version('onnxruntime-genai')}"
        try:
            self._model: Any = onnxruntime_genai.Model(str(folder))
            self._tokenizer: Any = onnxruntime_genai.Tokenizer(self._model)
            self._adapters: Any = onnxruntime_genai.Adapters(self._model)
            self._adapters.load(str(folder / adapter), _NAME)
        except Exception as error:  # bare exceptions of its own
            raise Refused(f"onnxruntime-genai does not load the folder: {error}") from error

    def next_token(self, token_ids: Sequence[int], count: int) -> Distribution:
        """See `Reader`."""
        generator = self._generator(token_ids, len(token_ids) + 1)
        return likeliest(generator.get_logits().reshape(-1), count)

    def greedy(self, token_ids: Sequence[int], count: int) -> list[int]:
        """See `Reader`."""
        generator = self._generator(token_ids, len(token_ids) + count)
        while not generator.is_done():
            generator.generate_next_token()
        sequence: list[int] = generator.get_sequence(0).tolist()
        return sequence[len(token_ids) :]

    def ends_with(self, token_ids: Sequence[int], token: int) -> bool:
        """See `Reader`; the generator is made to choose that token."""
        generator = self._generator(token_ids, len(token_ids) + 2)
        logits = generator.get_logits()
        logits[..., token] = logits.max() + 1000
        generator.set_logits(logits)
        generator.generate_next_token()
        return bool(generator.is_done())

    def tokenize(self, text: str) -> list[int]:
        """See `Reader`."""
        ids: list[int] = self._tokenizer.encode(text).tolist()
        return ids

    def render(self, messages: Talk) -> str:
        """See `Reader`."""
        try:
            text: str = self._tokenizer.apply_chat_template(
                json.dumps(list(messages)), add_generation_prompt=True
            )
        except Exception as error:  # bare exceptions of its own
            raise Unrendered(str(error)) from error
        return text

    def _generator(self, token_ids: Sequence[int], length: int) -> Any:
        parameters = self._library.GeneratorParams(self._model)
        parameters.set_search_options(max_length=length, do_sample=False)
        generator = self._library.Generator(self._model, parameters)
        generator.set_active_adapter(self._adapters, _NAME)
        generator.append_tokens(list(token_ids))
        return generator


@contextmanager
def onnx_genai(folder: Path, adapter: str) -> Iterator[OnnxGenai]:
    """Load a folder with an adapter and ask it.

    Raises:
        Refused: it is not loaded.
    """
    yield OnnxGenai(folder, adapter)
