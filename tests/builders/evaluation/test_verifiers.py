"""Verifiers of answers: schemas and unit tests, what they refuse before anything is trained."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.needs import check_test_rows
from adapterworks.builders.rewards import sandbox
from adapterworks.builders.rewards.code_tests import passes
from adapterworks.builders.rewards.python_grader import value_of
from adapterworks.builders.rewards.sandbox import Limits
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


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "#/$defs/x"}, "`#/\\$defs/x`, which is not in it"),
        ({"$ref": "http://127.0.0.1:9/x.json"}, "x.json`, which is not in it; nothing is fetched"),
        ({"properties": {"a": {"items": {"$ref": "#/nowhere"}}}}, "`#/nowhere`"),
        ({"$dynamicRef": "#gone"}, "`#gone`"),
        ({"pattern": "(["}, "is not a 'regex'"),
        ({"patternProperties": {"([": {}}}, "is not a 'regex'"),
        ({"$ref": "#"}, "refers to itself without end"),
    ],
)
def test_a_schema_that_no_answer_can_be_held_against_is_refused_before(
    schema: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the training it would be an error of somebody's library; and nothing asks a network."""
    import urllib.request

    def fetched(*_: Any, **__: Any) -> None:
        raise AssertionError("a schema was fetched")

    monkeypatch.setattr(urllib.request, "urlopen", fetched)
    table, rows = EvaluateTable(metrics=("json_schema",)), [chat("q", "a", row=7, schema=schema)]
    with pytest.raises(InvalidInput, match=f"row 7 has no JSON Schema .*{why}"):
        check_test_rows(None, rows, table, 64)  # type: ignore[arg-type]


def test_references_within_a_schema_are_followed() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    lists = {"$defs": {"node": node}, "$ref": "#/$defs/node", "unevaluatedProperties": False}
    row = chat("q", "a", schema=lists)
    assert metric("json_schema").score('{"next": {"next": {}}}', row) == 1.0
    assert metric("json_schema").score('{"next": 3}', row) == 0.0
    draft = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    assert metric("json_schema").score('{"type": "objekt"}', chat("q", "a", schema=draft)) == 0.0


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"pattern": "^(a|aa)+$"}}},
        {"patternProperties": {"^(a|aa)+$": {}}},
        {"patternProperties": {"^(a|aa)+$": {}}, "additionalProperties": False},
        {"additionalProperties": False, "patternProperties": {"^(a|aa)+$": {}}},
    ],
)
def test_a_pattern_has_a_second_and_not_for_ever(schema: dict[str, Any]) -> None:
    slow = "a" * 40 + "!"
    began = time.monotonic()
    answer = f'{{"a": "{slow}", "{slow}": 1}}'
    assert metric("json_schema").score(answer, chat("q", "a", schema=schema)) == 0.0
    assert time.monotonic() - began < 20
    assert metric("json_schema").score('{"a": "aa"}', chat("q", "a", schema=schema)) == 1.0


def test_names_are_held_against_patterns() -> None:
    schema = {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False}
    row = chat("q", "a", schema=schema)
    for answer, score in (('{"x1": 1}', 1.0), ('{"x1": "1"}', 0.0), ('{"y": 1}', 0.0), ("3", 1.0)):
        assert metric("json_schema").score(answer, row) == score


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


def test_each_process_is_bounded_by_the_kernel_too() -> None:
    """What all together may take is looked at now and then; a single one is stopped at once."""
    limits = Limits(seconds=3, memory=200 << 20, waits=20.0)
    names = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE")
    asked = (
        "import resource\nassert all(0 < most < 2**31 for n in {} for most in resource.getrlimit("
    )
    assert passes([asked.format(names) + "getattr(resource, n)))"], [""], limits) == [True]


# Says to every channel what it reads on any, its own and its parent's.
CHEATS = """
import glob, os, sys
found = [b"0"]
places = [f"/proc/{process}/fd/{n}" for process in ("self", os.getppid()) for n in range(200)]
for n in range(200):
    try: found.append(os.read(n, 65536))
    except OSError: pass
for place in places:
    try:
        file = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
        found.append(os.read(file, 65536))
    except OSError: pass
for name, value in [*vars(sys.modules["__main__"]).items()]:
    if isinstance(value, str): value = value.encode()
    if isinstance(value, bytes): found.append(value)
assert not any(b"assert" in said or b"secret" in said for said in found[1:]), found
for said in found:
    for part in [said, *said.split(b'"')]:
        for n in range(200):
            try: os.write(n, part)
            except OSError: pass
        for place in places:
            try: os.write(os.open(place, os.O_WRONLY | os.O_NONBLOCK), part)
            except OSError: pass
os._exit(0)
"""


def test_the_word_is_not_there_while_the_code_runs() -> None:
    """What reads its input finds nothing, and what writes to every channel passes nothing."""
    codes = [
        "import sys\nassert sys.stdin.read() == ''",
        "import os\nfor n in range(1, 200):\n try: os.write(n, b'0')\n except OSError: pass",
        CHEATS,
        CHEATS.replace("os._exit(0)", ""),
        "import os\nprint(os.read(0, 9))\nx = 1",
    ]
    tests = ["", "assert False", "assert False, 'secret'", "assert False, 'secret'", "assert x"]
    began = time.monotonic()
    assert passes(codes, tests) == [True, False, False, False, True]
    assert time.monotonic() - began < 60, "what reads every descriptor waits for none"


def test_code_that_leaves_a_process_behind_is_over_when_it_is() -> None:
    """A grandchild holds the channel open for longer than anybody waits."""
    forks = "import os, time\nif not os.fork():\n    time.sleep(100)\n    os._exit(0)\n"
    began = time.monotonic()
    codes = [forks + "x = 1", forks + "os._exit(0)", forks + "raise SystemExit"]
    assert passes(codes, ["assert x"] * 3) == [True, False, False]
    assert time.monotonic() - began < 60


def test_bounds_hold_for_all_processes_together() -> None:
    """And what is written is memory: nowhere is room for much."""
    forks = "import os\nfor _ in range(3): os.fork()\n"
    fills = (
        "import os\nfor n in range(40):\n with open('{place}/x%d' % n, 'wb') as file:"
        " file.write(bytes(1 << 20))"
    )
    codes = [
        forks + "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass",
        forks + "x = bytearray(60 << 20)\nx[:] = b'1' * len(x)\nimport time\ntime.sleep(8)",
        *(fills.format(place=place) for place in ("", "/dev/shm", "/dev", "/tmp")),
        "import os\nassert os.uname().nodename == 'sandbox'",
    ]
    limits = Limits(seconds=2, memory=200 << 20, waits=60.0)
    began = time.monotonic()
    assert passes(codes, [""] * 7, limits) == [False, False, False, False, False, False, True]
    assert time.monotonic() - began < 60


def test_what_says_too_much_is_not_kept() -> None:
    floods = "def grade(sample, item):\n import os\n while 1: os.write(3, b'x' * (1 << 20))"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert value_of(floods, {}, {}).value is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10, "KiB"


def test_long_tests_arrive_whole() -> None:
    tests = "".join(f"assert double({n}) == {2 * n}\n" for n in range(20_000))
    code = "def double(x):\n    return 2 * x"
    assert passes([code, code], [tests, tests + "assert False"], Limits(seconds=20)) == [
        True,
        False,
    ]


def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_program", lambda: None)
    ran: list[Any] = []
    monkeypatch.setattr(sandbox.subprocess, "run", lambda *a, **k: ran.append(a))
    monkeypatch.setattr(sandbox, "said_by", lambda *a, **k: ran.append(a))
    with pytest.raises(Refused, match="`bwrap` \\(bubblewrap\\) is not installed"):
        passes(["x = 1"], [""])
    table = EvaluateTable(metrics=("unit_tests",))
    with pytest.raises(Refused, match="run in a sandbox only"):
        check_test_rows(None, [chat("q", "a", tests=TESTS)], table, 64)  # type: ignore[arg-type]
    assert ran == []


@pytest.mark.skipif(sandbox.refusal() is not None, reason=f"no sandbox: {sandbox.refusal()}")
def test_one_that_does_not_begin_is_no_wrong_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It worked when it was tried, and later the machine has no namespaces left: once is asked
    again, for good is an error with its reason."""
    real, left, program = sandbox._program(), tmp_path / "left", tmp_path / "bwrap"
    script = (
        "#!/bin/sh\nif [ -s {left} ]; then rm {left}; echo none left >&2; exit 1; fi\n"
        'exec {real} "$@"\n'
    )
    program.write_text(script.format(left=left, real=real))
    program.chmod(0o755)
    monkeypatch.setattr(sandbox, "_program", lambda: str(program))
    assert passes(["x = 1"], ["assert x == 1"]) == [True]
    left.write_text("once")
    assert passes(["x = 1"], ["assert x == 1"]) == [True]
    assert not left.exists()
    program.write_text("#!/bin/sh\necho none left >&2\nexit 1\n")
    with pytest.raises(Refused, match=r"run in a sandbox only, .*cannot make one here \(none left"):
        passes(["x = 1"], ["assert x == 1"])
    with pytest.raises(Refused, match="none left"):
        value_of("def grade(sample, item):\n    return 1", {}, {})


def test_one_that_does_not_work_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho no namespaces here >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert "cannot make one here (no namespaces here)" in str(sandbox.refusal())


def test_one_that_did_not_work_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a minute: the machine may have had no process for it."""
    at = [1000.0]
    monkeypatch.setattr(sandbox.time, "monotonic", lambda: at[0])
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert sandbox.refusal() is not None
    program.write_text("#!/bin/sh\nexit 0\n")
    assert sandbox.refusal() is not None
    at[0] += 61
    assert sandbox.refusal() is None


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
