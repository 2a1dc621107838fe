"""Logits a few positions at a time: the columns and gradients of the model's own logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adapterworks.builders.methods.linears import adapted_linears
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.batch import CONTRAST, TokenSequence, packed, padded
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.scoring import logits_together, score
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.projection import ChunkedProjection, projection_of
from bench.architectures import make_base
from tests.builders.build_support import TinyJob

# What stands between projection and logits: nothing, a soft cap, scales, products and quotients;
# projections of another name, with a bias, and one that is the embeddings.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Llama": {"tie_word_embeddings": True},
    "Gemma2": {"final_logit_softcapping": 3.0},
    "Cohere": {"logit_scale": 0.3},
    "Granite": {"logits_scaling": 4.0},
    "Phi": {},
    "GPT-2": {},
    "GPT-NeoX": {},
    "OPT": {},
    "Falcon": {},
    "GPT-OSS": {},
    "DeepSeek-V3": {},
}
MOST = 5


def rows() -> list[TokenSequence]:
    """Of unequal lengths, labels in other places, weights and words that are weighed against."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for length, start in ((14, 9), (20, 4), (11, 10)):
        ids = torch.randint(2, 250, (length,), generator=generator)
        labels = ids.clone()
        labels[:start] = -100
        columns = {
            "weights": torch.rand(length, generator=generator),
            CONTRAST: torch.randint(2, 250, (length,), generator=generator).float(),
        }
        made.append(TokenSequence(ids, labels, columns))
    return made


def load(base: Path, precision: torch.dtype = torch.float32) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=precision).eval()


def outcome(scores: Scores) -> torch.Tensor:
    """A loss of everything that scores have: smoothed, weighed by token, against other words."""
    sft = OBJECTIVES["sft"].configured(None)
    sft.smoothing = 0.2
    loss = sft.losses(replace(scores, columns={"weights": scores.columns["weights"]})).sum
    return loss + (scores.columns[CONTRAST] * scores.columns["weights"]).sum()


def both(model: Any, batch: Any, projection: ChunkedProjection) -> list[dict[str, Any]]:
    """Columns and gradients by the model's own logits, and by parts of them."""
    found = []
    for given in (None, projection):
        model.zero_grad()
        torch.manual_seed(1)
        scores = score(model, batch, uniform=True, projection=given)
        outcome(scores).backward()
        found.append(
            {
                "logprobs": scores.logprobs.detach(),
                "uniform": scores.uniform.detach() if scores.uniform is not None else None,
                CONTRAST: scores.columns[CONTRAST].detach(),
                "owners": scores.owners,
                **{n: p.grad for n, p in model.named_parameters() if p.grad is not None},
            }
        )
    return found


def require_equal(found: list[dict[str, Any]], columns: float = 1e-6, rest: float = 5e-6) -> None:
    """Log-probabilities to 1e-6; gradients, which are sums over more of them, to 5e-6."""
    own, parts = found
    assert own.keys() == parts.keys()
    for name, value in own.items():
        scale = max(1.0, float(value.abs().max()))
        furthest = float((parts[name] - value).abs().max()) / scale
        assert furthest <= (columns if "." not in name else rest), (name, furthest)


def with_lora(model: Any, **more: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    linears = adapted_linears(model)
    config = LoraConfig(
        r=4,
        target_modules=[linear.name for linear in linears],
        fan_in_fan_out=any(linear.transposed for linear in linears),
        init_lora_weights=False,
        **more,
    )
    return get_peft_model(model, config).eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("whole", [True, False])
def test_parts_are_what_the_model_says_altogether(name: str, whole: bool, tmp_path: Path) -> None:
    """Of a model that is trained whole, and of one whose projection is not trained."""
    model = load(make_base(name, tmp_path / "base", **ARCHITECTURES[name]))
    if not whole:
        model = with_lora(model)
    projection = ChunkedProjection(model, MOST)
    for batch in (padded(rows(), 1), packed(rows())):
        require_equal(both(model, batch, projection))


@pytest.mark.parametrize("more", [{"modules_to_save": ["lm_head"]}, {"lm_head": True}])
def test_an_adapted_projection_is_trained_in_parts_too(
    more: dict[str, Any], tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    untied = make_base("Llama", tmp_path / "base", tie_word_embeddings=False)
    if more.pop("lm_head", False):
        targets = ["q_proj", "lm_head"]
        config = LoraConfig(r=4, target_modules=targets, init_lora_weights=False, **more)
        model: Any = get_peft_model(load(untied), config)
    else:
        model = with_lora(load(untied), **more)
    found = both(model, padded(rows(), 1), ChunkedProjection(model, MOST))
    assert any("lm_head" in name for name in found[0])
    require_equal(found)


class Watched:
    """How many positions a projection is given at a time."""

    def __init__(self, model: Any) -> None:
        self.given: list[int] = []
        model.get_output_embeddings().register_forward_hook(self._note)

    def _note(self, module: nn.Module, given: Any, logits: torch.Tensor) -> None:
        self.given.append(logits.shape[:-1].numel())


@pytest.mark.parametrize("trained", [False, True])
def test_logits_of_a_micro_batch_are_never_there_together(trained: bool, tiny: Path) -> None:
    """5 + 16 + 1 labels: five parts, and of what is trained five more in the backward pass."""
    model = load(tiny) if trained else with_lora(load(tiny))
    watched = Watched(model)
    scores = score(model, padded(rows(), 1), projection=ChunkedProjection(model, MOST))
    parts = [5, 5, 5, 5, 2]
    assert [n for n in watched.given if n] == parts
    scores.logprobs.sum().backward()
    again = [n for n in watched.given if n][len(parts) :]
    assert sorted(again) == (sorted(parts) if trained else [])


def test_few_labels_are_projected_by_the_model_itself_and_nothing_else_is(tiny: Path) -> None:
    """Side by side they stand in 16 columns of three rows: 48 positions, of which 22 count."""
    model = load(tiny)
    watched = Watched(model)
    score(model, padded(rows(), 1))
    score(model, padded(rows(), 1), projection=ChunkedProjection(model, 22))
    assert watched.given == [48, 22]
    require_equal(both(model, padded(rows(), 1), ChunkedProjection(model, 22)))
    require_equal(both(model, padded(rows(), 1), ChunkedProjection(model, None)))


def test_dropout_of_an_adapted_projection_is_the_same_when_it_is_computed_again(
    tmp_path: Path,
) -> None:
    """Else the gradient would be that of another mask: it is compared with differences."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=["lm_head"], init_lora_weights=False, lora_dropout=0.5)
    base = make_base("Llama", tmp_path / "base", tie_word_embeddings=False)
    model: Any = get_peft_model(load(base), config).double().train()
    projection = ChunkedProjection(model, MOST)
    factor = next(p for n, p in model.named_parameters() if "lm_head.lora_A" in n)

    def value() -> torch.Tensor:
        torch.manual_seed(5)
        return score(model, padded(rows(), 1), projection=projection).logprobs.double().sum()

    value().backward()
    slope = float(factor.grad.sum())
    with torch.no_grad():
        factor += 1e-3
        above = float(value())
        factor -= 2e-3
        below = float(value())
    assert slope == pytest.approx((above - below) / 2e-3, rel=1e-2)


def test_without_a_gradient_nothing_is_kept(tiny: Path) -> None:
    model = load(tiny)
    with torch.no_grad():
        own = score(model, padded(rows(), 1))
        found = score(model, padded(rows(), 1), projection=ChunkedProjection(model, MOST))
    assert torch.allclose(found.logprobs, own.logprobs, atol=1e-6)
    assert not found.logprobs.requires_grad


def test_half_precision_gives_what_its_own_logits_give(tiny: Path) -> None:
    model = with_lora(load(tiny, torch.bfloat16))
    require_equal(both(model, padded(rows(), 1), ChunkedProjection(model, MOST)), 2e-2, 5e-2)


def test_a_model_is_as_it_was_afterwards(tiny: Path) -> None:
    """Also where the projection fails: no hook and no borrowed decoder is left."""
    model = load(tiny)
    before = model(torch.tensor([[3, 4, 5]])).logits
    projection = ChunkedProjection(model, MOST)

    def broken(logits: torch.Tensor, at: slice) -> Any:
        raise ValueError("nothing can be read")

    batch = padded(rows(), 1)
    kept = torch.ones(3, 20, dtype=torch.bool)
    with pytest.raises(ValueError, match="nothing can be read"), projection.only(kept, broken):
        model(input_ids=batch.input_ids, use_cache=False)
    assert "forward" not in model.model.__dict__
    assert not model.lm_head._forward_pre_hooks
    assert not model.model._forward_hooks
    assert torch.equal(model(torch.tensor([[3, 4, 5]])).logits, before)


def probe(model: Any, bare: Any = None, **more: Any) -> ChunkedProjection | None:
    return projection_of(model, bare or model, rows()[1], precision="fp32", **more)


def test_what_is_together_goes_by_the_vocabulary_and_the_device(tiny: Path) -> None:
    assert logits_together(49152, "cpu") == 341  # 64 MiB
    assert logits_together(32000, "cuda") == 2097  # 256 MiB
    assert logits_together(10**9, "cpu") == 64
    model = load(tiny)
    found = probe(model)
    assert found is not None
    assert found.most == logits_together(258, "cpu") == 65027
    whole = probe(model, in_parts=True)
    assert whole is not None
    assert whole.most is None


class Otherwise(nn.Module):
    """Something is done to the logits outside of the model that has the projection."""

    def __init__(self, inner: Any, twice: bool = False) -> None:
        super().__init__()
        self.inner, self.twice = inner, twice

    def forward(self, **inputs: Any) -> Any:
        said = self.inner(**inputs)
        if self.twice:
            said = self.inner(**inputs)
        said.logits = said.logits * 0.5
        return said


def test_a_model_that_cannot_be_asked_in_parts_is_found_out(tiny: Path) -> None:
    model = load(tiny)
    assert probe(Otherwise(model), model) is None
    assert probe(Otherwise(model, twice=True), model) is None
    assert probe(nn.Linear(2, 2)) is None
    assert not model.lm_head._forward_pre_hooks


def test_a_training_that_computes_whole_logits_says_so_and_is_the_same(
    job: Callable[..., TinyJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapterworks.builders.training import abilities, projection

    monkeypatch.setattr(projection, "logits_together", lambda vocabulary, device: 4)
    first = job("lora", name="parts", epochs=1.0)
    trainer = first.trainer()
    assert trainer.forward.projection is not None
    trainer.run()
    monkeypatch.setattr(abilities, "projection_of", lambda *_, **__: None)
    again = job("lora", name="whole", epochs=1.0)
    again.run()
    events = read_events(again.folder / "events.jsonl")
    assert [e["event"] for e in events].count("whole_logits") == 1
    ours = read_events(first.folder / "events.jsonl")
    losses = [[e["loss"] for e in of if e["event"] == "step"] for of in (ours, events)]
    assert losses[0] == pytest.approx(losses[1], abs=2e-5)
    assert "whole_logits" not in [e["event"] for e in ours]
