"""A grader that is a Python function, `grade(sample, item)`, run in the sandbox for each answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any

from adapterworks.builders.data.reasoning import spoken
from adapterworks.builders.rewards.sandbox import Limits, require, run_inside, told_of
from adapterworks.manifests.grading import Ran

_PROGRAM = """\
import json, math, os, resource
with os.fdopen(0, "rb") as file:
    given = json.load(file)
for limit, most in given["limits"].items():
    resource.setrlimit(getattr(resource, limit), (most, most))
null = os.open("/dev/null", os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(null, number)
names = {"__name__": "grader"}
try:
    exec(compile(given["source"], "grader.py", "exec"), names)
    value = float(names["grade"](given["sample"], given["item"]))
    said = {"value": value} if math.isfinite(value) else {"why": "it returned no finite number"}
except BaseException as error:
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == "grader.py":
            line = frame.tb_lineno
        frame = frame.tb_next
    place = f" (line {line})" if line else ""
    said = {"why": f"{type(error).__name__}{place}: {error}"[:1000]}
os.write(given["out"], json.dumps(said).encode())
"""


def values_of(
    source: str,
    given: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    limits: Limits | None = None,
) -> list[float | None]:
    """What a function `grade(sample, item)` returns for each; None where it returns no number.

    Args:
        source: Python that defines it.
        given: samples and items, as JSON values.

    Raises:
        Refused: as `require`.
    """
    require()

    def one(pair: tuple[Mapping[str, Any], Mapping[str, Any]]) -> float | None:
        return value_of(source, *pair, limits).value

    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        return list(pool.map(one, given))


def value_of(
    source: str, sample: Mapping[str, Any], item: Mapping[str, Any], limits: Limits | None = None
) -> Ran:
    """What a function `grade(sample, item)` returns for one, or why it returns no number.

    Raises:
        Refused: as `require`.
    """
    bounds = limits or Limits()
    require()
    line = {**told_of(bounds), "source": source, "sample": sample, "item": item}
    try:
        said = json.loads(run_inside(_PROGRAM, json.dumps(line), bounds) or b"null")
        if isinstance(said, dict) and "why" in said:
            return Ran(None, str(said["why"]))
        if isinstance(said, dict) and math.isfinite(value := float(said["value"])):
            return Ran(value)
    except (ValueError, TypeError, KeyError, RecursionError):  # nested a thousand times, say
        pass
    return Ran(
        None,
        f"it did not end within {bounds.seconds} s of processor time and "
        f"{bounds.memory >> 20} MiB, or ended itself",
    )


def sample_of(text: str) -> dict[str, Any]:
    """An answer as a grader's `sample`: what it says, and its value where it is JSON."""
    text = spoken(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return {"output_text": text, "output_json": value}
