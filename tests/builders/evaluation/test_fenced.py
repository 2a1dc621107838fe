"""Which part of an answer is the code: the block that opens first, whatever stands at its fence."""

from __future__ import annotations

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.code import fenced


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python \ncode\n```\nThat is it", "code\n"),
        ("```python title=x\ncode\n```\nThat is it", "code\n"),
        ("```python3.11\ncode\n```\nThat is it", "code\n"),
        ("```c#\ncode\n```\nThat is it", "code\n"),
        ("```\r\ncode\r\n```\r\nThat is it", "code\r\n"),
        ("Here: ```python\ncode\n```\nThat is it", "code\n"),
        ("  ```python\n  code\n  ```\n", "  code\n"),
        ("~~~\ncode\n~~~\nThat is it", "code\n"),
        ("````md\n```py\nx\n```\n````\n", "```py\nx\n```\n"),
        ("```py\nx = '''\n```a``` \n'''\n```\nThat is it", "x = '''\n```a``` \n'''\n"),
        ("```\ncode```", "code"),
        ("```python\nunfinished", "unfinished"),
        ("```\n```\nThat is it", ""),
        ("Use ```x``` here\nand there", "Use ```x``` here\nand there"),
        ("plain", "plain"),
    ],
)
def test_the_first_block_is_the_code(text: str, code: str) -> None:
    assert fenced(text) == code


@pytest.mark.parametrize("info", ["python ", "python title=x", "python3.11", "py\r"])
def test_what_stands_at_a_fence_costs_nothing(info: str) -> None:
    """The text behind the block was taken for the program."""
    answer = f"```{info}\nx = 1\n```\nThat is it"
    assert metric("ast_match").score(answer, chat("q", "x = 1")) == 1.0
    row = chat("q", "a", schema={"type": "integer"})
    assert metric("json_schema").score(f"```{info}\n1\n```\nThat is it", row) == 1.0
