"""Who is asked, how often, and what the report says of it: by engines whose answers are written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.engines.answers import Answers, answers_folder, forget_unused
from adapterworks.builders.engines.choice import Engines, automatic
from adapterworks.builders.engines.engine import Adapter, Given, Model, Sampling
from adapterworks.builders.engines.session import Session, Subject
from adapterworks.builders.evaluation.evaluate import Evaluation, evaluate_subjects
from adapterworks.engines.gateway import GatewayOpener
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import EvaluateTable
from tests.builders.engines.scripted import Scripted

TABLE = EvaluateTable(
    metrics=("exact_match", "perplexity"), max_new_tokens=8, bootstrap_samples=50, engine="vllm"
)
ROWS = [chat(f"question {number}", "yes" if number % 2 else "no") for number in range(8)]
ADAPTER, NATIVE = "sha256:" + "a" * 64, "sha256:" + "d" * 64


@pytest.fixture
def right(tiny: Path) -> Callable[[str | None, tuple[int, ...]], list[int]]:
    """The candidate is right, the base says yes to everything."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)

    def answer(adapter: str | None, prompt: tuple[int, ...]) -> list[int]:
        odd = int(str(tokenizer.decode(prompt)).split("question ")[1][0]) % 2
        text = "yes" if odd or adapter is None else "no"
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    return answer


@pytest.fixture
def subjects(tiny: Path) -> dict[str, Subject]:
    model = Model("sha256:" + "b" * 64, "tiny", tiny)
    return {
        "candidate": Subject(model, Adapter(ADAPTER, tiny)),
        "base": Subject(model),
    }


def run(subjects: dict[str, Subject], engines: Engines, table: EvaluateTable = TABLE) -> Evaluation:
    return evaluate_subjects(subjects, ROWS, table, engines=engines)


def both(vllm: Scripted, reference: Scripted, folder: Path | None = None) -> Engines:
    kept = Answers(folder) if folder is not None else None
    return Engines(openers={"vllm": vllm, "huggingface": reference}, answers=kept)


def test_the_engine_is_asked_and_the_report_says_so(
    right: Callable[..., list[int]], subjects: dict[str, Subject]
) -> None:
    vllm, reference = Scripted(right, "vllm"), Scripted(right, "huggingface")
    evaluation = run(subjects, both(vllm, reference))
    assert evaluation.report["metrics"]["exact_match"]["values"] == {"candidate": 1.0, "base": 0.5}
    perplexity = evaluation.report["metrics"]["perplexity"]["values"]["base"]
    assert perplexity == pytest.approx(2.718281828**1.5)
    assert vllm.log == [
        "open tiny with 1",
        f"complete {ADAPTER}",
        f"score {ADAPTER}",
        "complete None",
        "score None",
        "close",
    ]
    assert reference.log == []
    engine = evaluation.report["engine"]
    assert engine["chosen"] == "vllm"
    assert engine["members"]["vllm"]["asked"] == ["complete", "score"]
    assert engine["elsewhere"] == []


def test_what_was_answered_is_not_asked_again(
    right: Callable[..., list[int]], subjects: dict[str, Subject], tmp_path: Path
) -> None:
    vllm, reference = Scripted(right, "vllm"), Scripted(right, "huggingface")
    first = run(subjects, both(vllm, reference, tmp_path))
    del vllm.log[:]
    assert run(subjects, both(vllm, reference, tmp_path)).report == first.report
    assert vllm.log == []  # no engine was even opened

    # A second build: another candidate on the same base and rows.
    other = Adapter("sha256:" + "c" * 64, Path())
    second = {**subjects, "candidate": Subject(subjects["base"].model, other)}
    run(second, both(vllm, reference, tmp_path))
    assert [line for line in vllm.log if "None" in line] == []
    assert f"complete {other.digest}" in vllm.log


def test_a_release_is_not_asked_what_it_answered_before_it_was_one(
    right: Callable[..., list[int]], subjects: dict[str, Subject], tmp_path: Path
) -> None:
    """The stage after it begins with it, and asks the same rows."""
    vllm, reference = Scripted(right, "vllm"), Scripted(right, "huggingface")
    model, files = subjects["base"].model, "sha256:" + "f" * 64
    built = Adapter(ADAPTER, Path(), contents=files)
    first = run({**subjects, "candidate": Subject(model, built)}, both(vllm, reference, tmp_path))
    del vllm.log[:]
    released = Adapter("sha256:" + "c" * 64, Path("elsewhere"), contents=files)
    again = {**subjects, "candidate": Subject(model, released)}
    assert run(again, both(vllm, reference, tmp_path)).report == first.report
    assert vllm.log == []
    other = Adapter(ADAPTER, Path(), contents="sha256:" + "9" * 64)
    run({**subjects, "candidate": Subject(model, other)}, both(vllm, reference, tmp_path))
    assert f"complete {ADAPTER}" in vllm.log


def test_what_does_not_say_what_it_is_is_asked_each_time(
    right: Callable[..., list[int]], subjects: dict[str, Subject], tmp_path: Path
) -> None:
    """Behind the same address there may be another engine by now."""
    model = subjects["base"].model
    assert not GatewayOpener("http://here", None).identity(model).known
    gateway, reference = Scripted(right, "vllm", device="unknown"), Scripted(right, "huggingface")
    run(subjects, both(gateway, reference, tmp_path))
    first = list(gateway.log)
    assert not list(tmp_path.rglob("*.json*"))
    del gateway.log[:]
    run(subjects, both(gateway, reference, tmp_path))
    assert gateway.log == first


@pytest.mark.parametrize("change", ["version", "base", "rows", "sampling", "batch"])
def test_another_question_is_asked(
    right: Callable[..., list[int]],
    subjects: dict[str, Subject],
    tmp_path: Path,
    change: str,
) -> None:
    vllm, reference = Scripted(right, "vllm"), Scripted(right, "huggingface")
    only_base = {"candidate": Subject(subjects["base"].model)}
    run(only_base, both(vllm, reference, tmp_path))
    table, rows = TABLE, list(ROWS)
    if change == "version":
        vllm = vllm.newer()
    elif change == "base":
        model = Model("sha256:" + "e" * 64, "tiny", subjects["base"].model.folder)
        only_base = {"candidate": Subject(model)}
    elif change == "rows":
        rows[0] = chat("question 5 anew", "yes")
    elif change == "sampling":
        table = TABLE.model_copy(update={"max_new_tokens": 7})
    else:
        table = TABLE.model_copy(update={"batch_size": 3})
    del vllm.log[:]
    evaluate_subjects(only_base, rows, table, engines=both(vllm, reference, tmp_path))
    assert "complete None" in vllm.log


def _turned(folder: Path) -> list[tuple[Path, Path]]:
    """Each file with the next one."""
    paths = sorted(folder.iterdir())
    return list(zip(paths, [*paths[1:], paths[0]], strict=True))


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "not an answer", "another's"])
def test_a_damaged_answer_is_found_and_asked_anew(
    right: Callable[..., list[int]], subjects: dict[str, Subject], tmp_path: Path, damage: str
) -> None:
    vllm, reference = Scripted(right, "vllm"), Scripted(right, "huggingface")
    first = run(subjects, both(vllm, reference, tmp_path))
    others = {path: other.read_bytes() for path, other in _turned(tmp_path)}
    for path in tmp_path.iterdir():
        data = bytearray(path.read_bytes())
        data[-3] ^= 4
        new = {
            "cut": bytes(data[:-9]),
            "flipped": bytes(data),
            "emptied": b"",
            "not an answer": b"hello\nworld",
            "another's": others[path],
        }
        path.write_bytes(new[damage])
    del vllm.log[:]
    assert run(subjects, both(vllm, reference, tmp_path)).report == first.report
    assert len([line for line in vllm.log if line.startswith("complete")]) == 2
    del vllm.log[:]
    run(subjects, both(vllm, reference, tmp_path))
    assert vllm.log == []  # and it was kept whole


def test_answers_are_bounded_and_forgotten(tmp_path: Path) -> None:
    folder = answers_folder(tmp_path)
    answers = Answers(folder, most_bytes=2000)
    model = Model("sha256:" + "b" * 64, "tiny", tmp_path)
    for number in range(30):
        session = Session(
            {"huggingface": Scripted(lambda adapter, prompt: [5])}, "huggingface", answers=answers
        )
        session.complete(Subject(model), [[number, 7]], Sampling(4, stop=(1,)), batch_size=1)
    kept = list(folder.iterdir())
    assert 2 <= len(kept) < 30
    assert sum(path.stat().st_size for path in kept) <= 2000
    month_ago = time.time() - 40 * 86400
    os.utime(kept[0], (month_ago, month_ago))
    size = kept[0].stat().st_size
    assert forget_unused(folder, dry_run=True) == size
    assert kept[0].exists()
    assert forget_unused(folder) == size
    assert not kept[0].exists()
    assert kept[1].exists()


def test_what_one_engine_cannot_run_is_asked_of_the_reference_and_told(
    right: Callable[..., list[int]], subjects: dict[str, Subject], tiny: Path
) -> None:
    vllm, reference = Scripted(right, "vllm"), Scripted(right, "huggingface")
    vllm.cannot[NATIVE] = "cannot load it"
    said: list[str] = []
    native = Subject(subjects["base"].model, Adapter(NATIVE, tiny))
    evaluation = evaluate_subjects(
        {**subjects, "native": native},
        ROWS,
        TABLE,
        engines=both(vllm, reference),
        say=said.append,
    )
    assert reference.log == [
        "open tiny with 2",
        f"complete {NATIVE}",
        f"score {NATIVE}",
        "close",
    ]
    assert said == ["`vllm` cannot load it; `huggingface` is asked"]
    assert evaluation.report["engine"]["elsewhere"] == said
    assert evaluation.report["engine"]["chosen"] == "vllm"


def test_candidate_and_base_are_never_asked_of_two_engines(
    right: Callable[..., list[int]], subjects: dict[str, Subject]
) -> None:
    vllm, reference = Scripted(right, "vllm"), Scripted(right, "huggingface")
    vllm.cannot[ADAPTER] = "cannot load it"
    evaluation = run(subjects, both(vllm, reference))
    assert vllm.log == []
    assert evaluation.report["engine"]["chosen"] == "huggingface"
    assert evaluation.report["engine"]["elsewhere"] == [
        "`vllm` cannot load it; `huggingface` is asked"
    ]


def test_likelihoods_that_cost_too_much_are_asked_of_the_reference(
    right: Callable[..., list[int]], subjects: dict[str, Subject]
) -> None:
    vllm, reference = Scripted(right, "vllm"), Scripted(right, "huggingface")
    vllm.scores = False
    engine = run(subjects, both(vllm, reference)).report["engine"]
    assert {name: entry["asked"] for name, entry in engine["members"].items()} == {
        "vllm": ["complete"],
        "huggingface": ["score"],
    }
    assert len(engine["elsewhere"]) == 1
    assert "complete None" not in reference.log


def test_an_engine_without_room_for_a_longer_question_is_replaced(tiny: Path) -> None:
    small = Scripted(lambda adapter, prompt: [5], most=16)
    subject = Subject(Model("sha256:" + "b" * 64, "tiny", tiny))
    with Session({"vllm": small, "huggingface": small}, "vllm") as session:
        session.complete(subject, [[3] * 8], Sampling(4, stop=(1,)), batch_size=1)
        session.score(subject, [Given((3,) * 16, 1)], batch_size=1)
        session.complete(subject, [[3] * 30], Sampling(4, stop=(1,)), batch_size=1)
    assert small.log == [
        "open tiny with 0",
        "complete None",
        "score None",
        "close",
        "open tiny with 0",
        "complete None",
        "close",
    ]


def test_a_gateway_that_cannot_answer_refuses(
    right: Callable[..., list[int]], subjects: dict[str, Subject]
) -> None:
    gateway = Scripted(right, "gateway", cannot={ADAPTER: "serves nothing of that kind"})
    engines = Engines(openers={"gateway": gateway, "huggingface": gateway}, wanted="gateway")
    with pytest.raises(Refused, match="serves nothing of that kind"):
        run(subjects, engines)
    with pytest.raises(Refused, match="nothing is published before"):
        engines.check_build("auto")


def test_an_engine_that_is_not_there_is_named(subjects: dict[str, Subject]) -> None:
    with pytest.raises(InvalidInput, match="there is no engine `vllm` here"):
        run(subjects, Engines())


def test_auto_never_starts_an_engine_on_a_cpu() -> None:
    openers = {"vllm": Scripted(lambda adapter, prompt: [])}
    assert automatic(openers, device="cpu", tokens=10**9) == "huggingface"
    assert automatic(openers, device="cuda", tokens=100) == "huggingface"
    assert automatic({}, device="cuda", tokens=10**9) == "huggingface"


def test_a_text_row_is_refused_before_an_engine_is_opened(
    right: Callable[..., list[int]], subjects: dict[str, Subject]
) -> None:
    vllm = Scripted(right, "vllm")
    with pytest.raises(InvalidInput, match="plain text"):
        evaluate_subjects(
            subjects,
            [Row((), {}, text="plain")],
            TABLE,
            engines=both(vllm, vllm),
        )
    assert vllm.log == []
