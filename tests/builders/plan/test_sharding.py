"""Weights in parts: a process's memory by hand, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.memory import Memory
from adapterworks.builders.plan.plan import make_plan
from adapterworks.builders.plan.sharding import in_parts
from adapterworks.manifests.errors import InvalidInput, Refused
from tests.builders.build_support import (
    ENVIRONMENT,
    MACHINE,
    encoded_rows,
    facts_of,
    identity,
    manifest_for,
)
from tests.builders.plan.small import SMALL

# Four layers of 576 numbers and 120 beside them: 2,424.
DEEP = replace(
    SMALL,
    layers=4,
    linears=(
        *SMALL.linears,
        *(replace(x, name=x.name.replace("layers.", "layers.2")) for x in SMALL.linears),
    ),
)
FACTS = facts_of(encoded_rows(32), encoded_rows(8))
MEMORY = Memory(
    weights=9696,
    gradients=9696,
    optimizer=19392,
    activations=1000,
    accumulated=9696,
    casts=4848,
    stepping=9696,
)


def test_a_process_has_its_part_and_what_is_whole_for_a_while() -> None:
    """Of four: a quarter of everything; two layers and what is in none, gathered; one layer's
    gradients before they are added up. `zero-2` gathers all weights."""
    assert DEEP.parameters == 2424
    manifest = manifest_for("full", processes=4, sharding="fsdp")
    found = in_parts(MEMORY, DEEP, manifest, trainable=2424, width=2)
    assert found.weights == 2424 + 2 * (120 + 2 * 576)
    assert found.gradients == 2424 + 4 * (120 + 576)
    assert (found.optimizer, found.activations, found.accumulated) == (4848, 1000, 2424)
    assert found.casts == 0, "what is gathered is in the precision already"
    assert found.stepping == 0, "one weight is stepped after the other"
    other = manifest_for("full", processes=4, sharding="zero-2")
    kept = in_parts(MEMORY, DEEP, other, trainable=2424, width=4)
    assert (kept.weights, kept.optimizer) == (2424 + 9696, 4848)
    for alone in (manifest_for("full", processes=4), manifest_for("full", sharding="fsdp")):
        assert in_parts(MEMORY, DEEP, alone, trainable=2424, width=4) == MEMORY


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("qlora", {}, "`qlora` is trained with whole weights in each process"),
        ("dora", {}, "`dora` is trained with whole weights"),
        ("prefix-tuning", {}, "`prefix-tuning` is trained with whole weights"),
        ("lora", {"optimizer": "adafactor"}, "`adafactor` looks at whole matrices"),
        ("lora", {"precision": "fp16"}, "fp16 would scale the loss"),
        ("lora", {"objective": "dpo"}, "`dpo` asks or samples from a second policy"),
    ],
)
def test_what_is_not_trained_in_parts_is_refused(
    tiny: Path, kind: str, changes: dict[str, str], why: str
) -> None:
    manifest = manifest_for(kind, processes=2, sharding="fsdp", **changes)
    cards = Machine("cuda", "A10", 24 << 30, "bf16", 8, cards=2)
    with pytest.raises(InvalidInput, match=why):
        make_plan(manifest, identity(kind), read_shape(tiny), cards, FACTS, ENVIRONMENT)


def test_what_does_not_fit_is_told_of_parts(tiny: Path) -> None:
    shape = read_shape(tiny)
    wide = replace(
        shape,
        layers=12,
        linears=tuple(
            replace(x, name=x.name.replace("layers.", f"layers.{times}"))
            for times in range(6)
            for x in shape.linears
        ),
    )
    manifest = manifest_for("full", processes=4, micro_batch_size=1, gradient_checkpointing=True)
    whole = make_plan(manifest, identity("full"), wide, MACHINE, FACTS, ENVIRONMENT).memory
    tight = replace(MACHINE, memory=int(4 * whole["total"] / 0.9) - 4)
    with pytest.raises(Refused, match="for each process") as told:
        make_plan(manifest, identity("full"), wide, tight, FACTS, ENVIRONMENT)
    assert '`train.sharding = "fsdp"` would fit' in str(told.value.hint)
