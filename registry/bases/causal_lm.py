"""A causal language model as it is served: loaded in one place, so that all compute alike.

Invariant: whoever trains, evaluates, fingerprints or converts computes the attention that the
engine computes. Of its own, `transformers` takes `sdpa`, which passes over a soft cap of the
scores (c·tanh(s/c), Gemma 2: c = 50) without a word; such a base is loaded with `eager`, as its
authors advise for fine-tuning (google/gemma-2-9b on the Hub). A training may be told another
implementation (`use_attention`) of those that compute the same of this base (`attentions`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapterworks.manifests.errors import InvalidInput

SDPA, EAGER = "sdpa", "eager"
FLASH, FLEX = "flash_attention_2", "flex_attention"


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


def attentions(model: Any) -> tuple[str, ...]:
    """The implementations that compute a model's attention as it was made with, by what its class
    says of itself; the one that it is loaded with stands first.

    Args:
        model: of `transformers`; one without weights will do.
    """
    capped = caps_scores(model.config)
    own = EAGER if capped else str(model.config._attn_implementation)
    if not model._can_set_attn_implementation():
        return (own,)
    kernels = getattr(model, "_compatible_flash_implementations", None)
    able = {
        SDPA: model._supports_sdpa and not capped,
        EAGER: True,
        FLASH: model._supports_flash_attn and (kernels is None or FLASH in kernels),
        FLEX: model._supports_flex_attn,
    }
    return (own, *(name for name, can in able.items() if can and name != own))


def use_attention(model: Any, name: str) -> None:
    """Let a loaded model compute its attention by an implementation (one of `attentions`).

    Raises:
        InvalidInput: it cannot, here: `transformers` would go on with another one, or says why.
    """
    try:
        model.set_attn_implementation(name)
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidInput(
            f"`train.attention` `{name}` cannot be used here: {reason}",
            hint='use `attention = "auto"`',
        ) from error
    if (found := model.config._attn_implementation) != name:
        raise InvalidInput(
            f"`train.attention` is `{name}`, and this base computes `{found}`",
            hint='use `attention = "auto"`',
        )
