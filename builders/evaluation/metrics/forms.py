"""The form of an answer: a pattern of the row's, or a format that a program can read.

Invariant: nothing that an answer says is carried out, fetched or expanded, and every answer costs
bounded time.
"""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from xml.parsers import expat

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.code import fenced, shape, source_of
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric
from adapterworks.manifests.errors import InvalidInput

_SECONDS = 1.0  # of one search


def _patterns_of(rows: Sequence[Row]) -> list[Any]:
    """The rows' columns `regex`, as patterns."""
    import regex

    patterns = []
    for number, row in enumerate(rows, 1):
        given = row.meta.get("regex")
        try:
            if not isinstance(given, str) or not given:
                raise ValueError("it is no text")
            patterns.append(regex.compile(given))
        except (ValueError, regex.error) as error:
            raise InvalidInput(
                f"row {row.number or number} has no regular expression in its column `regex`: "
                f"{error}",
                hint="an answer is right where it is found: write `^…$` for all of it",
            ) from error
    return patterns


def _found(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    scores = []
    for prediction, pattern in zip(predictions, _patterns_of(rows), strict=True):
        try:
            found = pattern.search(prediction.text.strip(), timeout=_SECONDS)
        except TimeoutError:  # a pattern that goes back and forth over a long answer
            found = None
        scores.append(float(found is not None))
    return scores


def _json_lines(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    return bool(lines) and all(json.loads(line) is not Ellipsis for line in lines)


def _xml(text: str) -> bool:
    """Well-formed; entities of one's own, which can grow without bounds, are none of it."""
    parser = expat.ParserCreate()

    def refused(*_: Any) -> None:
        raise ValueError("a document type")

    parser.StartDoctypeDeclHandler = refused
    parser.Parse(text.strip().encode(), True)
    return True


def _yaml(text: str) -> bool:
    """Parsed and not built: an alias is not expanded. A sentence is valid YAML, and no answer."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return isinstance(node, yaml.MappingNode | yaml.SequenceNode)


def _csv(text: str) -> bool:
    """At least a head and a row, all as wide as the head."""
    rows = [row for row in csv.reader(io.StringIO(text.strip()), strict=True) if row]
    return len(rows) > 1 and len(rows[0]) > 1 and len({len(row) for row in rows}) == 1


def _python(text: str) -> bool:
    return shape(source_of(text)) is not None


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "json": lambda text: json.loads(text) is not Ellipsis,
    "jsonl": _json_lines,
    "xml": _xml,
    "yaml": _yaml,
    "toml": lambda text: bool(tomllib.loads(text)),
    "csv": _csv,
    "python": _python,
}


def _formats_of(rows: Sequence[Row]) -> list[Callable[[str], bool]]:
    """The rows' columns `format`."""
    chosen = []
    for number, row in enumerate(rows, 1):
        given = row.meta.get("format")
        if not isinstance(given, str) or given not in FORMATS:
            raise InvalidInput(
                f"row {row.number or number} names no format in its column `format`: {given!r}",
                hint=f"known are {', '.join(FORMATS)}",
            )
        chosen.append(FORMATS[given])
    return chosen


def _readable(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    scores = []
    for prediction, reads in zip(predictions, _formats_of(rows), strict=True):
        try:
            scores.append(float(reads(fenced(prediction.text))))
        except (ValueError, SyntaxError, csv.Error, expat.ExpatError, RecursionError, MemoryError):
            scores.append(0.0)
    return scores


def _require_patterns(rows: Sequence[Row]) -> None:
    _patterns_of(rows)


def _require_formats(rows: Sequence[Row]) -> None:
    _formats_of(rows)


REGEX = replace(
    mean_metric("regex", "The row's regular expression `regex` is found in the answer", _found),
    require=_require_patterns,
    reads_columns=True,
    packages=("regex",),
)
FORMAT_VALID = replace(
    mean_metric(
        "format_valid",
        f"The answer, or its first fenced block, can be read as the row's `format` "
        f"({', '.join(FORMATS)})",
        _readable,
    ),
    require=_require_formats,
    reads_columns=True,
    packages=("python", "PyYAML"),
)
