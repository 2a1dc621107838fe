"""What a plan needs to know of a base model, counted on the model itself without any weight.

Invariant: counts are those of the modules that will be trained: `transformers` builds the model
from `config.json` on the meta device, which holds shapes and no numbers. The checkpoint's files are
the ones its index names, and are asked only whether they hold enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.methods.dropout import active_dropout
from adapterworks.builders.methods.linears import (
    ALL_LINEAR,
    Linear,
    adapted_linears,
    has_experts,
    layer_of,
    of_text,
    select,
    selected_by,
)
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.bases.causal_lm import EAGER, SDPA, attentions, caps_scores
from adapterworks.registry.bases.complete import meta_model, require_complete

if TYPE_CHECKING:
    from torch import nn

# Kinds of layers, as `config.layer_types` names them, that mix positions by attention alone.
_ATTENTION = frozenset({"full_attention", "sliding_attention", "chunked_attention", "attention"})


@dataclass(frozen=True, slots=True)
class BaseShape:
    """Sizes of a decoder-only base; `other` counts the parameters outside `linears`.

    Attributes:
        beside: parameters that text does not pass through (`of_text`), which are never trained; a
            part of `other`.
        linears: the matrices that can get an adapter.
        window: positions that the narrowest layer sees; None if all see everything.
        experts: parts of its layers are mixtures of experts, which get no adapter.
        mixes: kinds of layers that mix positions by something else than attention.
        uniform_cache: every layer keeps `kv_heads` keys and values of `head_dim` for a position.
        architecture: what `config.json` calls it.
        classes: what it calls the model's class, which engines go by.
        dropout: it has dropout, or something like it, of its own.
        capped: its attention scores are soft-capped, which `eager` attention alone computes.
        eager: it computes all its attention's scores, those or because it knows no other way.
        attentions: implementations of its attention; the one that it is loaded with first.
        sliding: layers that see `window` positions; the others see all.
        routed: layers whose feed-forward part is a mixture of experts.
        chosen: experts that a token passes in each of them.
        expert: numbers inside one of them; `intermediate` is that of the other layers.
        always: numbers inside those that every token passes (shared experts).
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_positions: int
    linears: tuple[Linear, ...]
    other: int
    window: int | None = None
    experts: bool = False
    mixes: tuple[str, ...] = ()
    uniform_cache: bool = True
    architecture: str = ""
    classes: tuple[str, ...] = ()
    dropout: bool = False
    capped: bool = False
    eager: bool = False
    beside: int = 0
    attentions: tuple[str, ...] = (SDPA, EAGER)
    sliding: int = 0
    routed: int = 0
    chosen: int = 0
    expert: int = 0
    always: int = 0

    @property
    def linear_parameters(self) -> int:
        return sum(linear.out_features * linear.in_features for linear in self.linears)

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other

    def targeted(
        self,
        targets: str | tuple[str, ...],
        exclude: str | tuple[str, ...] = (),
        layers: tuple[int, ...] | None = None,
        key: str = "target_modules",
    ) -> tuple[Linear, ...]:
        """The linears that `target_modules`, `exclude_modules` and `layers_to_transform` select.

        Args:
            key: of the manifest's `[method]`, what `targets` is called there.

        Raises:
            InvalidInput: one of them says something that this base does not have, or nothing is
                left.
        """
        self._require_known(key, targets)
        self._require_known("exclude_modules", exclude)
        if beyond := sorted(set(layers or ()) - set(range(self.layers))):
            raise InvalidInput(
                f"`method.layers_to_transform` has {beyond[0]}, and this base has {self.layers} "
                "layers, counted from 0"
            )
        chosen = select(self.linears, targets, exclude, layers)
        if not chosen:
            raise InvalidInput(
                "`method.target_modules`, without what `exclude_modules` and `layers_to_transform` "
                "leave out, selects no linear layer of this base",
                hint=f"this base has {self._known()}",
            )
        return chosen

    def _require_known(self, key: str, words: str | tuple[str, ...]) -> None:
        """Refuse what selects nothing: a word that was mistyped, for one."""
        for word in (words,) if isinstance(words, str) else words:
            if word == ALL_LINEAR or not word:
                continue
            asked = word if isinstance(words, str) else (word,)
            if not any(selected_by(linear.name, asked) for linear in self.linears):
                experts = " outside its experts, which get no adapter" if self.experts else ""
                raise InvalidInput(
                    f"`method.{key}` names `{word}`, which is no linear layer of this base"
                    f"{experts}",
                    hint=f"this base has {self._known()}",
                )

    def _known(self) -> str:
        return ", ".join(f"`{leaf}`" for leaf in sorted({x.leaf for x in self.linears}))


def read_shape(checkpoint: Path, *, described: bool = False) -> BaseShape:
    """Read `config.json`, and build the model that it describes on the meta device.

    Args:
        described: the weights need not be there (`registry/bases/described.py`).

    Raises:
        InvalidInput: it is no decoder-only model that `transformers` knows, has layers without
            attention only, or the files do not hold its weights.
    """
    model = meta_model(checkpoint)
    config: Any = model.config.get_text_config()
    hidden, heads = config.hidden_size, getattr(config, "num_attention_heads", None)
    if not heads:
        raise InvalidInput(
            f"`{config.model_type}` has no attention heads: such bases are not trained here",
            hint="take a base whose layers attend, such as a Llama or a Qwen",
        )
    if not described:
        require_complete(checkpoint, model)
    linears = adapted_linears(model)
    kinds = set(getattr(config, "layer_types", None) or ())
    mixes = tuple(sorted(kinds - _ATTENTION))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    learnt = sum(parameter.numel() for parameter in of_text(model))
    return BaseShape(
        layers=config.num_hidden_layers,
        hidden=hidden,
        intermediate=_first(config, "intermediate_size", "ffn_dim", "n_inner") or 4 * hidden,
        heads=heads,
        kv_heads=_kv_heads(config),
        head_dim=getattr(config, "head_dim", None) or hidden // heads,
        vocab=config.vocab_size,
        max_positions=getattr(config, "max_position_embeddings", None) or 2048,
        linears=linears,
        other=parameters - sum(x.out_features * x.in_features for x in linears),
        window=_window(config, kinds),
        experts=has_experts(model),
        mixes=mixes,
        # Latent attention caches something else, and PEFT does not know of a single shared head.
        uniform_cache=not (
            mixes or getattr(config, "kv_lora_rank", None) or getattr(config, "multi_query", False)
        ),
        architecture=config.model_type,
        classes=tuple(model.config.architectures or ()) or (type(model).__name__,),
        dropout=any(True for _ in active_dropout(model)),
        capped=caps_scores(config),
        eager=caps_scores(config) or config._attn_implementation == EAGER,
        beside=parameters - learnt,
        attentions=attentions(model),
        sliding=_sliding(config, kinds),
        **_experts(model, config),
    )


def _first(config: Any, *names: str) -> int | None:
    return next((value for name in names if (value := getattr(config, name, None))), None)


def _kv_heads(config: Any) -> int:
    """Heads of keys and values; Falcon says so in its own way."""
    if getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", 0):
        return 1
    return int(_first(config, "num_key_value_heads", "num_kv_heads") or config.num_attention_heads)


def _window(config: Any, kinds: set[str]) -> int | None:
    """How far the narrowest layer sees back."""
    if kinds and not kinds & {"sliding_attention", "chunked_attention"}:
        return None
    return _first(config, "sliding_window", "attention_chunk_size")


def _sliding(config: Any, kinds: set[str]) -> int:
    """Layers that see a window; where a base does not tell its layers apart, all or none."""
    if _window(config, kinds) is None:
        return 0
    if not kinds:
        return int(config.num_hidden_layers)
    return sum(kind in ("sliding_attention", "chunked_attention") for kind in config.layer_types)


def _experts(model: nn.Module, config: Any) -> dict[str, int]:
    """What a token passes of the mixtures of experts, as `BaseShape` has it."""
    routed = len({layer_of(n) for n, _ in model.named_modules() if n.split(".")[-1] == "experts"})
    if not routed:
        return {}
    inside = _first(config, "moe_intermediate_size", "intermediate_size") or 0
    always = getattr(config, "shared_expert_intermediate_size", None)
    if always is None:
        always = inside * (_first(config, "n_shared_experts", "num_shared_experts") or 0)
    chosen = _first(config, "num_experts_per_tok", "num_experts_per_token", "moe_topk") or 1
    return {"routed": routed, "chosen": chosen, "expert": inside, "always": always}
