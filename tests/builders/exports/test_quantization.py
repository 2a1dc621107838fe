"""What a GGUF file's tensors are quantized to, and by whom."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import gguf
import numpy as np
import pytest

from adapterworks.builders.exports.gguf import quantize as module
from adapterworks.builders.exports.gguf.quantize import missing, quantize
from adapterworks.builders.exports.gguf.types import FILE_TYPES, types_of
from adapterworks.manifests.errors import Refused, Unavailable
from tests.builders.exports.test_proof import export
from tests.builders.merging.conftest import Shelf

KINDS = gguf.GGMLQuantizationType


@pytest.mark.parametrize(("kind", "error"), [("Q4_K", 0.09), ("Q5_K", 0.045), ("Q6_K", 0.022)])
def test_a_k_quant_is_the_numbers_again_up_to_its_bits(kind: str, error: float) -> None:
    values = np.random.default_rng(0).normal(size=(24, 512)).astype(np.float32)
    blocks = quantize(values, KINDS[kind])
    again = gguf.dequantize(blocks, KINDS[kind])
    assert blocks.nbytes == 24 * 2 * gguf.GGML_QUANT_SIZES[KINDS[kind]][1]
    found = np.linalg.norm(again - values) / np.linalg.norm(values)
    assert error / 2 < found < error


def test_llama_cpp_and_the_gguf_package_agree_where_both_compute() -> None:
    values = np.random.default_rng(1).normal(size=(3, 256)).astype(np.float32)
    simple = gguf.quantize(values, KINDS.Q8_0)
    stored = np.empty_like(simple)
    compute = module._llama_cpp()
    pointers = (values.ctypes.data_as(module.ctypes.POINTER(module.ctypes.c_float)),
                stored.ctypes.data_as(module.ctypes.c_void_p))  # fmt: skip
    assert compute(int(KINDS.Q8_0), *pointers, 0, 3, 256, None) == simple.nbytes
    assert (stored == simple).all()


def model(width: int, layers: int, *, tied: bool) -> list[tuple[str, tuple[int, ...]]]:
    """The shapes that matter of a model."""
    shapes = [("token_embd.weight", (1000, width)), ("output_norm.weight", (width,))]
    shapes += [] if tied else [("output.weight", (1000, width))]
    for layer in range(layers):
        for part in ("attn_q", "attn_v", "ffn_down", "ffn_up"):
            shapes.append((f"blk.{layer}.{part}.weight", (512, width)))
    return shapes


def test_the_mixture_is_that_of_llama_quantize() -> None:
    found = {
        name: kind.name for name, kind in types_of(model(512, 16, tied=False), "q4_k_m").items()
    }
    assert (found["output.weight"], found["token_embd.weight"]) == ("Q6_K", "Q4_K")
    assert found["output_norm.weight"] == "F32"
    # The first and last eighth of 16 layers, and every third of those between.
    more = {0, 1, 4, 7, 10, 13, 14, 15}
    for layer in range(16):
        six = "Q6_K" if layer in more else "Q4_K"
        assert (found[f"blk.{layer}.attn_v.weight"], found[f"blk.{layer}.ffn_down.weight"]) == (
            six,
            six,
        )
        assert found[f"blk.{layer}.attn_q.weight"] == "Q4_K"
    assert types_of(model(512, 16, tied=True), "q5_k_m")["token_embd.weight"].name == "Q6_K"
    assert {k.name for k in types_of(model(512, 2, tied=True), "q6_k").values()} == {"Q6_K", "F32"}


@pytest.mark.parametrize(
    ("type_", "width", "kinds"),
    [
        ("q4_k_m", 576, {"Q5_0", "Q8_0", "F32"}),
        ("q5_k_m", 576, {"Q5_1", "Q8_0", "F32"}),
        ("q6_k", 576, {"Q8_0", "F32"}),
        ("q4_k_m", 40, {"F16", "F32"}),
        ("q4_0", 576, {"Q4_0", "Q8_0", "F32"}),
        ("q8_0", 40, {"F16", "F32"}),
    ],
)
def test_rows_that_are_no_whole_blocks_get_another_type(
    type_: str, width: int, kinds: set[str]
) -> None:
    assert {kind.name for kind in types_of(model(width, 2, tied=True), type_).values()} == kinds


def test_every_type_has_a_name_in_the_file() -> None:
    assert all(name in gguf.LlamaFileType.__members__ for name in FILE_TYPES.values())


@pytest.fixture
def no_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without llama.cpp."""
    module._llama_cpp.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    yield
    module._llama_cpp.cache_clear()


def test_without_llama_cpp_there_are_none_and_it_says_so(no_llama_cpp: None) -> None:
    said = missing()
    assert said is not None
    assert "computed by llama.cpp" in said
    with pytest.raises(Unavailable, match=r"computed by llama\.cpp") as refused:
        quantize(np.zeros((1, 256), np.float32), KINDS.Q4_K)
    assert "llama-quantize" in str(refused.value.hint)


def test_an_unproved_one_is_not_written_without_it_either(shelf: Shelf, no_llama_cpp: None) -> None:
    with pytest.raises(Refused, match="K-quants are computed by llama"):
        export(shelf, "gguf", type_="q4_k_m", unproved=True)


def test_one_is_proved_in_llama_cpp(shelf: Shelf) -> None:
    done = export(shelf, "gguf", type_="q6_k")
    assert done.proof is not None
    assert done.proof.divergence < 0.05
