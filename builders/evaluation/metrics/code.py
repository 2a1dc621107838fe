"""Fixed Python: does it lint clean, and is it the reference?

Deleting code passes any linter, so `ruff_clean` is never read alone: `ast_match` is the primary
one. Sources are parsed and linted, never run.

Invariant: no answer ends a training: what cannot be read, or ends ruff, is worth 0.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tempfile
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from adapterworks.builders.data.linting import reported_rules, run_ruff, write_sources
from adapterworks.builders.data.recipes.stdlib_ruff import RULES
from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric
from adapterworks.manifests.errors import InvalidInput

# An opening fence and whatever stands behind it in its line: a language, a title, blanks.
_OPENS = re.compile(r"^(?:[^\n`]*(`{3,})|[ \t]*(~{3,}))[^\n`]*\n", re.MULTILINE)

_PANICKED = 101  # what a program in Rust exits with; a signal is negative


def fenced(text: str) -> str:
    """The first fenced block of an answer if there is one, else all of it.

    A block ends at a fence in a line of its own, so that one in a string of the code does not end
    it; without such a line, at the next fence or the end.
    """
    opens = _OPENS.search(text)
    if opens is None:
        return text
    fence, rest = opens[1] or opens[2], text[opens.end() :]
    line = re.search(rf"^[ \t]*{fence}{fence[0]}*[ \t\r]*$", rest, re.MULTILINE)
    return rest[: line.start()] if line else rest.partition(fence)[0]


def source_of(text: str) -> str:
    """The Python in an answer."""
    return textwrap.dedent(fenced(text)).strip("\n") + "\n"


def shape(source: str) -> str | None:
    """A source's AST as text; None if it does not parse, holds nothing, or is nested too deep or
    holds too long a number to be written down."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # invalid escapes in someone's answer
            module = ast.parse(source)
        return ast.dump(module) if module.body else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _matches(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    scores = []
    for prediction, row in zip(predictions, rows, strict=True):
        reference = shape(source_of(row.answer))
        scores.append(
            float(reference is not None and shape(source_of(prediction.text)) == reference)
        )
    return scores


def _clean(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    """One ruff run for all answers that parse; a row's own rule counts, or all rules where it names
    none."""
    sources = [source_of(prediction.text) for prediction in predictions]
    rules = [{row.meta["rule"]} if "rule" in row.meta else set(RULES) for row in rows]
    parsed = {number: source for number, source in enumerate(sources) if shape(source) is not None}
    broken = _broken(parsed, set(RULES).union(*rules))
    clean = {n for n, found in broken.items() if found is not None and not found & rules[n]}
    return [float(number in clean) for number in range(len(sources))]


def _broken(sources: Mapping[int, str], rules: set[str]) -> dict[int, set[str] | None]:
    """The rules that each source breaks; None for one that ends ruff.

    Raises:
        subprocess.CalledProcessError: ruff refuses, as a rule that it does not know.
    """
    if not sources:
        return {}
    with tempfile.TemporaryDirectory(prefix="ruff-clean-") as temporary:
        folder = Path(temporary)
        write_sources(folder, sources.items())
        try:
            violations = run_ruff(folder, rules)
        except subprocess.CalledProcessError as error:
            if error.returncode not in (_PANICKED, *range(-64, 0)):
                raise
            if len(sources) == 1:
                return dict.fromkeys(sources)
        else:
            found: dict[int, set[str] | None] = {number: set() for number in sources}
            for number, violation in violations:
                if (own := found[number]) is not None:
                    own.add(violation["code"])
            return found
    alone = [_broken({number: source}, rules) for number, source in sources.items()]
    return {number: broken for one in alone for number, broken in one.items()}


def _require_rules(rows: Sequence[Row]) -> None:
    """Refuse, before anything is asked, what ruff reports nothing under: a rule that it does not
    know, several (`B`), or one that was removed or is on trial."""
    for number, row in enumerate(rows, 1):
        rule = row.meta.get("rule", RULES[0])
        if not isinstance(rule, str) or rule not in reported_rules():
            raise InvalidInput(
                f"row {row.number or number} names a rule in its column `rule` that ruff does not "
                f"report: {rule!r}",
                hint="`ruff_clean` looks for it in the answer: write one as `B006`, or leave the "
                f"column out for {', '.join(RULES)}",
            )


AST_MATCH = mean_metric(
    "ast_match",
    "The answer's Python AST equals the reference's",
    _matches,
    packages=("python",),
)
RUFF_CLEAN = replace(
    mean_metric(
        "ruff_clean",
        "The answer parses and ruff finds the row's rule nowhere in it (read with ast_match)",
        _clean,
        packages=("python", "ruff"),
    ),
    require=_require_rules,
)
