"""`[[objective.graders]]`: OpenAI's graders, with its own keys, as rewards of sampled answers.

    type = "string_check"
    name = "category"
    operation = "eq"
    input = "{{sample.output_text}}"
    reference = "{{item.category}}"

`item` has the row's columns, `answer` (its own answer) and `question`; `sample` has `output_text`.
What asks another model or runs code is not among them: `score_model` and `python` are refused by
name, and `unit_tests` is a metric.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from adapterworks.manifests.values import Frozen

_SLOT = re.compile(r"\{\{(.*?)\}\}")
_PLACE = re.compile(r"^\s*(?:sample\.output_text|item\.[A-Za-z_][A-Za-z0-9_]*)\s*$")
FUNCTIONS = ("min", "max", "abs", "floor", "ceil", "exp", "sqrt", "log")
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Load, ast.Constant, ast.Add,
    ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd,
)  # fmt: skip


def _template(text: str) -> str:
    for slot in _SLOT.findall(text):
        if not _PLACE.match(slot):
            raise ValueError(
                f"`{{{{{slot}}}}}` is neither `sample.output_text` nor `item.COLUMN` of the row"
            )
    return text


def _formula(text: str) -> str:
    formula_of(text)
    return text


def formula_of(text: str) -> ast.Expression:
    """A formula of names, numbers, + − * / ^ and functions.

    Raises:
        ValueError: it is something else.
    """
    try:
        # `^` is a power, and binds as one.
        tree = ast.parse("" if "**" in text else text.replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"`{text[:80]}` is no formula") from None
    for node in ast.walk(tree):
        sound = isinstance(node, _NODES)
        if isinstance(node, ast.Constant):
            sound = type(node.value) in (int, float)
        elif isinstance(node, ast.Call):
            named = node.func.id if isinstance(node.func, ast.Name) else ""
            sound = named in FUNCTIONS and not node.keywords
        if not sound:
            raise ValueError(
                f"`{text[:80]}` has more than names, numbers, + - * / ^ and {', '.join(FUNCTIONS)}"
            )
    return tree


Template = Annotated[str, Field(max_length=20_000), AfterValidator(_template)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class StringCheck(Frozen):
    """Whether two texts are equal, or one is in the other: 1 or 0."""

    type: Literal["string_check"]
    """The kind of grader."""
    name: Name
    """What it is called in the log."""
    operation: Literal["eq", "ne", "like", "ilike"]
    """`eq` equal, `ne` not equal, `like` the reference is in the input, `ilike` in any case."""
    input: Template
    """What is judged."""
    reference: Template
    """What it is compared with."""


class TextSimilarity(Frozen):
    """How alike two texts are: 0 to 1."""

    type: Literal["text_similarity"]
    """The kind of grader."""
    name: Name
    """What it is called in the log."""
    evaluation_metric: Literal[
        "bleu", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"
    ]
    """How they are compared."""
    input: Template
    """What is judged."""
    reference: Template
    """What it is compared with."""


class Multi(Frozen):
    """A formula of other graders."""

    type: Literal["multi"]
    """The kind of grader."""
    name: Name
    """What it is called in the log."""
    graders: Annotated[dict[Name, StringCheck | TextSimilarity], Field(min_length=1, max_length=32)]
    """The graders, by the names that the formula has."""
    calculate_output: Annotated[str, Field(max_length=2_000), AfterValidator(_formula)]
    """The formula: `0.8 * right + 0.2 * short`."""

    @model_validator(mode="after")
    def _names(self) -> Multi:
        for node in ast.walk(formula_of(self.calculate_output)):
            if isinstance(node, ast.Name) and node.id not in (*self.graders, *FUNCTIONS):
                listed = ", ".join(f"`{name}`" for name in self.graders)
                raise ValueError(f"the formula names `{node.id}`, and its graders are {listed}")
        return self


Grader = Annotated[StringCheck | TextSimilarity | Multi, Field(discriminator="type")]


@dataclass(frozen=True, slots=True)
class Graded:
    """What one answer is worth.

    Attributes:
        reward: 0 where there is a fault.
        parts: a formula's graders, by name → what each gave.
        fault: why there is no number: `column` the row lacks one that is read, `formula` it has no
            value.
        why: the fault in words.
    """

    reward: float
    parts: Mapping[str, float] = field(default_factory=dict)
    fault: Literal["column", "formula"] | None = None
    why: str = ""
