"""A Hugging Face or PEFT model as a `Generator`: length-sorted batches, greedy, end of turn.

Invariant: what a model answers to a row does not depend on the other rows, nor on their order:
batches are formed by length, padding changes no position, answers are returned in the order asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.data.render import IGNORED, Encoded, render_prompts
from adapterworks.builders.data.rows import Message
from adapterworks.builders.evaluation.generator import Progress
from adapterworks.builders.methods.prompt_cache import has_soft_prompt, prompt_cache
from adapterworks.registry.bases.quiet import quiet_libraries

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

# Of a batch's logits: rows × tokens × vocabulary × 4 bytes stay below this.
_MOST_LOGIT_BYTES = 1 << 29


class HfGenerator:
    """A loaded model.

    Args:
        model: a causal language model, or a PEFT model around one; in evaluation mode while it is
            used, returned to its mode afterwards.
        tokenizer: the base's.
        adapter: False answers as the base alone, with the PEFT model's adapter switched off.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        adapter: bool = True,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._adapter = adapter

    @property
    def model(self) -> PreTrainedModel:
        """The model itself, so that several subjects can share its weights."""
        return self._model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._tokenizer

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        batch_size: int,
        progress: Progress | None = None,
    ) -> list[str]:
        """Greedy answers, in the order of the prompts; see `Generator`."""
        import torch
        from transformers import GenerationConfig

        ids = render_prompts(self._tokenizer, prompts)
        stops = self._stop_tokens()
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=stops,
            pad_token_id=stops[0],
        )
        answers = [""] * len(ids)
        done = 0
        with self._evaluating():
            for batch in batches([len(prompt) for prompt in ids], batch_size):
                width = max(len(ids[index]) for index in batch)
                padded = torch.full((len(batch), width), stops[0], dtype=torch.long)
                mask = torch.zeros((len(batch), width), dtype=torch.long)
                for line, index in enumerate(batch):  # padded on the left: answers follow directly
                    padded[line, width - len(ids[index]) :] = torch.tensor(ids[index])
                    mask[line, width - len(ids[index]) :] = 1
                output = self._answer(padded, mask, config)
                for line, index in enumerate(batch):
                    answers[index] = self._decode(output[line, width:].tolist(), stops)
                done += len(batch)
                if progress:
                    progress(done, len(ids))
        return answers

    def likelihood(
        self, sequences: Sequence[Encoded], *, batch_size: int, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """[n, 2]: summed negative log-likelihood of the labelled tokens, their number."""
        import torch

        result = np.zeros((len(sequences), 2))
        done = 0
        with self._evaluating():
            for batch in batches([len(s.input_ids) for s in sequences], batch_size):
                for part in self._parts(batch, len(sequences[batch[0]].input_ids)):
                    ids, labels, mask = _padded([sequences[index] for index in part])
                    learnt = (labels != IGNORED).any(dim=0).nonzero()
                    first = int(learnt[0]) if len(learnt) else ids.shape[1]
                    keep = (
                        ids.shape[1] - first + 1
                    )  # from the end: soft prompts come before the ids
                    logits = self._model(
                        input_ids=ids.to(self._model.device),
                        attention_mask=mask.to(self._model.device),
                        use_cache=False,
                        logits_to_keep=keep,
                    ).logits[:, -keep:-1]
                    losses = torch.nn.functional.cross_entropy(
                        logits.float().transpose(1, 2),
                        labels[:, first:].to(logits.device),
                        ignore_index=IGNORED,
                        reduction="none",
                    ).sum(dim=1)
                    result[part, 0] = losses.double().cpu().numpy()
                    result[part, 1] = (labels != IGNORED).sum(dim=1).numpy()
                done += len(batch)
                if progress:
                    progress(done, len(sequences))
        return result

    def _answer(
        self, ids: torch.Tensor, mask: torch.Tensor, config: GenerationConfig
    ) -> torch.Tensor:
        """Ids [n, width] padded on the left, and what follows them."""
        import torch

        device, model, cached = self._model.device, self._model, dict[str, Any]()
        if self._adapter and has_soft_prompt(model):
            cached["past_key_values"], virtual = prompt_cache(model, len(ids))
            mask = torch.cat((torch.ones((len(ids), virtual), dtype=mask.dtype), mask), dim=1)
            model = model.get_base_model()
        output: torch.Tensor = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=config,
            **cached,
        )
        return output

    def _parts(self, batch: list[int], width: int) -> Iterator[list[int]]:
        """A batch of sequences of at most `width` tokens, in parts whose logits fit."""
        vocabulary = int(self._model.config.vocab_size)
        size = max(1, _MOST_LOGIT_BYTES // (width * vocabulary * 4))
        for start in range(0, len(batch), size):
            yield batch[start : start + size]

    def _stop_tokens(self) -> list[int]:
        """The tokens that end an answer: the tokenizer's and the model's own."""
        configured: Any = getattr(self._model.generation_config, "eos_token_id", None)
        more = configured if isinstance(configured, list) else [configured]
        found = [self._tokenizer.eos_token_id, *more]
        return list(dict.fromkeys(int(token) for token in found if token is not None))

    def _decode(self, ids: list[int], stops: list[int]) -> str:
        end = next((at for at, token in enumerate(ids) if token in stops), len(ids))
        return str(self._tokenizer.decode(ids[:end], skip_special_tokens=True))

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        import torch

        training = self._model.training
        self._model.eval()
        off: AbstractContextManager[Any] = nullcontext()
        if not self._adapter and hasattr(self._model, "disable_adapter"):
            off = self._model.disable_adapter()
        try:
            with torch.inference_mode(), off:
                yield
        finally:
            self._model.train(training)


def batches(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices in batches of like length, longest first (what does not fit fails at once)."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + size] for start in range(0, len(order), size)]


def _padded(sequences: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, labels and mask, [n, longest], padded on the right; a first token is never predicted."""
    import torch

    width = max(len(sequence.input_ids) for sequence in sequences)
    ids = torch.zeros((len(sequences), width), dtype=torch.long)
    labels = torch.full((len(sequences), width), IGNORED, dtype=torch.long)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for line, sequence in enumerate(sequences):
        length = len(sequence.input_ids)
        ids[line, :length] = torch.tensor(sequence.input_ids)
        labels[line, 1:length] = torch.tensor(sequence.labels[1:])
        mask[line, :length] = 1
    return ids, labels, mask


def load_generator(checkpoint: Path, adapter: Path | None = None) -> HfGenerator:
    """A base's checkpoint, with a PEFT adapter on it if given; on the GPU if there is one.

    Args:
        checkpoint: `Base.served`: the dense values that training saw; or a full fine-tuning's own.
        adapter: a PEFT folder (safetensors).
    """
    quiet_libraries()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype, use_safetensors=True)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter), is_trainable=False)
    return HfGenerator(model.to(device), AutoTokenizer.from_pretrained(checkpoint))
