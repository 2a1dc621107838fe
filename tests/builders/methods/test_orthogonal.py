"""O-LoRA: the penalty by hand, what stays exactly, and where it makes no sense."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from adapterworks.builders.methods import orthogonal
from adapterworks.builders.methods.lora import LoraTable
from adapterworks.builders.training.model import build_model, save_adapter
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.load import check_manifest
from tests.builders.build_support import TinyJob

MANIFEST = """
[adapter]
name = "next"
[base]
model = "smollm2-135m-instruct"
[method]
kind = "{kind}"
rank = {rank}
keep_ranks = 4
[data]
train = "rows.jsonl"
[train]
{train}
{start}
"""


class Two(nn.Module):
    """Two linears' factors of three ranks, of which one stays."""

    def __init__(self) -> None:
        super().__init__()
        rows = ([[1.0, 0.0], [2.0, 5.0], [0.0, 3.0]], [[0.0, 2.0], [7.0, 0.5], [1.0, 1.0]])
        for name, values in zip(("q", "v"), rows, strict=True):
            self.add_module(name, module := nn.Module())
            for part, of in (("lora_A", torch.tensor(values)), ("lora_B", torch.zeros(2, 3))):
                module.add_module(part, factor := nn.Module())
                factor.register_parameter("default", nn.Parameter(of))


def test_the_penalty_and_its_gradient_by_hand() -> None:
    """q: (1·2)² + (1·0)² = 4; v: (2·0.5)² + (2·1)² = 5; λ = 0.25."""
    model = Two()
    orthogonal.hold(model, LoraTable(kind="lora", rank=3, keep_ranks=1, orthogonality=0.25))
    found = orthogonal.penalty(model)
    assert found is not None
    assert float(found.detach()) == pytest.approx(0.25 * 9)
    found.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if "lora_A" in name}
    # d λ(a₀·a)² / da = 2λ (a₀·a) a₀, and nothing for a₀, which stays.
    assert torch.equal(grads["q.lora_A.default"], torch.tensor([[0.0, 0], [1.0, 0], [0.0, 0]]))
    assert torch.equal(grads["v.lora_A.default"], torch.tensor([[0.0, 0], [0, 1.0], [0, 2.0]]))
    plain = Two()
    orthogonal.hold(plain, LoraTable(kind="lora", rank=3))
    assert orthogonal.penalty(plain) is None


def test_the_ranks_that_stay_get_no_gradient() -> None:
    """Of a loss of all ranks: A's first row and B's first column stay, whatever the loss says."""
    model = Two()
    orthogonal.hold(model, LoraTable(kind="lora", rank=3, keep_ranks=1, orthogonality=0.25))
    sum(parameter.sum() for parameter in model.parameters()).backward()
    for name, parameter in model.named_parameters():
        stays = torch.zeros_like(parameter, dtype=torch.bool)
        stays.narrow(0 if "lora_A" in name else 1, 0, 1).fill_(True)
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, (~stays).float())


def test_it_begins_as_the_release_and_leaves_its_ranks_alone(
    tiny: Path, job: Callable[..., TinyJob], tmp_path: Path
) -> None:
    ids = torch.arange(2, 14)[None]
    first = job("lora", "first", method={"rank": 4, "alpha": 4}).plan
    model = build_model(tiny, first)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, std=0.2)
    save_adapter(model, tmp_path / "adapter", first)
    before = model(input_ids=ids).logits.detach()

    keys = {"rank": 8, "alpha": 24, "keep_ranks": 4, "orthogonality": 2.0}
    second = job("lora", "second", method=keys).plan
    grown = build_model(tiny, second, tmp_path / "adapter")
    torch.testing.assert_close(grown(input_ids=ids).logits, before, atol=1e-5, rtol=1e-5)
    was = {name: p.detach().clone() for name, p in grown.named_parameters() if p.requires_grad}
    apart = orthogonal.penalty(grown)
    assert apart is not None
    optimizer = torch.optim.AdamW(
        [p for p in grown.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0
    )
    for _ in range(30):
        loss = grown(input_ids=ids, labels=ids).loss + orthogonal.penalty(grown)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    now = dict(grown.named_parameters())
    for name, tensor in was.items():
        at = orthogonal._OF[name.partition(".lora_")[2][0]]
        assert torch.equal(now[name].narrow(at, 0, 4), tensor.narrow(at, 0, 4))
        assert not torch.equal(now[name].narrow(at, 4, 4), tensor.narrow(at, 4, 4))
    left = orthogonal.penalty(grown)
    assert left is not None
    assert float(left.detach()) < float(apart.detach()) / 10

    wrong = job("lora", "third", method={"rank": 8, "keep_ranks": 2}).plan
    with pytest.raises(Refused, match="does not have 2 ranks"):
        build_model(tiny, wrong, tmp_path / "adapter")


@pytest.mark.parametrize(
    ("kind", "rank", "train", "start", "message"),
    [
        ("lora", 8, "", False, "nothing to be orthogonal to"),
        ("lora", 4, "", True, "none is left to learn"),
        ("lora", 8, "weight_decay = 0.1", True, "shrink the ranks that stay"),
        ("lora", 8, 'optimizer = "muon"', True, "looks at more than a number"),
        ("lora", 8, 'sharding = "fsdp"', True, "in whole factors"),
        ("dora", 8, "", True, "more than its ranks"),
        ("qlora", 8, "", True, None),
    ],
)
def test_where_it_makes_no_sense(
    tmp_path: Path, kind: str, rank: int, train: str, start: bool, message: str | None
) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    path = tmp_path / "next.toml"
    text = MANIFEST.format(
        kind=kind, rank=rank, train=train, start='[start]\nfrom = "before@1"' if start else ""
    )
    if kind == "qlora":
        text = text.replace("[method]", 'quantization = "nf4"\n[method]')
    path.write_text(text)
    faults = [fault.message for fault in check_manifest(path)[1]]
    assert len(faults) == (message is not None), faults
    assert all(message in fault for fault in faults if message)


def test_a_penalty_without_ranks_that_stay_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    path = tmp_path / "next.toml"
    text = MANIFEST.format(kind="lora", rank=8, train="", start='[start]\nfrom = "before@1"')
    path.write_text(re.sub("keep_ranks = .*", "orthogonality = 0.5", text))
    assert [fault.message for fault in check_manifest(path)[1]] == [
        "no ranks stay, so there is nothing to be orthogonal to"
    ]


def test_the_release_must_have_had_the_ranks_that_stay() -> None:
    table = LoraTable(kind="lora", rank=12, keep_ranks=8, alpha=3)
    assert orthogonal.begun_with(table).rank == 8
    assert orthogonal.begun_with(LoraTable(kind="lora", rank=8)).rank == 8
