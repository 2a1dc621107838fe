"""Hugging Face and PEFT as an engine: the reference implementation, in length-sorted batches.

Invariant: what a model answers to a prompt does not depend on the other prompts, nor on their
order: batches are formed by length, padding changes no position, answers come in the order asked.
Greedy is greedy, whatever the checkpoint's own `generation_config` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.engines.decoding import answers
from adapterworks.builders.engines.engine import (
    Adapter,
    Completion,
    Given,
    Identity,
    Ids,
    Model,
    Progress,
    Sampling,
)
from adapterworks.builders.engines.sources import code_digest
from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.installing import installed_versions
from adapterworks.registry.bases.causal_lm import load_causal_lm
from adapterworks.registry.bases.quiet import quiet_libraries

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MEMBER = "huggingface"
_COMPUTE = ("torch", "transformers", "peft", "tokenizers", "bitsandbytes")
# What an answer comes from; not who asks, nor where answers are kept.
_CODE = (
    "builders/engines/engine.py",
    "builders/engines/huggingface.py",
    "builders/engines/decoding.py",
    "builders/engines/choosing.py",
    "builders/generation/grouped_query_attention.py",
    "builders/generation/kv_cache.py",
    "builders/methods/prompt_cache.py",
    "registry/bases/causal_lm.py",
)
# Of a batch's logits: rows × tokens × vocabulary × 4 bytes stay below this.
_MOST_LOGIT_BYTES = 1 << 29


class HuggingFace:
    """Opens engines of this kind."""

    def identity(self, model: Model) -> Identity:
        """Versions, device and precision of this machine."""
        device, dtype = _device()
        return Identity(MEMBER, installed_versions(_COMPUTE), device, dtype, code_digest(*_CODE))

    def refuses(self, model: Model, adapter: Adapter | None) -> None:
        """Nothing."""
        return None

    def can_score(self, sequences: Sequence[Given]) -> bool:
        """Always."""
        return True

    def open(self, model: Model, adapters: Sequence[Adapter], *, longest: int) -> HuggingFaceEngine:
        """An engine; weights are loaded when it is first asked."""
        return HuggingFaceEngine(model.folder, adapters)


class HuggingFaceEngine:
    """One model in memory, with at most one adapter on it at a time.

    Args:
        folder: the checkpoint.
        adapters: PEFT folders by digest.
    """

    def __init__(self, folder: Path, adapters: Sequence[Adapter] = ()) -> None:
        self._folder = folder
        self._adapters = {adapter.digest: adapter.folder for adapter in adapters}
        self._loaded: tuple[str | None, PreTrainedModel] | None = None

    @property
    def longest(self) -> None:
        """Nothing limits it but memory."""
        return None

    def know(self, adapter: Adapter) -> None:
        """Note where it is."""
        self._adapters[adapter.digest] = adapter.folder

    def forget(self, adapter: str) -> None:
        """Let go of where it was; its weights go when the next one is asked for."""
        self._adapters.pop(adapter, None)

    def complete(
        self,
        prompts: Sequence[Ids],
        sampling: Sampling,
        *,
        adapter: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Answers, prompts of like length together; see `Engine`."""
        model = self._model(adapter)
        rows = [(prompt, sample) for prompt in prompts for sample in range(sampling.n)]
        by_row: list[Completion | None] = [None] * len(rows)
        done = 0
        with evaluating(model):
            for batch in batches([len(prompt) for prompt, _ in rows], batch_size):
                seeds = tuple(sampling.seeds[i // sampling.n] for i in batch if sampling.seeds)
                own = replace(sampling, seeds=seeds)
                for index, answer in zip(
                    batch, answers(model, [rows[i] for i in batch], own), strict=True
                ):
                    by_row[index] = answer
                done += len(batch)
                if progress:
                    progress(done // sampling.n, len(prompts))
        found = [answer for answer in by_row if answer is not None]
        return [
            tuple(found[start : start + sampling.n]) for start in range(0, len(found), sampling.n)
        ]

    def score(
        self,
        sequences: Sequence[Given],
        *,
        adapter: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[NDArray[np.float64]]:
        """Log-probabilities of what is given; see `Engine`."""
        model = self._model(adapter)
        result = [np.zeros(0)] * len(sequences)
        done = 0
        with evaluating(model):
            for batch in batches([len(s.token_ids) for s in sequences], batch_size):
                for part in _parts(model, batch, len(sequences[batch[0]].token_ids)):
                    for index, values in zip(
                        part, _scores(model, [sequences[i] for i in part]), strict=True
                    ):
                        result[index] = values
                done += len(batch)
                if progress:
                    progress(done, len(sequences))
        return result

    def close(self) -> None:
        """Let go of the weights."""
        self._loaded = None

    def _model(self, adapter: str | None) -> PreTrainedModel:
        """The model with this adapter on it, loaded if it is not.

        The base is loaded again for a second adapter, so that nothing of the first can be left.
        """
        if adapter is not None and adapter not in self._adapters:
            raise NotFound(f"this engine knows no adapter `{adapter[:19]}…`")
        if self._loaded is None or self._loaded[0] not in (None, adapter):
            self._loaded = None  # before the next one, so that one model is in memory
            self._loaded = (None, load_model(self._folder))
        if self._loaded[0] != adapter and adapter is not None:
            self._loaded = (adapter, load_adapter(self._loaded[1], self._adapters[adapter]))
        return self._loaded[1]


def load_model(checkpoint: Path, adapter: Path | None = None) -> PreTrainedModel:
    """A checkpoint, with a PEFT adapter on it if given; on the GPU if there is one.

    Args:
        checkpoint: `Base.served`: the dense values that training saw; or a full fine-tuning's own.
        adapter: a PEFT folder (safetensors).
    """
    quiet_libraries()
    import torch
    from transformers import GenerationConfig

    device, dtype = _device()
    model: PreTrainedModel = load_causal_lm(
        checkpoint, dtype=getattr(torch, dtype), use_safetensors=True
    )
    # What a request does not set, `generate` would take from here: the checkpoint's own penalties.
    model.generation_config = GenerationConfig()
    if adapter is not None:
        return load_adapter(model, adapter)
    moved: PreTrainedModel = model.to(device)
    return moved


def load_adapter(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """A model with a PEFT folder on it; the model itself is changed."""
    quiet_libraries()
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(model, str(adapter), is_trainable=False)
    moved: PreTrainedModel = adapted.to(_device()[0])
    return moved


def batches(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices in batches of like length, longest first (what does not fit fails at once)."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + size] for start in range(0, len(order), size)]


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode without gradients; the model's mode is restored."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def _parts(model: PreTrainedModel, batch: list[int], width: int) -> Iterator[list[int]]:
    """A batch of sequences of at most `width` tokens, in parts whose logits fit."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    size = max(1, _MOST_LOGIT_BYTES // (width * vocabulary * 4))
    for start in range(0, len(batch), size):
        yield batch[start : start + size]


def _scores(model: PreTrainedModel, part: Sequence[Given]) -> Iterator[NDArray[np.float64]]:
    """Each sequence's log-probabilities; padded on the right, which no token before it sees."""
    import torch

    width = max(len(given.token_ids) for given in part)
    ids = torch.zeros((len(part), width), dtype=torch.long)
    targets = torch.full((len(part), width), IGNORED, dtype=torch.long)
    mask = torch.zeros((len(part), width), dtype=torch.long)
    for line, given in enumerate(part):
        length = len(given.token_ids)
        ids[line, :length] = torch.tensor(given.token_ids)
        targets[line, given.start : length] = torch.tensor(given.scored, dtype=torch.long)
        mask[line, :length] = 1
    first = min(given.start for given in part)
    keep = width - first + 1  # from the end: soft prompts come before the ids
    logits = model(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        use_cache=False,
        logits_to_keep=keep,
    ).logits[:, -keep:-1]
    losses = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2),
        targets[:, first:].to(logits.device),
        ignore_index=IGNORED,
        reduction="none",
    )
    values = -losses.double().cpu().numpy()
    for line, given in enumerate(part):
        yield values[line, given.start - first : len(given.token_ids) - first].copy()


def _device() -> tuple[str, str]:
    """Where it runs, and in which precision."""
    import torch

    return ("cuda", "bfloat16") if torch.cuda.is_available() else ("cpu", "float32")
