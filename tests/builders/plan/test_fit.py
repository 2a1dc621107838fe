"""The micro batch that fits: the longest rows, the largest divisor, and what would fit instead."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from adapterworks.builders.methods import METHODS
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.fit import fit, largest
from adapterworks.builders.plan.load import Load
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.memory import Memory, predict_memory
from adapterworks.builders.plan.occupied import Occupied
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.models import Manifest
from tests.builders.build_support import manifest_for
from tests.builders.plan.small import SMALL

GIB = 1 << 30


def facts(lengths: tuple[int, ...], supervised: tuple[int, ...] = (), **more: Any) -> DataFacts:
    return DataFacts({}, {}, lengths, supervised or (2,) * len(lengths), **more)


FACTS = facts((10, 30, 20), (4, 2, 6))


def test_padded_rows_are_as_long_as_the_longest_and_have_logits_where_a_label_is() -> None:
    assert largest(FACTS, 1, shared=0, packed=False) == Load(1, 30, 6, 1)
    assert largest(FACTS, 2, shared=0, packed=False) == Load(2, 2 * 30, 6 + 4, 2, mask=30, masks=2)
    learnt_whole = facts((10, 30, 20), (10, 30, 20))
    assert largest(learnt_whole, 3, shared=0, packed=False) == Load(3, 90, 60, 3, mask=30, masks=3)
    even = facts((20, 20), (4, 2))
    assert largest(even, 2, shared=0, packed=False) == Load(2, 40, 6, 2), "torch is told `causal`"


def test_packed_rows_are_one_sequence_of_the_longest_together() -> None:
    assert largest(FACTS, 2, shared=0, packed=True) == Load(2, 30 + 20, 6 + 4, 1, mask=50)
    assert largest(FACTS, 1, shared=0, packed=True) == Load(1, 30, 6, 1), "it has no neighbour"


def test_what_is_shared_is_there_once() -> None:
    assert largest(FACTS, 2, shared=5, packed=False) == Load(2, 50 - 5, 10, 1, mask=45)
    assert largest(FACTS, 3, shared=5, packed=False) == Load(3, 60 - 10, 12, 1, mask=50)


def test_answers_to_one_prompt_have_it_once() -> None:
    """The longest prompt, of 22 tokens, and three answers of 8."""
    answers = facts((30, 20, 12), (8, 8, 8))
    load = largest(answers, 3, shared=3, packed=False, grouped=True)
    assert load == Load(3, 22 + 3 * 8, 24, 1, mask=46)


@pytest.mark.parametrize(
    ("group", "longest", "fixed", "chosen"),
    [
        (6, 100, None, 6),  # six of a batch of four prompts: groups are what is divided
        (8, 464, None, 8),  # 464 + 7 · 80 = 1,024
        (8, 465, None, 4),
        (4, 784, None, 4),  # 784 + 3 · 80 = 1,024
        (4, 785, None, 2),
        (4, 2000, None, 1),
        (4, 100, 2, 2),
    ],
)
def test_micro_batches_are_equal_parts_of_a_group(
    group: int, longest: int, fixed: int | None, chosen: int
) -> None:
    data = facts((longest, 90), (80, 80))
    manifest = manifest_for("lora", batch_size=4, micro_batch_size=fixed)
    trainable = METHODS["lora"].trainable(SMALL, manifest.method)
    found, _ = fit(manifest, SMALL, machine(100 * GIB), data, 9, trainable, "fp32", group=group)
    assert found == chosen


def test_pairs_have_two_sequences() -> None:
    pairs = facts((30, 20), (6, 4), sequences=2, longest=18)
    assert pairs.longest_sequence == 18
    assert largest(pairs, 1, shared=0, packed=False) == Load(2, 2 * 18, 6, 2, mask=18, masks=2)
    assert largest(pairs, 2, shared=5, packed=False) == Load(4, 50 - 3 * 5, 10, 1, mask=35)
    assert facts((30, 20)).longest_sequence == 30


def needed(manifest: Manifest, data: DataFacts, rows: int, *, shared: int = 0) -> Memory:
    load = largest(data, rows, shared=shared, packed=manifest.train.packing)
    load = replace(load, accumulates=rows < manifest.train.batch_size)
    trainable = METHODS[manifest.method.kind].trainable(SMALL, manifest.method)
    return predict_memory(manifest, SMALL, load, "cpu", trainable=trainable, width=4)


def machine(room: int, *, device: Any = "cpu") -> Machine:
    """The smallest machine nine tenths of which are `room` bytes."""
    memory = next(m for m in range(room * 10 // 9 - 2, room * 10 // 9 + 3) if int(m * 0.9) >= room)
    return Machine(device, "test", memory, "fp32", 2)


def micro(data: DataFacts, on: Machine | None = None, kind: str = "lora", **train: Any) -> int:
    manifest = manifest_for(kind, **train)
    trainable = METHODS[kind].trainable(SMALL, manifest.method)
    chosen, memory = fit(manifest, SMALL, on or machine(100 * GIB), data, 0, trainable, "fp32")
    if on is None:
        assert memory == needed(manifest, data, chosen)
    return chosen


@pytest.mark.parametrize(
    ("batch", "longest", "chosen"),
    [
        (8, 20, 8),  # the whole batch
        (8, 128, 8),  # 8 · 128 = 1,024 tokens, the most that a CPU gains by
        (8, 129, 4),
        (5, 205, 1),  # five are one token too many
        (8, 300, 2),  # three would be within the tokens, but do not divide eight
        (6, 300, 3),
        (7, 300, 1),
        (8, 1024, 1),
        (8, 5000, 1),  # a row is a row
    ],
)
def test_it_is_the_largest_divisor_within_the_tokens_that_pay(
    batch: int, longest: int, chosen: int
) -> None:
    assert micro(facts((5, longest, 7)), batch_size=batch) == chosen


def test_a_gpu_takes_sixteen_times_as_many_tokens() -> None:
    assert micro(facts((2048,)), machine(100 * GIB, device="cuda"), batch_size=16) == 8
    assert micro(facts((2049,)), machine(100 * GIB, device="cuda"), batch_size=16) == 4
    assert micro(facts((3277,)), machine(100 * GIB, device="cuda"), batch_size=5) == 1


def test_what_the_manifest_says_is_taken() -> None:
    assert micro(facts((20,)), batch_size=8, micro_batch_size=2) == 2
    assert micro(facts((5000,)), batch_size=8, micro_batch_size=4) == 4


def test_nine_tenths_of_the_memory_may_be_filled_to_the_byte() -> None:
    """Less room by one byte, and it is the next divisor; below one row's, a refusal."""
    manifest, data = manifest_for("lora"), facts((100,) * 8)
    eight, four, one = (needed(manifest, data, rows).total for rows in (8, 4, 1))
    assert eight > four > one
    assert micro(data, machine(eight)) == 8
    assert micro(data, machine(eight - 1)) == 4
    assert micro(data, machine(four - 1)) == 2
    assert micro(data, machine(one)) == 1
    with pytest.raises(Refused, match=r"GiB free, of which a plan takes \d"):
        micro(data, machine(one - 1))


def test_what_others_hold_is_waited_for_and_what_is_not_there_is_refused() -> None:
    """To the byte: a machine that would do when empty is occupied, a lesser one too small."""
    manifest, data = manifest_for("lora"), facts((100,) * 8)
    one, eight = (needed(manifest, data, rows).total for rows in (1, 8))
    enough, short = machine(one).memory, machine(one).memory - 2
    with pytest.raises(Occupied) as caught:
        micro(data, replace(machine(1), total=enough))
    assert re.fullmatch(
        r"training needs 0\.\d\d GiB at a micro batch of 1, and of this machine's 0\.\d\d GiB now "
        r"0\.00 GiB are free and 0\.\d\d GiB are held by others",
        caught.value.message,
    )
    assert f"{one / 2**30:.2f} GiB at" in caught.value.message
    with pytest.raises(Refused, match="and this machine has"):
        micro(data, replace(machine(1), total=short))
    # What is free now decides the micro batch, not what is there.
    assert micro(data, replace(machine(eight - 1), total=100 * GIB)) == 4
    # The processes of a CPU share both.
    with pytest.raises(Refused):
        micro(data, replace(machine(1), total=enough), processes=2)


def test_a_refusal_says_what_one_row_needs_and_of_what() -> None:
    # 90,000 tokens of 202·2 numbers, 1.6 bytes a byte: 221 MiB, and 64 beside them.
    data = facts((90_000, 80_000))
    with pytest.raises(Refused) as caught:
        micro(data, Machine("cpu", "test", 256 << 20, "fp32", 2), method={"rank": 2})
    assert caught.value.message == (
        "training needs 0.28 GiB at a micro batch of 1, and this machine has 0.25 GiB free"
    )
    hint = caught.value.hint or ""
    assert hint.endswith(
        "weights 0.00 GiB, gradients 0.00 GiB, optimizer 0.00 GiB, activations 0.22 GiB, "
        "runtime 0.06 GiB, accumulated 0.00 GiB"
    )
    assert "total" not in hint
    # Two layers' inputs and one whole layer in place of two: 119 MiB.
    assert hint.startswith("`train.gradient_checkpointing = true` would fit with 0.18 GiB; ")


def test_what_a_fixed_micro_batch_needs_is_said_for_it() -> None:
    data = facts((30_000,) * 8)
    with pytest.raises(Refused, match=r"needs 0\.29 GiB at a micro batch of 4, ") as caught:
        micro(
            data,
            Machine("cpu", "test", 200 << 20, "fp32", 2),
            batch_size=4,
            micro_batch_size=4,
            gradient_checkpointing=True,
        )
    assert "gradient_checkpointing" not in (caught.value.hint or "")


def gradients_of(kind: str, **train: Any) -> str:
    """What is offered where everything but the method's weights is small."""
    manifest = manifest_for(kind, **train)
    trainable = METHODS[kind].trainable(SMALL, manifest.method)
    data = facts((100,))
    small = Machine("cpu", "test", 1 << 20, "fp32", 2)
    with pytest.raises(Refused) as caught:
        fit(manifest, SMALL, small, data, 0, trainable, "fp32")
    return caught.value.hint or ""


def test_what_fits_is_offered_in_order_and_only_if_it_fits() -> None:
    """Where not even a process without a model fits, only what is generally lighter is named."""
    assert gradients_of("lora").startswith("a smaller `train.max_length` or base would need less; ")
    assert gradients_of("full").startswith("`method.kind` `lora` or `qlora` trains a few per cent")
    offered = re.compile(r"^`(train\.gradient_checkpointing = true|method\.kind = \"\w+\")` would")
    manifest, data = manifest_for("lora", batch_size=1), facts((100,))
    lighter = manifest.model_copy(
        update={"train": manifest.train.model_copy(update={"gradient_checkpointing": True})}
    )
    room = needed(lighter, data, 1).total
    assert room < needed(manifest, data, 1).total
    with pytest.raises(Refused) as caught:
        micro(data, machine(room), batch_size=1)
    assert offered.match(caught.value.hint or ""), "to the byte"
    with pytest.raises(Refused) as caught:
        micro(data, machine(room - 1), batch_size=1)
    assert not offered.match(caught.value.hint or "")


def test_a_method_that_does_the_same_in_less_is_named() -> None:
    """QLoRA holds the matrices in an eighth: 576,000 numbers of a base of a thousand layers."""
    deep = replace(SMALL, layers=1000, linears=SMALL.linears * 500)
    given: dict[str, Any] = {"method": {"rank": 2}, "gradient_checkpointing": True}
    manifest, quantized = manifest_for("lora", **given), manifest_for("qlora", **given)
    trainable = METHODS["lora"].trainable(deep, manifest.method)
    assert trainable == 1000 * 128 * 2
    data = facts((10,))
    load = replace(largest(data, 1, shared=0, packed=False), accumulates=True)
    room, dense = (
        predict_memory(it, deep, load, "cpu", trainable=trainable, width=4).total
        for it in (quantized, manifest)
    )
    assert dense - room > 1_800_000
    with pytest.raises(Refused) as caught:
        fit(manifest, deep, machine(room), data, 0, trainable, "fp32")
    assert (caught.value.hint or "").startswith('`method.kind = "qlora"` would fit with ')
    with pytest.raises(Refused) as caught:
        fit(manifest, deep, machine(room - 1), data, 0, trainable, "fp32")
    assert (caught.value.hint or "").startswith("a smaller `train.max_length`")


@pytest.mark.parametrize(("precision", "width"), [("fp32", 4), ("bf16", 2), ("fp16", 2)])
def test_a_precision_has_its_width(precision: Any, width: int) -> None:
    manifest = manifest_for("lora")
    trainable = METHODS["lora"].trainable(SMALL, manifest.method)
    on = machine(100 * GIB, device="cuda")
    micro, memory = fit(manifest, SMALL, on, FACTS, 0, trainable, precision)
    load = largest(FACTS, micro, shared=0, packed=False)
    assert memory == predict_memory(manifest, SMALL, load, "cuda", trainable=trainable, width=width)
    assert memory.weights == 1272 * width + 4 * trainable
