"""ONNX Runtime as a reader: a graph on the processor, its cache fed back token by token."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapterworks.builders.exports.readers.reader import Distribution, Talk, rendered
from adapterworks.manifests.errors import Refused

_MODEL = "model.onnx"


class OnnxRuntime:
    """A `Reader` over a folder with a graph and its tokenizer.

    Raises:
        Refused: the runtime does not load the graph.
    """

    name = "ONNX Runtime"

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        import transformers

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        options.log_severity_level = 3
        self.version = f"onnxruntime {onnxruntime.__version__}"
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(folder / _MODEL), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # it has a class of its own for each kind of fault
            raise Refused(f"ONNX Runtime does not load the graph: {error}") from error
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
        self._ends = ends_told(folder)
        self._cached = [
            given for given in self._session.get_inputs() if given.name.startswith("past_key")
        ]

    def next_token(self, token_ids: Sequence[int], count: int) -> Distribution:
        """See `Reader`; without a cache."""
        logits, _ = self._run(token_ids, 0, self._empty())
        return likeliest(logits, count)

    def greedy(self, token_ids: Sequence[int], count: int) -> list[int]:
        """See `Reader`; with the cache, one token at a time."""
        answer: list[int] = []
        logits, cache = self._run(token_ids, 0, self._empty())
        while len(answer) < count:
            answer.append(int(logits.argmax()))
            if answer[-1] in self._ends:
                break
            before = len(token_ids) + len(answer) - 1
            logits, cache = self._run(answer[-1:], before, cache)
        return answer

    def ends_with(self, token_ids: Sequence[int], token: int) -> bool:
        """See `Reader`; as the folder tells generators."""
        return token in self._ends

    def tokenize(self, text: str) -> list[int]:
        """See `Reader`."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def render(self, messages: Talk) -> str:
        """See `Reader`."""
        return rendered(self._tokenizer, messages)

    def _empty(self) -> dict[str, Any]:
        """A cache of no tokens."""
        import numpy as np

        return {
            given.name: np.zeros((1, given.shape[1], 0, given.shape[3]), np.float32)
            for given in self._cached
        }

    def _run(
        self, token_ids: Sequence[int], before: int, cache: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The last token's logits [vocabulary], and the cache with these tokens in it."""
        import numpy as np

        asked = {
            "input_ids": np.array([list(token_ids)], np.int64),
            "attention_mask": np.ones((1, before + len(token_ids)), np.int64),
            "position_ids": np.arange(before, before + len(token_ids))[None],
            **cache,
        }
        logits, *present = self._session.run(None, asked)
        return logits[0, -1], dict(zip(cache, present, strict=True))


def ends_told(folder: Path) -> frozenset[int]:
    """The ids that end an answer, as generators over ONNX Runtime are told."""
    told = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))
    ids = told["model"]["eos_token_id"]
    return frozenset(ids if isinstance(ids, list) else [ids])


def likeliest(logits: Any, count: int) -> Distribution:
    """The likeliest tokens of logits [vocabulary], with their log-probabilities."""
    import numpy as np

    values = logits.astype(np.float64)
    values = values - values.max()
    log_p = values - np.log(np.exp(values).sum())
    top = np.argsort(-log_p, kind="stable")[:count]
    return {int(token): float(log_p[token]) for token in top}


@contextmanager
def onnx_runtime(folder: Path) -> Iterator[OnnxRuntime]:
    """Load a graph and ask it.

    Raises:
        Refused: the runtime does not load it.
    """
    yield OnnxRuntime(folder)
