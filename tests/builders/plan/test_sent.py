"""What a build says that it sends to a judge."""

from __future__ import annotations

import pytest

from adapterworks.builders.plan.sent import sent
from adapterworks.manifests.judging import JudgeTable
from adapterworks.manifests.models import Manifest
from tests.builders.build_support import manifest_for


def judged(endpoint: str) -> Manifest:
    plain = manifest_for("lora")
    judge = JudgeTable(endpoint=endpoint, max_tokens=5000)
    return plain.model_copy(update={"evaluate": plain.evaluate.model_copy(update={"judge": judge})})


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("https://api.openai.com/v1", "api.openai.com, so they leave this machine"),
        ("http://judges.lan:8000/v1", "judges.lan:8000, so they leave this machine"),
        ("http://localhost:8000/v1", "localhost:8000, on this machine"),
        ("http://127.0.0.1:8000/v1", "127.0.0.1:8000, on this machine"),
    ],
)
def test_who_gets_how_many_rows_and_whether_they_leave_the_machine(
    address: str, where: str
) -> None:
    (line,) = sent(judged(f"{address}#big/judge"), {"train": 9, "test": 7})
    assert line == (
        "questions, reference answers and answers of 7 test rows are sent to the judge "
        f"`big/judge` at {where}; at most 5,000 tokens"
    )


def test_nothing_is_said_where_nothing_is_sent() -> None:
    assert sent(manifest_for("lora"), {"test": 7}) == []
    assert sent(judged("http://localhost/v1#judge"), {"train": 9, "test": 0}) == []
