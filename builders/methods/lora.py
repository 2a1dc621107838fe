"""LoRA (Hu et al. 2021, arXiv:2106.09685): W + s·B·A of rank r; s = α/r, or α/√r (rsLoRA).

Invariant: an untrained adapter is the base (of LoftQ, nearer to what was quantized). It is served
as trained, and the engine honours rsLoRA's α/√r (vllm/lora/peft_helper.py): at a rank the engine
allows, the files are PEFT's own, byte for byte; at another, and where modules have ranks or scales
of their own, zeros are added to the factors and the scale is folded in, which changes no product.

PiSSA and OLoRA start as a part s·B₀·A₀ of the base's weights, which is subtracted from what
the base gives while they are trained (`subtracted.py`). What is written is the change against the
base as it is, s·(B·A − B₀·A₀), a LoRA of rank 2r without any loss (PEFT's
`path_initial_model_for_weight_conversion`), and what was trained in any precision.

O-LoRA (`keep_ranks`) is in `orthogonal.py`.

LoRA+ (Hayou et al. 2024, arXiv:2402.12354): `learning_rate_ratio` is B's learning rate over A's.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import (
    Factors,
    balanced,
    leaves,
    module_scale,
    paths_of,
    read_adapter,
    write_lora,
)
from adapterworks.builders.methods.inits import INITS
from adapterworks.builders.methods.linears import adapted_linears
from adapterworks.builders.methods.lora_keys import (
    WITHOUT_REGRET,
    LoraKeys,
    as_lora,
    has_patterns,
    highest_rank,
    lora_alpha,
    lora_lints,
    rank_of,
    require_used,
    starts_as_it_can,
)
from adapterworks.builders.methods.low_rank import (
    RANKS,
    adapts_something,
    low_rank_kept,
    low_rank_train_lints,
    peft_targets,
    targeted,
)
from adapterworks.builders.methods.orthogonal import (
    begun_with,
    grown,
    has_something_to_keep,
    hold,
    penalty,
)
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.subtracted import subtract_start, subtracted_start
from adapterworks.builders.methods.technique import (
    ENGINE_RANKS,
    Default,
    Kept,
    Lint,
    ServableForm,
    Technique,
    engine_rank,
)
from adapterworks.manifests.checking import Check
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import ServeTable
from adapterworks.manifests.train_table import TrainTable
from adapterworks.registry.releases.forms import LORA as FORM
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch
    from torch import nn


class LoraTable(LoraKeys):
    """Low-rank adaptation (Hu et al. 2021); `rslora` is Kalajdzievski 2023."""

    kind: Literal["lora"]
    """The method."""


class Lora(Technique[LoraKeys]):
    """Low-rank adaptation on an unquantized base."""

    table: type[LoraKeys] = LoraTable
    title = "Low-rank adaptation"
    source = "Hu et al. 2021, arXiv:2106.09685"
    form = FORM
    learning_rate = Default(2e-4, f"≈10× full fine-tuning's: {WITHOUT_REGRET}")
    checks: tuple[Check, ...] = (
        adapts_something,
        has_patterns,
        starts_as_it_can,
        has_something_to_keep,
    )
    shards = True
    rounds = True
    use_dora = False
    inits: tuple[str, ...] = ("kaiming", "gaussian", "orthogonal", "pissa", "olora", "eva")

    def trainable(self, shape: BaseShape, table: LoraKeys) -> int:
        chosen = targeted(shape, table)
        require_used(table.rank_pattern, "rank_pattern", chosen)
        require_used(table.alpha_pattern, "alpha_pattern", chosen)
        return sum(
            rank_of(table, linear.name) * (linear.in_features + linear.out_features)
            for linear in chosen
        )

    def require(self, shape: BaseShape, table: LoraKeys) -> None:
        init = INITS[table.init]
        if why := init.objection(shape, table.rank):
            raise InvalidInput(f"`method.init` `{init.name}`: {why}", hint='use `"kaiming"`')
        if init.part_of_base and 2 * highest_rank(table) > ENGINE_RANKS[-1]:
            raise InvalidInput(
                f"`method.init` `{init.name}` is served at twice its rank, and the engine takes "
                f"{ENGINE_RANKS[-1]} at most",
                hint=f"set `method.rank` to {ENGINE_RANKS[-1] // 2} or less",
            )

    def servable(self, shape: BaseShape, table: LoraKeys, serve: ServeTable) -> ServableForm:
        rank = highest_rank(table)
        if INITS[table.init].part_of_base:
            via = f"{table.init}'s start taken out again, at twice its rank"
            return ServableForm(FORM, "exact", via, rank=engine_rank(2 * rank))
        if table.rank_pattern or table.alpha_pattern:
            return ServableForm(FORM, "exact", "scales folded in", rank=engine_rank(rank))
        return ServableForm(FORM, "native", "as trained", rank=engine_rank(rank))

    def lints(self, shape: BaseShape, table: LoraKeys) -> list[Lint]:
        return lora_lints(shape, table) + INITS[table.init].lints(shape)

    def train_lints(self, train: TrainTable) -> list[Lint]:
        return low_rank_train_lints(train)

    def kept(self, shape: BaseShape, table: LoraKeys, width: int) -> Kept:
        ranks = sum(rank_of(table, linear.name) for linear in targeted(shape, table))
        kept = low_rank_kept(shape, ranks, table.dropout)
        if not INITS[table.init].part_of_base:
            return kept
        return replace(kept, once=4 * self.trainable(shape, table))  # the start stays, in float32

    def semantics(self, table: LoraKeys) -> int:
        """Of what starts as a part of the base: at 0 it was taken out of rounded weights, at 1 what
        was learnt was written as a difference that 16 bits do not hold."""
        return 2 * INITS[table.init].part_of_base

    def sizes(self, table: LoraKeys) -> Iterable[LoraKeys]:
        """Every rank; α keeps its ratio to it."""
        ratio = 2.0 if table.alpha is None else table.alpha / table.rank
        return [
            table.model_copy(update={"rank": rank, "alpha": max(1, round(ratio * rank))})
            for rank in RANKS
        ]

    def adopt(self, table: MethodTable) -> LoraKeys | None:
        """LoRA, QLoRA and DoRA mean the same by rank, α and learning rate."""
        if (alike := as_lora(table)) is None:
            return None
        return self.table.model_validate({**alike.model_dump(), "kind": self.kind})

    def attach(self, model: nn.Module, table: LoraKeys, steps: int) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        init = INITS[table.init]
        configuration = LoraConfig(
            r=table.rank,
            lora_alpha=lora_alpha(table),
            lora_dropout=table.dropout,
            target_modules=peft_targets(table, model),
            rank_pattern=dict(table.rank_pattern),
            alpha_pattern=dict(table.alpha_pattern),
            init_lora_weights=True if init.part_of_base else init.peft,
            **init.configuration(),
            use_rslora=table.rslora,
            use_dora=self.use_dora,
            # GPT-2's matrices are stored transposed; PEFT would see it, and warn.
            fan_in_fan_out=any(linear.transposed for linear in adapted_linears(model)),
            bias="none",
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():
            # Of memory only: the factors of EVA would be allocated once they are known.
            warnings.filterwarnings(
                "ignore", message=".*low_cpu_mem_usage=False", category=UserWarning
            )
            adapted: Any = get_peft_model(model, configuration)
        init.attached(adapted)
        hold(adapted, table)
        if not init.needs_rows:
            _forget_init(adapted)
        if init.part_of_base:
            subtract_start(adapted, init.set)
        whole: nn.Module = adapted
        return whole

    def unset(self, table: LoraKeys) -> LoraKeys:
        return table.model_copy(update={"init": "kaiming"})

    def needs_rows(self, table: LoraKeys) -> bool:
        return INITS[table.init].needs_rows

    def begin(self, model: nn.Module, table: LoraKeys, batches: Sequence[dict[str, Any]]) -> None:
        INITS[table.init].begin(model, batches)
        _forget_init(model)

    def held(self, table: LoraKeys) -> LoraKeys:
        """What was taken out of the base is in it, at twice the rank, with the scale folded in."""
        if not INITS[table.init].part_of_base:
            return table
        rank = engine_rank(2 * highest_rank(table))
        plain = {"rank": rank, "alpha": rank, "rslora": False, "init": "kaiming"}
        return table.model_copy(update={**plain, "rank_pattern": {}, "alpha_pattern": {}})

    def begun_with(self, table: LoraKeys) -> LoraKeys:
        return begun_with(table)

    def grown(
        self,
        given: Mapping[str, torch.Tensor],
        new: Mapping[str, torch.Tensor],
        table: LoraKeys,
        folder: Path,
    ) -> Mapping[str, torch.Tensor]:
        return given if table.keep_ranks is None else grown(given, new, table, folder)

    def extra_loss(self, model: nn.Module) -> torch.Tensor | None:
        return penalty(model)

    def rates(self, model: nn.Module, table: LoraKeys) -> dict[str, float]:
        """B's, where it has one of its own."""
        if table.learning_rate_ratio is None:
            return {}
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        return {name: table.learning_rate_ratio for name in names if ".lora_B." in name}

    def save(self, model: nn.Module, folder: Path, base: str) -> None:
        """PEFT's adapter; what was taken out of the base is put back first."""
        _forget_init(model)  # of a model that was built once more, to be written
        starts = subtracted_start(model)
        if not starts:
            super().save(model, folder, base)
            return
        import torch

        whole: Any = model
        configuration = whole.peft_config["default"].to_dict()
        now = {name: p.detach().cpu().float() for name, p in model.named_parameters()}
        factors = {}
        for name, (a, b) in sorted(starts.items()):
            module = name.removeprefix("base_model.model.")
            of_a, of_b = (f"{name}.lora_{part}.default.weight" for part in "AB")
            scale = module_scale(configuration, module)
            difference = Factors(
                torch.cat([now[of_a], a]),
                torch.cat([scale * now[of_b], -scale * b], dim=1),
            )
            factors[module] = balanced(difference)
        write_lora(folder, factors, base, sorted(configuration["target_modules"]))

    def convert(self, source: Source, folder: Path) -> Conversion:
        """Copy, or pad to a rank that the engine allows."""
        tensors, configuration = read_adapter(source.adapter)
        modules = {name.rpartition(".lora_")[0] for name in tensors}
        rank = int(configuration["r"])
        patterns = configuration.get("rank_pattern") or configuration.get("alpha_pattern")
        targets = tuple(leaves(modules))
        # What was taken out of the base is served at twice the rank that was trained.
        table = as_lora(source.manifest.method)
        if table is not None and INITS[table.init].part_of_base:
            _copy(source.adapter, folder)
            return Conversion(
                Servable(form=FORM, origin="exact", rank=rank, target_modules=targets)
            )
        if rank in ENGINE_RANKS and not patterns:
            _copy(source.adapter, folder)
            return Conversion(
                Servable(form=FORM, origin="native", rank=rank, target_modules=targets)
            )
        factors = {
            module: Factors(
                tensors[f"{module}.lora_A.weight"].float(),
                tensors[f"{module}.lora_B.weight"].float() * module_scale(configuration, module),
            )
            for module in modules
        }
        base = source.manifest.base.model
        padded = write_lora(folder, factors, base, paths_of(configuration))
        return Conversion(Servable(form=FORM, origin="exact", rank=padded, target_modules=targets))


def _copy(adapter: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copyfile(adapter / name, folder / name)


def _forget_init(model: Any) -> None:
    """The factors are what they are: a reader of the folder must not start from anything else, and
    the engine refuses what it does not know."""
    for configuration in getattr(model, "peft_config", {}).values():
        configuration.init_lora_weights = True
        configuration.eva_config = None


LORA = Lora()
