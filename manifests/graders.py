"""`[[objective.graders]]` and `[[evaluate.graders]]`: OpenAI's graders, with its own keys, as
rewards of sampled answers and as metrics.

    type = "string_check"
    name = "category"
    operation = "eq"
    input = "{{sample.output_text}}"
    reference = "{{item.category}}"

`item` has the row's columns, `answer` (its own answer) and `question`; `sample` has `output_text`.
Two are given elsewhere, `score_model` by the model of `[objective.judge]` and `python` by a
sandbox: a build has them (`builders/rewards/`), a gateway has not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from adapterworks.manifests.values import Frozen

_SLOT = re.compile(r"\{\{([^{}\n]*)\}\}")
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
    _, opened, rest = _SLOT.sub("", text).partition("{{")
    if opened and "}}" in rest:
        raise ValueError(
            f"`{{{{{rest[:40]}` is neither `{{{{sample.output_text}}}}` nor `{{{{item.COLUMN}}}}`"
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


class Turn(Frozen):
    """A turn of what a `score_model` is asked."""

    role: Literal["system", "developer", "user", "assistant"]
    """Who says it."""
    content: Template
    """What is said."""


class Drawing(Frozen):
    """How a `score_model` draws its answers."""

    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 1.0
    """Sampling temperature."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Nucleus sampling: the most likely tokens that together have this probability."""
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    """Of the first; each further one adds 1."""
    max_completions_tokens: Annotated[int, Field(ge=1, le=100_000)] = 1024
    """Longest answer in tokens."""


class ScoreModel(Frozen):
    """A number that a model gives; `[objective.judge]` says where it answers."""

    type: Literal["score_model"]
    """The kind of grader."""
    name: Name
    """What it is called in the log."""
    model: Annotated[str, Field(min_length=1, max_length=200)]
    """Its name at the judge's address."""
    input: Annotated[tuple[Turn, ...], Field(min_length=1, max_length=32)]
    """What it is asked; it is told to end with a line `Score: N`."""
    range: tuple[float, float] = (0.0, 1.0)
    """The least and the highest number."""
    sampling_params: Drawing = Drawing()
    """How it draws."""

    @model_validator(mode="after")
    def _ordered(self) -> ScoreModel:
        if not self.range[0] < self.range[1]:
            raise ValueError("`range` is the least number and a higher one")
        return self


def _source(text: str) -> str:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"`source` is no Python: {error}") from None
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if "grade" not in defined:
        raise ValueError("`source` defines no `grade(sample, item)`")
    return text


class PythonGrader(Frozen):
    """A function of yours, `grade(sample, item)`, run in the sandbox of `unit_tests`."""

    type: Literal["python"]
    """The kind of grader."""
    name: Name
    """What it is called in the log."""
    source: Annotated[str, Field(max_length=256_000), AfterValidator(_source)]
    """Python of the standard library that defines it: it returns a number."""


Leaf = Annotated[
    StringCheck | TextSimilarity | ScoreModel | PythonGrader, Field(discriminator="type")
]


class Multi(Frozen):
    """A formula of other graders."""

    type: Literal["multi"]
    """The kind of grader."""
    name: Name
    """What it is called in the log."""
    graders: Annotated[dict[Name, Leaf], Field(min_length=1, max_length=32)]
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


Grader = Annotated[
    StringCheck | TextSimilarity | ScoreModel | PythonGrader | Multi, Field(discriminator="type")
]


def leaves_of(grader: Grader) -> dict[str, Leaf]:
    """The graders of a formula by its names; of another, itself by the name ""."""
    return dict(grader.graders) if isinstance(grader, Multi) else {"": grader}


GRADER = "grader:"
"""Before a grader's name, where a metric is named."""


class GraderMetric(str):
    """The name of a metric that is a grader of the manifest's; as a string it is what it says.

    It is data, so that it may come out of a release, pulled or imported.

    Attributes:
        grader: that gives an answer its score.
    """

    grader: Grader

    def __new__(cls, text: str, grader: Grader) -> GraderMetric:
        metric = super().__new__(cls, text)
        metric.grader = grader
        return metric

    def __getnewargs__(self) -> tuple[str, Grader]:  # type: ignore[override]
        return str(self), self.grader


def graded(name: str, graders: Sequence[Grader]) -> str:
    """The name of a metric, with its grader if it names one.

    Raises:
        ValueError: it names a grader that is not there.
    """
    if not name.startswith(GRADER):
        return name
    for grader in graders:
        if grader.name == name.removeprefix(GRADER):
            return GraderMetric(name, grader)
    listed = ", ".join(f"`{GRADER}{grader.name}`" for grader in graders) or "none"
    raise ValueError(f"`{name}` is no grader of `evaluate.graders`, which has {listed}")


def columns_of(grader: Grader) -> tuple[str, ...]:
    """The row's columns that a grader reads, each once, in its order."""
    texts: list[str] = []
    for leaf in leaves_of(grader).values():
        if isinstance(leaf, ScoreModel):
            texts += [turn.content for turn in leaf.input]
        elif not isinstance(leaf, PythonGrader):  # what code reads is not seen from outside
            texts += [leaf.input, leaf.reference]
    slots = (slot for text in texts for slot in _SLOT.findall(text))
    items = (slot.strip() for slot in slots)
    return tuple(dict.fromkeys(i.removeprefix("item.") for i in items if i.startswith("item.")))


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
