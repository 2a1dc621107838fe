"""The numbers of a graph: rounded to what was asked for, and said in the file.

    f32    as they are
    f16    weights in half precision, computed with in float32 (a `Cast` that runtimes fold)
    int8   linears in blocks of 32 of a row, eight bits each (`MatMulNBits`); the rest as f16
    int4   the same with four

The blocks are symmetric with one scale each; activations are not rounded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.exports.onnx.graph import MODEL, WEIGHTS

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

TYPES = ("f32", "f16", "int8", "int4")
BLOCK = 32
_BITS = {"int8": 8, "int4": 4}
_SMALL = 1024  # numbers: constants and norms stay as they are


def finish(place: Path, type_: str, facts: Mapping[str, str], optional: Collection[str]) -> None:
    """Round the weights of a folder's graph, and write what it comes from into it.

    Args:
        place: a folder with `model.onnx` and its weights in float32, both replaced.
        facts: for the file's metadata.
        optional: inputs that need not be given; they are empty then.
    """
    import onnx

    model = onnx.load(place / MODEL)
    _give_defaults(model.graph, optional)
    if type_ in _BITS:
        model = _in_blocks(model, _BITS[type_])
    if type_ != "f32":
        _halve(model.graph)
    onnx.helper.set_model_props(model, dict(facts))
    model.producer_name, model.doc_string = "adapterworks", ""
    (place / MODEL).unlink()
    (place / WEIGHTS).unlink(missing_ok=True)
    onnx.save(
        model,
        place / MODEL,
        save_as_external_data=True,
        location=WEIGHTS,
        size_threshold=_SMALL,
        convert_attribute=False,
    )


def _give_defaults(graph: GraphProto, optional: Collection[str]) -> None:
    """An input with an initializer of its name is one that may be left out: here of rank 0."""
    import onnx

    for given in graph.input:
        if given.name not in optional:
            continue
        sizes = [d.dim_value for d in given.type.tensor_type.shape.dim]  # 0: dynamic
        empty = onnx.helper.make_tensor(given.name, onnx.TensorProto.FLOAT, sizes, [])
        graph.initializer.append(empty)


def _in_blocks(model: ModelProto, bits: int) -> ModelProto:
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=True, bits=bits)
    quantizer = MatMulNBitsQuantizer(model, algo_config=config)
    quantizer.process()
    written: ModelProto = quantizer.model.model
    return written


def _halve(graph: GraphProto) -> None:
    """Keep large float32 weights as float16; a `Cast` in front of their readers widens them."""
    import onnx
    from onnx import numpy_helper

    scales = {node.input[2] for node in graph.node if node.op_type == "MatMulNBits"}
    casts = []
    for initializer in graph.initializer:
        if not _is_large(initializer) or initializer.name in scales:
            continue
        name = initializer.name
        values = numpy_helper.to_array(initializer).astype("float16")
        initializer.CopyFrom(numpy_helper.from_array(values, f"{name}.f16"))
        casts.append(
            onnx.helper.make_node(
                "Cast", [f"{name}.f16"], [name], f"{name}.widen", to=onnx.TensorProto.FLOAT
            )
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _is_large(initializer: TensorProto) -> bool:
    import math

    import onnx

    return initializer.data_type == onnx.TensorProto.FLOAT and (
        math.prod(initializer.dims) >= _SMALL
    )
