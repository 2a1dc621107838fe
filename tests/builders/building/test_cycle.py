"""The whole cycle: a release is served, its wrong answers are corrected, a dataset is made of what
was captured, the next release learns it within its budgets, and takes the alias.

Gateway, capture, keys, feedback, trainings, gates and registry are the real ones; the base is a
random Llama of two layers, and the engine's place has a stand-in that says what the release's own
weights answer: a vLLM start would take longer than all the rest.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from adapterworks.app import App
from adapterworks.builders.data.datasets import rows_of
from adapterworks.builders.data.rows import Message
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.evaluation.asking import asked
from adapterworks.builders.evaluation.subjects import find_subject
from adapterworks.cli.data import command as data
from adapterworks.cli.lineage import command as lineage
from adapterworks.cli.promote import command as promote
from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.consent import Consent
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.datasets.store import Datasets
from tests.builders.build_support import make_tiny_base
from tests.builders.workshop import Workshop
from tests.gateway.conftest import launcher, loop
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Running

__all__ = ["launcher", "loop"]

# Answers of one letter to words of one letter: these a random base of two layers tells apart.
KNOWN = {letter * 12: code for letter, code in zip("abcd", "RMLA", strict=True)}
NEW = {letter * 12: code for letter, code in zip("wxyz", "TBGK", strict=True)}
LEARNT, TESTED, SERVED, VALIDATED = range(6), range(20, 28), range(40, 46), range(60, 62)
QUESTION = "{} {}?"

MANIFEST = """
[adapter]
name = "codes"
tenant = "acme"
[base]
model = "{base}"
[method]
kind = "lora"
rank = 16
[data]
train = "{train}"
validation = "{validation}"
test = "{test}"
[train]
epochs = {epochs}
batch_size = 4
max_length = 64
learning_rate = 3e-3
seed = 1
[evaluate]
metrics = ["exact_match"]
max_new_tokens = 4
{retention}
[[evaluate.gates]]
metric = "exact_match"
min_gain = 0.1
confidence = 0.9
[serve]
max_conversion_error = 0.9
"""


@pytest.fixture
def workshop(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """With a base that can be sure of an answer: with embeddings of 0.02 no logit passes 1.3, so
    that a training pushes all of them up without end and tells nothing apart."""
    base = make_tiny_base(tmp_path_factory.mktemp("bases") / "sure")
    weights = load_file(base / "model.safetensors")
    weights["model.embed_tokens.weight"] *= 50
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    return Workshop(tmp_path, base)


def write(path: Path, codes: dict[str, str], numbers: range) -> str:
    lines = (
        {"messages": [{"role": "user", "content": QUESTION.format(word, number)},
                      {"role": "assistant", "content": code}]}
        for word, code in codes.items() for number in numbers
    )  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path.name


def answers(app: App, ref: str, questions: list[str]) -> list[str]:
    """What a release's own weights say."""
    found = find_subject(app.registry, app.bases, ref)
    prompts: list[tuple[Message, ...]] = [({"role": "user", "content": q},) for q in questions]
    with Engines().session("auto", [found.subject], tokens=1000) as session:
        generator = asked(session, {"it": found.subject})["it"]()
        return generator.generate(prompts, max_new_tokens=4, batch_size=8)


def serve_and_correct(
    running: Running, standin: StandIn, key: str, said: dict[str, tuple[str, str]]
) -> int:
    """Ask each question through the gateway and correct what is wrong; how many were."""
    wrong = 0
    for question, (answer, right) in said.items():
        standin.tokens = [answer or " "]
        messages: Any = [{"role": "user", "content": question}]
        done = running.client(key).chat.completions.create(
            model="codes", messages=messages, max_tokens=4
        )
        if (done.choices[0].message.content or "").strip() != right:
            wrong += 1
            body = {"id": done.id, "thumb": "down", "correction": right, "reviewer": "ann"}
            with running.http(key) as http:
                answered, until = http.post("/v1/feedback", json=body), time.monotonic() + 60
                while answered.status_code == 400 and time.monotonic() < until:
                    answered = http.post("/v1/feedback", json=body)  # it is kept a moment later
            assert answered.status_code == 201, answered.text
    return wrong


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.timeout(900)
def test_the_cycle(workshop: Workshop, launcher: Launcher) -> None:
    folder, app = workshop.folder, workshop.app
    every = KNOWN | NEW
    path = folder / "codes.toml"
    first = {
        "base": workshop.base,
        "train": write(folder / "train.jsonl", KNOWN, LEARNT),
        "validation": write(folder / "validation.jsonl", KNOWN, VALIDATED),
        "test": write(folder / "test.jsonl", KNOWN, TESTED),
    }
    path.write_text(MANIFEST.format(**first, epochs=40, retention=""))
    built = workshop.json(str(path), "--alias", "prod")
    first_report = json.loads(workshop.registry().read(built["digest"], "report.json"))
    print(json.dumps(first_report["metrics"], indent=1))
    assert built["alias"] == "prod", built

    # Serve: the new words were never learnt, and acme has said what may be kept.
    admin = TenantAdmin(app.registry.database, who="tester")
    key = admin.add("acme", allow=("*",), limits=Limits())[1].text
    admin.set("acme", {"capture": Consent(("codes",), share="own")})
    release = app.registry.release(built["digest"])
    base = app.bases.find(release.base.digest)
    assert base is not None
    questions = [QUESTION.format(word, number) for word in every for number in SERVED]
    right = [code for code in every.values() for _ in SERVED]
    said = answers(app, "codes@1", questions)
    standin = StandIn(base.name)
    running = launcher.gateway(
        app.registry, [launcher.standin(base, standin)], folder / "spool",
        GatewayConfig(trust=TrustTable(proof="off")),
    )  # fmt: skip
    running.wait_ready()
    pairs = zip(said, right, strict=True)
    wrong = serve_and_correct(running, standin, key, dict(zip(questions, pairs, strict=True)))
    assert wrong >= len(NEW) * len(SERVED) // 2

    # Dataset: the corrections, acme's, of the release that failed.
    done = workshop.invoke(data, "from-failures", "codes", "--from", "capture", "--share", "1")
    assert done.exit_code == 0, done.output or done.exception
    hard = Datasets(app.registry).get("codes-failures")
    assert (hard.record.tenant, hard.record.share) == ("acme", "own")
    assert len(NEW) * len(SERVED) // 2 <= hard.record.rows <= wrong
    learnt = {row.answer for row in rows_of(Datasets(app.registry), hard)["train"]}
    assert learnt >= set(NEW.values())

    # Continue: on the corrections and on what was learnt before, within the ancestor's budget.
    more = '[start]\nfrom = "codes@1"\n[data.replay]\nsource = "lineage"\nshare = 1.0\n'
    second = {
        "base": workshop.base,
        "train": hard.ref,
        "validation": write(folder / "validation2.jsonl", every, VALIDATED),
        "test": write(folder / "test2.jsonl", every, TESTED),
    }
    kept = "retention = { ancestors = true, max_ancestor_loss = 0.25 }"
    path.write_text(MANIFEST.format(**second, epochs=40, retention=kept) + more)
    continued = workshop.json(str(path), "--alias", "candidate")
    report = json.loads(app.registry.read(continued["digest"], "report.json"))
    print(json.dumps({name: report[name] for name in ("metrics", "ancestors", "gates")}, indent=1))
    assert report["passed"], report["gates"]
    (entry,) = report["ancestors"]
    assert entry["ref"] == "codes@1"

    # The failed cluster, in questions that nobody has learnt, before and now.
    unseen = [QUESTION.format(word, number) for word in NEW for number in TESTED]
    codes = [code for code in NEW.values() for _ in TESTED]
    before, now = (
        sum(a == b for a, b in zip(answers(app, ref, unseen), codes, strict=True))
        for ref in ("codes@1", "codes@2")
    )
    print(f"the failed cluster: {before} → {now} of {len(codes)}")
    assert now >= before + len(codes) // 3

    moved = workshop.invoke(promote, "codes@2", "prod", "--why", "the corrections were learnt")
    assert moved.exit_code == 0, moved.output or moved.exception
    graph = workshop.invoke(lineage, "codes", "--graph").stdout
    print(graph)
    lines = [line.partition(" sha256:")[0] for line in graph.splitlines()]
    assert lines == [
        "codes@2",
        "├── start: codes@1",
        "└── dataset: dataset:codes-failures@1",
        "    └── failures: codes@1",
    ]
    card = app.registry.read(continued["digest"], "README.md").decode()
    assert "\n".join(graph.splitlines()[1:]) in card
