"""`train.attention`: what a base and a machine can do is planned, and the rest refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapterworks.builders.plan import attention
from adapterworks.builders.plan.attention import attention_of, check_attention, chosen_attention
from adapterworks.builders.plan.load import Load
from adapterworks.builders.plan.machine import named_machine
from adapterworks.builders.plan.memory import predict_memory
from adapterworks.builders.plan.sharing import can_share
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from tests.builders.build_support import MACHINE, manifest_for
from tests.builders.plan.small import SMALL

ALL = ("sdpa", "eager", "flash_attention_2", "flex_attention")
ABLE = replace(SMALL, attentions=ALL, architecture="llama")
CAPPED = replace(SMALL, attentions=("eager",), eager=True, capped=True)
A10, T4 = named_machine("a10"), named_machine("t4")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "find_spec", lambda name: name)


def asking(name: str, **train: Any) -> Manifest:
    return manifest_for("lora", attention=name, **train)


@pytest.mark.parametrize("name", [*ALL, "auto"])
def test_what_a_base_and_a_card_can_do_is_let_through(name: str) -> None:
    check_attention(asking(name), ABLE, A10, "bf16")


@pytest.mark.parametrize(
    ("name", "shape", "machine", "precision", "said"),
    [
        ("sdpa", CAPPED, MACHINE, "fp32", "passes over the cap"),
        ("flex_attention", SMALL, A10, "bf16", "is nothing that a base of type"),
        ("flash_attention_2", ABLE, MACHINE, "fp32", "needs a CUDA device"),
        ("flex_attention", ABLE, MACHINE, "fp32", "needs a CUDA device"),
        ("flash_attention_2", ABLE, T4, "fp16", "since Ampere"),
        ("flash_attention_2", ABLE, A10, "fp32", "half precision alone"),
        ("flash_attention_2", replace(ABLE, head_dim=320), A10, "bf16", "heads of 320 numbers"),
        ("flex_attention", replace(ABLE, dropout=True), A10, "bf16", "knows no dropout"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_do(
    name: str, shape: Any, machine: Any, precision: Any, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        check_attention(asking(name), shape, machine, precision)
    assert f"`train.attention` `{name}`" in str(caught.value)
    assert "auto" in str(caught.value.hint)


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="`flash-attn`, which is not installed"):
        check_attention(asking("flash_attention_2"), ABLE, A10, "bf16")


def test_auto_is_what_the_base_is_loaded_with() -> None:
    assert attention_of(asking("auto"), ABLE) == "sdpa"
    assert attention_of(asking("auto"), CAPPED) == "eager"
    assert chosen_attention(asking("sdpa"), ABLE) == chosen_attention(asking("auto"), ABLE) == ""
    assert chosen_attention(asking("eager"), CAPPED) == ""
    assert chosen_attention(asking("eager"), ABLE) == "eager"


def test_the_memory_is_that_of_the_attention_that_was_chosen() -> None:
    """Three rows of two: of 3·2² pairs and 2 heads what `eager` keeps in float32, in each of 2
    layers the softmax, and in one the scores twice; in half precision what is cast as well."""

    def activations(name: str, shape: Any, width: int = 4) -> int:
        load, manifest = Load(3, 6, 3, 3), asking(name)
        planned = predict_memory(manifest, shape, load, "cuda", trainable=512, width=width)
        return planned.activations

    assert activations("eager", ABLE) - activations("auto", ABLE) == 2 * 12 * (2 * 4 + 2 * 4)
    half = activations("eager", ABLE, 2) - activations("auto", ABLE, 2)
    assert half == 2 * 12 * (2 * (4 + 2) + 2 * 2)
    other = replace(CAPPED, attentions=("eager", "flex_attention"))
    assert activations("flex_attention", other) == activations("auto", ABLE)


def test_a_beginning_is_shared_only_where_the_mask_is_read_as_one() -> None:
    from adapterworks.builders.methods import METHODS

    def shares(name: str) -> bool:
        return can_share(asking(name, method={"dropout": 0.0}), METHODS["lora"], ABLE, 2)

    assert [shares(name) for name in ("auto", *ALL)] == [True, True, False, False, False]
