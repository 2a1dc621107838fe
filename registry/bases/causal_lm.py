"""A causal language model as it is served: loaded in one place, so that all compute alike.

Invariant: whoever trains, evaluates, fingerprints or converts computes the attention that the
engine computes. Of its own, `transformers` takes `sdpa`, which passes over a soft cap of the
scores (c·tanh(s/c), Gemma 2: c = 50) without a word; such a base is loaded with `eager`, as its
authors advise for fine-tuning (google/gemma-2-9b on the Hub).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

EAGER = "eager"


def caps_scores(config: Any) -> bool:
    """Whether attention scores are soft-capped, by a model's configuration."""
    return bool(getattr(config.get_text_config(), "attn_logit_softcapping", None))


def needs_eager(checkpoint: str | Path) -> bool:
    """Whether `transformers` computes a checkpoint as it was made with `eager` attention alone."""
    from transformers import AutoConfig

    return caps_scores(AutoConfig.from_pretrained(checkpoint))


def load_causal_lm(checkpoint: str | Path, **given: Any) -> Any:
    """The model of a checkpoint, with the attention that it was made with.

    Args:
        checkpoint: a folder in Hugging Face's layout.
        given: further arguments of `AutoModelForCausalLM.from_pretrained`; an
            `attn_implementation` among them holds.
    """
    from transformers import AutoModelForCausalLM

    if "attn_implementation" not in given and needs_eager(checkpoint):
        given["attn_implementation"] = EAGER
    return AutoModelForCausalLM.from_pretrained(checkpoint, **given)
