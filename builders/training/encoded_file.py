"""Encoded splits in one safetensors file: written and read without holding them.

`SPLIT.input_ids`, `.labels` (int32) and `.column.NAME` (float32) are one value a token,
`.value.NAME` (float32) one a sequence, `.counts` (float64) one an example; `.offsets` and
`.examples` (int64) say
where sequences begin among the tokens, and examples among those.

Invariant: what is read is mapped: of a file larger than memory a training holds the pages that it
looks at.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import safe_open

from adapterworks.builders.data.render import Encoded
from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.training.on_demand import OnDemand

_FORMS = {"i": "I32", "q": "I64", "f": "F32", "d": "F64"}
_BUFFERED = 1 << 16  # values that are written at once
# A tensor of the file: its name, how wide, how many values, and what gives them.
_Part = tuple[str, str, int, Callable[[], Iterable[float]]]


def save_encoded(path: Path, sets: Mapping[str, Sequence[Example]]) -> None:
    """Write encoded splits; examples are read once for each tensor, and none is held.

    Raises:
        ValueError: sequences of a split have different columns or values.
    """
    parts = [part for split, examples in sets.items() for part in _parts(split, examples)]
    header, at = {}, 0
    for name, code, count, _ in parts:
        size = count * array(code).itemsize
        shape = {"dtype": _FORMS[code], "shape": [count], "data_offsets": [at, at + size]}
        header[name], at = shape, at + size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, code, count, values in parts:
            written = _write(file, code, values())
            assert written == count, "examples changed while they were written"


def _write(file: BinaryIO, code: str, values: Iterable[float]) -> int:
    buffer: array[Any] = array(code)
    written = 0
    for value in values:
        buffer.append(value)
        if len(buffer) >= _BUFFERED:
            written += len(buffer)
            buffer.tofile(file)
            buffer = array(code)
    buffer.tofile(file)
    return written + len(buffer)


def _parts(split: str, examples: Sequence[Example]) -> Iterator[_Part]:
    lengths, sizes, counts = array("q"), array("q"), array("d")
    columns: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    for example in examples:
        sizes.append(len(example.sequences))
        counts.append(example.count)
        for sequence in example.sequences:
            named = tuple(sequence.columns), tuple(sequence.values)
            if not lengths:
                columns, values = named
            elif tuple(map(set, named)) != (set(columns), set(values)):
                raise ValueError(
                    f"the columns and values of row {sequence.row + 1} of `{split}` are {named}, "
                    f"and those of the rows before it {(columns, values)}"
                )
            lengths.append(len(sequence.input_ids))
    tokens = sum(lengths)

    def sequences() -> Iterator[Encoded]:
        return (sequence for example in examples for sequence in example.sequences)

    def flat(of: Callable[[Encoded], Sequence[float]]) -> Callable[[], Iterator[float]]:
        return lambda: (value for sequence in sequences() for value in of(sequence))

    yield f"{split}.offsets", "q", len(lengths) + 1, lambda: accumulate(lengths, initial=0)
    yield f"{split}.examples", "q", len(sizes) + 1, lambda: accumulate(sizes, initial=0)
    yield f"{split}.counts", "d", len(counts), lambda: counts
    yield f"{split}.input_ids", "i", tokens, flat(lambda sequence: sequence.input_ids)
    yield f"{split}.labels", "i", tokens, flat(lambda sequence: sequence.labels)
    for name in columns:
        yield f"{split}.column.{name}", "f", tokens, flat(_column(name))
    for name in values:
        yield f"{split}.value.{name}", "f", len(lengths), _value(sequences, name)


def _column(name: str) -> Callable[[Encoded], Sequence[float]]:
    return lambda sequence: sequence.columns[name]


def _value(sequences: Callable[[], Iterator[Encoded]], name: str) -> Callable[[], Iterator[float]]:
    return lambda: (sequence.values[name] for sequence in sequences())


class Mapped(OnDemand):
    """The examples of one split in a file that is mapped into memory."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._ids, self._labels = tensors["input_ids"], tensors["labels"]
        self._offsets, self._examples = tensors["offsets"], tensors["examples"]
        self.counts: tuple[float, ...] = tuple(tensors["counts"].tolist())
        self._columns = _named(tensors, "column.")
        self._values = _named(tensors, "value.")

    def lengths(self) -> tuple[int, ...]:
        """Tokens of each example."""
        begins = self._offsets[self._examples]
        return tuple((begins[1:] - begins[:-1]).tolist())

    def __len__(self) -> int:
        return len(self._examples) - 1

    def example(self, index: int) -> tuple[TokenSequence, ...]:
        """See `OnDemand`."""
        first, last = self._examples[index : index + 2].tolist()
        return tuple(self._sequence(number) for number in range(first, last))

    def _sequence(self, number: int) -> TokenSequence:
        start, stop = self._offsets[number : number + 2].tolist()
        return TokenSequence(
            self._ids[start:stop].long(),
            self._labels[start:stop].long(),
            {name: column[start:stop].clone() for name, column in self._columns.items()},
            {name: float(value[number]) for name, value in self._values.items()},
        )


def load_mapped(path: Path) -> dict[str, Mapped]:
    """The splits that `save_encoded` wrote."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no table)
    splits = {key.partition(".")[0] for key in tensors}
    return {split: Mapped(_named(tensors, f"{split}.")) for split in splits}


def _named(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in sorted(tensors.items())
        if key.startswith(prefix)
    }
