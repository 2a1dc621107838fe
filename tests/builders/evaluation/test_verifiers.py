"""Verifiers of answers: schemas and unit tests, what they refuse before anything is trained."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.needs import check_test_rows
from adapterworks.builders.rewards import sandbox
from adapterworks.builders.rewards.sandbox import Limits, passes
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import EvaluateTable
from adapterworks.manifests.load import check_manifest

SCHEMA = {"type": "object", "required": ["code"], "properties": {"code": {"type": "integer"}}}
TESTS = "assert double(2) == 4\nassert double(0) == 0\n"


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"code": 3}', 1.0),
        ('Here:\n```json\n{"code": 3}\n```\nDone.', 1.0),
        ('{"code": "3"}', 0.0),
        ("{}", 0.0),
        ('{"code": 3', 0.0),
        ("", 0.0),
        ("[" * 100_000, 0.0),
    ],
)
def test_json_is_held_against_the_rows_schema(answer: str, score: float) -> None:
    assert metric("json_schema").score(answer, chat("q", "a", schema=SCHEMA)) == score


def test_a_row_without_its_schema_or_tests_is_refused_before(tiny: Path) -> None:
    for name, column, odd in (
        ("json_schema", "schema", {"type": "objekt"}),
        ("json_schema", "schema", "[]"),
        ("json_schema", "schema", None),
        ("unit_tests", "tests", " "),
        ("unit_tests", "tests", 3),
    ):
        table = EvaluateTable(metrics=(name,))
        rows = [chat("q", "a", row=7, **{column: odd})]
        with pytest.raises(InvalidInput, match=f"row 7 has no .* in its column `{column}`"):
            check_test_rows(None, rows, table, 64)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("def double(x):\n    return 2 * x", 1.0),
        ("```python\ndef double(x):\n    return x + x\n```", 1.0),
        ("def double(x):\n    return x ** 2 if x else 1", 0.0),
        ("def double(x) return 2 * x", 0.0),
        ("import sys\nsys.exit(0)", 0.0),
        ("import os\nos._exit(0)", 0.0),
        ("print('passed')", 0.0),
        ("", 0.0),
    ],
)
def test_code_is_run_against_the_rows_tests(answer: str, score: float) -> None:
    assert metric("unit_tests").score(answer, chat("q", "a", tests=TESTS)) == score


@pytest.mark.parametrize(
    "reaches",
    [
        "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)",
        "open({secret!r}).read()",
        "open('/etc/passwd').read()",
        "open('/usr/written', 'w')",
        "import os\nassert 'SECRET' in os.environ",
        "import os\nos.kill({process}, 0)",
    ],
)
def test_code_reaches_nothing_outside(
    reaches: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line would pass outside the sandbox, or not raise; inside it raises."""
    import os
    import socket

    secret = tmp_path / "secret"
    secret.write_text("x")
    monkeypatch.setenv("SECRET", "x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = reaches.format(port=server.getsockname()[1], secret=str(secret), process=os.getpid())
        assert passes([code, "ran = 1"], ["", "assert ran"]) == [False, True]


@pytest.mark.slow
def test_time_and_memory_are_bounded() -> None:
    began = time.monotonic()
    codes = ["while True: pass", "x = bytearray(300 << 20)", "import time\ntime.sleep(60)", "x = 1"]
    limits = Limits(seconds=1, memory=200 << 20, waits=20.0)
    assert passes(codes, [""] * 4, limits) == [False, False, False, True]
    assert time.monotonic() - began < 100


def test_the_word_is_not_there_while_the_code_runs() -> None:
    """What reads its input finds nothing, and what writes to every channel passes nothing."""
    codes = [
        "import sys\nassert sys.stdin.read() == ''",
        "import os\nfor n in range(1, 20):\n try: os.write(n, b'0')\n except OSError: pass",
    ]
    assert passes(codes, ["", "assert False"]) == [True, False]


def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_program", lambda: None)
    ran: list[Any] = []
    monkeypatch.setattr(sandbox.subprocess, "run", lambda *a, **k: ran.append(a))
    with pytest.raises(Refused, match="`bwrap` \\(bubblewrap\\) is not installed"):
        passes(["x = 1"], [""])
    table = EvaluateTable(metrics=("unit_tests",))
    with pytest.raises(Refused, match="run in a sandbox only"):
        check_test_rows(None, [chat("q", "a", tests=TESTS)], table, 64)  # type: ignore[arg-type]
    assert ran == []


def test_one_that_does_not_work_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho no namespaces here >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert "cannot make one here (no namespaces here)" in str(sandbox.refusal())


REWARDED = """
[adapter]
name = "tiny"
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "rows.jsonl"
[objective]
kind = "grpo"
rewards = ["exact_match", "perplexity"]
reward_weights = [1.0]
"""


def test_an_engine_samples_with_lora(tmp_path: Path) -> None:
    text = REWARDED.replace(', "perplexity"', "") + 'engine = "vllm"\n'
    for kind, faults in (("lora", 0), ("qlora", 0), ("prefix-tuning", 1), ("full", 1)):
        changed = text.replace('kind = "lora"', f'kind = "{kind}"')
        if kind == "qlora":
            changed = changed.replace("[method]", 'quantization = "nf4"\n[method]')
        (tmp_path / "tiny.toml").write_text(changed)
        found = check_manifest(tmp_path / "tiny.toml")[1]
        assert [fault.key for fault in found] == ["objective.engine"] * faults, kind


def test_rewards_are_scores_of_answers_and_each_has_its_weight(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(REWARDED)
    found = {fault.key: fault.message for fault in check_manifest(tmp_path / "tiny.toml")[1]}
    assert (
        "needs `likelihood`, and a sampled answer has its text alone"
        in found["objective.rewards[1]"]
    )
    assert found["objective.reward_weights"] == "1 weights for 2 rewards"
