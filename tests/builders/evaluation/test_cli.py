"""`adapters eval` on a published release: from a ref to report, predictions and exit code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model

from adapterworks.app import App
from adapterworks.builders.data.load import load_source
from adapterworks.builders.engines.huggingface import load_model
from adapterworks.builders.methods.lora import LoraTable
from adapterworks.cli.main import cli
from adapterworks.manifests.data_tables import DataTable
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate
from adapterworks.manifests.models import AdapterTable, BaseTable, Manifest
from adapterworks.registry.bases.base import Base
from adapterworks.registry.releases.release import Draft
from tests.builders.endpoints.standin import completion, endpoint

MANIFEST = Manifest(
    adapter=AdapterTable(name="medical"),
    base=BaseTable(model="smollm2-135m-instruct"),
    method=LoraTable(kind="lora", rank=2),
    data=DataTable(train="icd-10-cm:train", test="icd-10-cm:test"),
    evaluate=EvaluateTable(
        metrics=("icd_category", "perplexity"),
        gates=(QualityGate(metric="perplexity", min_gain=1.0),),
        max_new_tokens=2,
        bootstrap_samples=100,
    ),
)


def publish(app: App, base: Base, folder: Path) -> None:
    """A LoRA that was never trained: it answers as its base, so it gains nothing."""
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(load_model(base.served), config).save_pretrained(folder / "adapter")
    draft = Draft(
        name="medical",
        method="lora",
        created="2026-01-01T00:00:00.000000Z",
        created_by="tester",
        base=base.identity,
        servable=None,
        manifest=MANIFEST.model_dump(mode="json"),
    )
    app.registry.publish(folder, draft, who="tester")


@pytest.mark.usefixtures("home")
def test_a_release_is_evaluated_from_its_ref(base: Base, tmp_path: Path) -> None:
    app = App()
    publish(app, base, tmp_path / "release")
    lines = tmp_path / "predictions.jsonl"
    arguments = ["eval", "medical@1", "--limit", "3", "--predictions", str(lines), "--check"]
    result = CliRunner().invoke(cli, [*arguments, "--json"], obj=app)
    assert isinstance(result.exception, Refused)  # --check: the gate asks for a gain
    # Three rows that agree show no more than three rows.
    assert re.search(
        r"perplexity: gain over base \+0\.00 ppl, at 95% at least -\d\.\d\d ppl",
        str(result.exception),
    )
    report = json.loads(result.stdout)
    assert report["rows"] == 3
    assert report["subjects"] == ["base", "candidate"]
    values = report["metrics"]["perplexity"]["values"]
    assert values["candidate"] == pytest.approx(values["base"], rel=1e-4)
    assert [gate["passed"] for gate in report["gates"]] == [False]
    assert len(lines.read_text(encoding="utf-8").splitlines()) == 3
    app.registry.close()


@pytest.mark.usefixtures("home")
def test_a_model_behind_an_endpoint_is_compared_and_a_judge_is_asked(
    base: Base, tmp_path: Path
) -> None:
    """It knows every code; the adapter, which was never trained, none: what it is sent, what is
    reported, and what cannot be compared is said and left out."""
    rows = load_source("icd-10-cm:test", "messages").rows
    answers = {row.question: row.answer for row in rows}

    def knows(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        if body["model"] == "judge":
            return 200, completion("Verdict: A"), {}
        question = body["messages"][-1]["content"]
        return 200, completion(answers.get(question, "yes"), "length"), {}

    app = App()
    publish(app, base, tmp_path / "release")
    with endpoint(knows) as asked:
        arguments = ["eval", "medical@1", f"{asked.url}#other", "--limit", "3", "--price", "1", "2"]
        arguments += ["--judge", f"{asked.url}#judge", "--json"]
        result = CliRunner().invoke(cli, arguments, obj=app, catch_exceptions=False)
    app.registry.close()
    report = json.loads(result.stdout)
    name = f"other at {asked.url.removeprefix('http://').removesuffix('/v1')}"
    assert report["subjects"] == [name, "base", "candidate"]
    assert report["metrics"].keys() == {"icd_category"}
    assert report["metrics"]["icd_category"]["values"] == {name: 1.0, "base": 0, "candidate": 0}
    (gate,) = report["gates"]
    assert (gate["judged"], gate["passed"], report["passed"]) == (False, False, False)
    assert gate["why"] == "perplexity: not judged: an endpoint gives no more than answers"
    assert report["endpoints"][name] == {
        "url": asked.url,
        "model": "other",
        "cut": 3,
        "prompt_tokens": 21,
        "completion_tokens": 9,
        "cost": pytest.approx((21 * 1 + 9 * 2) / 1e6),
        "declined": 0,
    }
    # The untrained adapter says what its base says: a tie, and the judge is not asked.
    assert report["judge"]["against"]["base"]["tied"] == 3
    assert report["judge"]["against"][name]["flipped"] == 3
    assert report["judge"]["asked"] == 6
    sent = [body for body in asked.bodies if body["model"] == "other"][1:]
    assert len({body["messages"][-1]["content"] for body in sent} & answers.keys()) == 3
    assert all(body["messages"][-1]["role"] == "user" for body in sent)
    assert "the questions of the test rows are sent to 127.0.0.1" in result.stderr
    host = asked.url.removeprefix("http://").removesuffix("/v1")
    shown = f"answers of 3 test rows are sent to the judge `judge` at {host}, on this machine"
    assert shown in result.stderr
    assert "left out, as an endpoint gives answers only: perplexity" in result.stderr


@pytest.mark.usefixtures("home")
def test_a_wrong_key_is_known_before_anything_is_loaded(base: Base, tmp_path: Path) -> None:
    app = App()
    publish(app, base, tmp_path / "release")
    with endpoint(lambda _: (401, {"error": {"message": "bad key"}}, {})) as asked:
        for arguments in ([f"{asked.url}#m"], ["--judge", f"{asked.url}#m"]):
            result = CliRunner().invoke(cli, ["eval", "medical@1", *arguments], obj=app)
            assert isinstance(result.exception, Refused)
            assert "(401: " in str(result.exception)
            assert "0/" not in result.stderr
    for arguments in (["--price", "1", "2"], ["--key-env", "X"], ["--judge-key-env", "X"]):
        result = CliRunner().invoke(cli, ["eval", "medical@1", *arguments], obj=app)
        assert isinstance(result.exception, InvalidInput)
    app.registry.close()
