"""Code in a file beside the manifest: read when the manifest is, refused with file, line and hint,
and never run by a name that something else than a manifest of the user's brings."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import EvaluateTable
from adapterworks.manifests.extensions import load, origin, source_digest
from adapterworks.manifests.faults import Fault
from adapterworks.manifests.load import inspect_manifest, load_manifest
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.naming import again, manifest_of_release, named_entries, user_code
from adapterworks.manifests.user_code import UserCode

MANIFEST = """
[adapter]
name = "own"
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "rows.jsonl"
test = "rows.jsonl"
[evaluate]
metrics = {metrics}
"""
GOOD = '''
from pathlib import Path

Path(__file__).with_name("mark").write_text("was run")


def same(answer: str, reference: str) -> float:
    """Whether they are the same."""
    return float(answer == reference)


def one(answer):
    return 1.0


def word(answer, reference):
    return "yes"


def nothing(answer, reference):
    pass


def fails(answer, reference):
    if answer == "bad":
        raise ValueError("a bad answer")
    if answer == "bye":
        raise SystemExit(0)
    return {"odd": float("nan"), "huge": 10**400}.get(answer, 1)


def truth(answer, reference):
    import numpy

    return numpy.bool_(answer == reference)


number = 3
'''
Write = Callable[..., Path]
NAME = "./own.py:same"


@pytest.fixture
def project(tmp_path: Path) -> Write:
    """Writes a manifest with metrics and the file that they are in."""

    def project(*metrics: str, source: str = GOOD, more: str = "") -> Path:
        (tmp_path / "own.py").write_text(source)
        path = tmp_path / "own.toml"
        path.write_text(MANIFEST.format(metrics=json.dumps(list(metrics))) + more)
        return path

    return project


def fault(path: Path) -> Fault:
    (found,) = inspect_manifest(path).faults
    return found


def test_a_function_in_a_file_is_a_metric(project: Write) -> None:
    path = project("exact_match", NAME)
    manifest = load_manifest(path)
    name = manifest.evaluate.metrics[1]
    found = metric(name)
    assert (found.name, found.description) == (NAME, "Whether they are the same.")
    rows = [chat("q", "a"), chat("q", "b")]
    statistics = found.statistics([Prediction("a"), Prediction("c")], rows)
    assert found.value(statistics) == 0.5
    assert str(origin("metrics", name)) == "own.py"
    assert source_digest("metrics", name) == digest_bytes(GOOD.encode())
    assert inspect_manifest(path).imports == ("./own.py",)
    assert ("metrics", NAME) in named_entries(manifest)


def test_what_was_read_is_what_runs(project: Write) -> None:
    manifest = load_manifest(project(NAME))
    digest = source_digest("metrics", manifest.evaluate.metrics[0])
    changed = GOOD.replace("answer == reference", "answer != reference")
    other = load_manifest(project(NAME, source=changed))
    rows, given = [chat("q", "a")], [Prediction("a")]
    first, second = (metric(m.evaluate.metrics[0]) for m in (manifest, other))
    assert first.value(first.statistics(given, rows)) == 1.0
    assert second.value(second.statistics(given, rows)) == 0.0
    assert source_digest("metrics", manifest.evaluate.metrics[0]) == digest
    assert source_digest("metrics", other.evaluate.metrics[0]) != digest


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("./not_there.py:same", "there is no file `./not_there.py`", "relative to the manifest"),
        ("./own.py:sam", "`own.py` has no `sam`", "did you mean `same`?"),
        ("./own.py:one", "(own.py:12) cannot be called with", "answer: str, reference: str"),
        ("./own.py:word", "(own.py:16) gives 'yes', not a number", "return the score"),
        ("./own.py:nothing", "(own.py:20) gives None, not a number", "return the score"),
        ("./own.py:number", "is neither a `Metric` nor a function, but 3", "write `def"),
    ],
)
def test_a_fault_has_file_line_and_hint(name: str, message: str, hint: str, project: Write) -> None:
    path = project("exact_match", name)
    found = fault(path)
    assert (found.file, found.line, found.key) == (str(path), 12, "evaluate.metrics[1]")
    assert message in found.message
    assert hint in str(found.hint)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def same(:\n", "line 1: SyntaxError: invalid syntax"),
        ("\n\nimport not_there\n", "line 3: ModuleNotFoundError"),
        ("def f():\n    1 / 0\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_run_says_in_which_line(
    source: str, message: str, project: Write
) -> None:
    assert f"`own.py` cannot be run: {message}" in fault(project(NAME, source=source)).message


@pytest.mark.parametrize("name", ["/tmp/own.py:same", "~/own.py:same", "./own.py", "own:same"])
def test_only_a_relative_path_to_python_is_one(name: str, project: Write) -> None:
    assert "expected " in fault(project(name)).message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("bad", "failed on test row 2: line 26: ValueError: a bad answer"),
        ("odd", "gives nan on test row 2, not a finite number"),
        ("huge", "on test row 2, not a finite number"),
        ("bye", "failed on test row 2: line 28: SystemExit: 0"),
    ],
)
def test_a_failure_names_row_and_function(answer: str, message: str, project: Write) -> None:
    found = metric(load_manifest(project("./own.py:fails")).evaluate.metrics[0])
    rows = [chat("q", "a"), chat("q", "b")]
    with pytest.raises(InvalidInput, match=r"`\./own\.py:fails`") as caught:
        found.statistics([Prediction("good"), Prediction(answer)], rows)
    assert message in caught.value.message
    assert f"the answer was '{answer}', the reference 'b'" in str(caught.value.hint)


def test_a_truth_value_of_numpy_is_a_number(project: Write) -> None:
    found = metric(load_manifest(project("./own.py:truth")).evaluate.metrics[0])
    rows = [chat("q", "a"), chat("q", "b")]
    assert found.statistics([Prediction("a"), Prediction("a")], rows).tolist() == [[1.0], [0.0]]


def test_a_data_gate_in_a_file_keeps_its_own_setting(project: Write) -> None:
    source = (
        "from adapterworks.builders.data.gates.gate import Gate\n"
        "from adapterworks.builders.data.gates.report import Finding\n"
        "GATE = Gate('any', 'None', lambda *given: Finding((), 0.0), 0.5, 'share', 'drop')\n"
    )
    more = '[data.gates."./own.py:GATE"]\non = true\n'
    gates = load_manifest(project(source=source, more=more)).data.gates
    gate = gates["./own.py:GATE"]
    assert (gate.on, gate.threshold, gate.action) == (True, 0.5, "drop")
    (name,) = [name for name, _ in gates.items() if name.startswith("./")]
    assert load("data_gates", name).name == name
    wrong = more.replace("on = true", "threshold = 3.0")
    assert "3.0 is not a share" in fault(project(source=source, more=wrong)).message


def test_a_name_without_its_code_is_never_loaded(
    project: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile release names a file that stands in the working directory, too."""
    values = load_manifest(project("exact_match", NAME)).model_dump(mode="json")
    values["data"]["gates"]["./own.py:same"] = {"on": True, "threshold": None, "action": "drop"}
    mark = tmp_path / "mark"
    mark.unlink()
    monkeypatch.chdir(tmp_path)
    manifest = Manifest.model_validate_json(json.dumps(values))
    name = manifest.evaluate.metrics[1]
    assert not isinstance(name, UserCode)
    for work in (
        lambda: metric(name),
        lambda: source_digest("metrics", name),
        lambda: manifest_of_release(values, "evil@1"),
        lambda: load("data_gates", "./own.py:same"),
        lambda: metric(EvaluateTable(metrics=(NAME,)).metrics[0]),
    ):
        with pytest.raises(Refused, match="never loaded") as caught:
            work()
        assert "--manifest" in str(caught.value.hint)
    assert not mark.exists()


def test_a_release_may_run_what_a_manifest_of_the_users_brings(project: Write) -> None:
    own = load_manifest(project(NAME))
    values = own.model_dump(mode="json")
    found = manifest_of_release(values, "own@1", own=own)
    assert isinstance(found.evaluate.metrics[0], UserCode)
    with pytest.raises(InvalidInput, match="not the file that `own@1` was built with"):
        manifest_of_release(values, "own@1", own=own, digests={NAME: digest_bytes(b"other")})
    other = load_manifest(project("exact_match"))
    with pytest.raises(Refused):
        manifest_of_release(values, "own@1", own=other)


def test_code_goes_along_where_a_manifest_is_derived_or_copied(project: Write) -> None:
    manifest = load_manifest(project(NAME))
    derived = again(manifest, manifest.model_dump(mode="json"))
    assert user_code(derived).keys() == {NAME}
    table = EvaluateTable(metrics=manifest.evaluate.metrics)
    assert isinstance(table.metrics[0], UserCode)
    for made in (copy.deepcopy(derived), pickle.loads(pickle.dumps(derived))):
        name = made.evaluate.metrics[0]
        assert isinstance(name, UserCode)
        assert (name, name.source) == (NAME, GOOD.encode())
    assert "own.py" in json.dumps(derived.model_dump(mode="json"))
    assert str(manifest.folder) not in json.dumps(derived.model_dump(mode="json"))


def test_a_release_of_a_distribution_that_is_gone_says_so(project: Write) -> None:
    values = load_manifest(project("exact_match")).model_dump(mode="json")
    values["evaluate"]["metrics"] = ["letters"]
    with pytest.raises(InvalidInput, match=r"`own@1` cannot be used here: evaluate\.metrics") as e:
        manifest_of_release(values, "own@1")
    assert "adapter.lock" in str(e.value.hint)
