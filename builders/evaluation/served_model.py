"""A base with a release's servable form applied by the reference implementation (HF and PEFT).

Invariant: this is what the engine must agree with: the fingerprint is computed here, in float32, on
`Base.served`. Logits are there of the rows that are asked for alone: a vocabulary of 150,000 is
0.6 MB a row, and how long a probe is may be a stranger's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.bases.causal_lm import load_causal_lm
from adapterworks.registry.bases.quiet import quiet_libraries
from adapterworks.registry.releases.forms import LORA, PREFIX, PROMPT
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch


class ServedModel:
    """A dense base and, optionally, a servable form on it.

    Args:
        served: `Base.served`.
        folder: the release's `servable/`, or None for the base alone.
        servable: its record.
    """

    def __init__(
        self, served: Path, folder: Path | None = None, servable: Servable | None = None
    ) -> None:
        quiet_libraries()
        import torch

        self._model: Any = load_causal_lm(served, dtype=torch.float32)
        self._vocabulary: int = self._model.get_input_embeddings().weight.shape[0]
        self._form: str | None = None
        self._tensors: dict[str, torch.Tensor] = {}
        if folder is None or servable is None:
            pass
        elif servable.form == LORA:
            from peft import PeftModel

            self._form = LORA
            self._model = PeftModel.from_pretrained(self._model, str(folder), is_trainable=False)
        else:
            from safetensors.torch import load_file

            self._form = servable.form
            self._tensors = load_file(folder / f"{servable.form}.safetensors")
        self._model.eval()

    def log_probabilities(
        self, token_ids: Sequence[int], rows: Sequence[int] | None = None, *, adapter: bool = True
    ) -> torch.Tensor:
        """[rows, vocabulary] float32: that of row k is the distribution of the token at k + 1.

        Args:
            token_ids: the sequence, without virtual tokens.
            rows: indices in it; None for all.
            adapter: False gives the base's own.

        Raises:
            IntegrityError: a token that the base has not: the probe is of another base.
        """
        import torch

        if max(token_ids) >= self._vocabulary:
            raise IntegrityError(
                f"the fingerprint has the token {max(token_ids)}, and its base only "
                f"{self._vocabulary} of them",
                hint="it was taken of another base: a release that was pulled is verified by "
                "`adapters verify`",
            )
        ids = torch.tensor([list(token_ids)])
        keep = torch.tensor(list(range(len(token_ids)) if rows is None else rows))
        with torch.inference_mode():
            if not adapter and self._form == LORA:
                with self._model.disable_adapter():
                    logits = self._model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
            elif adapter and self._form == PROMPT:
                logits = self._with_prompt(ids, keep)
            elif adapter and self._form == PREFIX:
                cache = self._prefix_cache()
                logits = self._model(
                    input_ids=ids, past_key_values=cache, logits_to_keep=keep
                ).logits
            else:
                logits = self._model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
        return torch.log_softmax(logits[0].float(), dim=-1)

    def _with_prompt(self, ids: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        import torch

        prompt = self._tensors["embeddings"]
        embedded = self._model.get_input_embeddings()(ids)
        joined = torch.cat((prompt[None], embedded), dim=1)
        logits: torch.Tensor = self._model(
            inputs_embeds=joined, use_cache=False, logits_to_keep=keep + len(prompt)
        ).logits
        return logits

    def _prefix_cache(self) -> Any:
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        for layer in range(len(self._tensors) // 2):
            # [tokens, heads, dim] → [1, heads, tokens, dim]
            key = self._tensors[f"layers.{layer}.key"].transpose(0, 1)[None]
            value = self._tensors[f"layers.{layer}.value"].transpose(0, 1)[None]
            cache.update(key, value, layer)
        return cache
