"""A judge over a real socket: asked once for the same, within a budget, and again after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.endpoints import asking as sending
from adapterworks.builders.endpoints.chat import Chat
from adapterworks.builders.rewards.asking import Judge, require_judge
from adapterworks.builders.rewards.external import ExternalRewards
from adapterworks.builders.rewards.sandbox import refusal
from adapterworks.manifests.errors import Conflict, InvalidInput, Refused, Unavailable
from adapterworks.manifests.graders import Multi, PythonGrader, ScoreModel, StringCheck, Turn
from adapterworks.manifests.judging import RewardJudge
from tests.builders.endpoints.standin import completion, endpoint

Reply = tuple[int, Any, dict[str, str]]
ROWS = [chat("How long?", "ten words", row=1), chat("Where?", "there", row=2)]
CHECK = StringCheck(
    type="string_check",
    name="check",
    operation="eq",
    input="{{sample.output_text}}",
    reference="{{item.answer}}",
)


def longer(body: dict[str, Any]) -> Reply:
    """Prefers the longer answer; a score is the answer's length."""
    shown = str(body["messages"][-1]["content"])
    if "ANSWER A" in shown:
        one, other = shown.split("ANSWER A\n")[1].split("\n\n### ANSWER B\n")
        other = other.removesuffix("\n\n###")
        said = "tie" if len(one) == len(other) else "A" if len(one) > len(other) else "B"
        return 200, completion(f"Verdict: {said}"), {}
    answer = shown.split("ANSWER\n")[1].removesuffix("\n\n###")
    return 200, completion(f"Score: {min(5, len(answer))}"), {}


def table(url: str, **more: Any) -> RewardJudge:
    return RewardJudge(endpoint=f"{url}#judge", **more)


def test_rewards_of_pairs_and_of_scores(tmp_path: Path) -> None:
    texts = [["a", "bbb", "cc"], ["x", "x", "x"]]
    with endpoint(longer) as asked:
        pairs = ExternalRewards((), Judge(table(asked.url, weight=2.0), tmp_path / "one", {}))
        found = pairs.score(ROWS, texts)
        assert found.rewards == [[0.0, 2.0, 1.0], [1.0, 1.0, 1.0]]
        assert len(asked.bodies) == 6
        assert found.metrics == {"judge_abstained": 0.0, "judge_tokens": 60.0}
        scored = ExternalRewards(
            (), Judge(table(asked.url, kind="pointwise"), tmp_path / "two", {})
        )
        assert scored.score(ROWS, texts).rewards == [[0.0, 0.5, 0.25], [0.0, 0.0, 0.0]]
        assert len(asked.bodies) == 6 + 4 * 3, "three asks for each different answer"
        pairs.close()
        scored.close()


def test_what_it_said_is_kept_and_is_not_asked_again(tmp_path: Path) -> None:
    texts = [["a", "bbb", "cc"], ["dddd", "x", "yy"]]
    with endpoint(longer) as asked:
        first = ExternalRewards((), Judge(table(asked.url), tmp_path / "kept", {}))
        before = first.score(ROWS, texts).rewards
        with pytest.raises(Conflict):
            Judge(table(asked.url), tmp_path / "kept", {}).ask([Chat([], 1)])
        first.close()
        sent = len(asked.bodies)
    # Nobody is there any more.
    again = ExternalRewards((), Judge(table(asked.url), tmp_path / "kept", {}))
    assert again.score(ROWS, texts).rewards == before
    again.close()
    assert sent == 12


def test_the_budget_is_of_the_whole_training_and_is_never_exceeded(tmp_path: Path) -> None:
    """A question may cost 1,024 tokens and its bytes; this judge says that it cost ten."""
    with endpoint(longer) as asked:
        judge = Judge(table(asked.url, max_tokens=4000, parallel=1), tmp_path / "kept", {})
        once = ExternalRewards((), judge)
        once.score(ROWS[:1], [["a", "bbb"]])
        assert judge.paid == 20
        once.close()
        poor = Judge(table(asked.url, max_tokens=1500), tmp_path / "kept", {})
        other = ExternalRewards((), poor)
        assert other.score(ROWS[:1], [["a", "bbb"]]).metrics["judge_tokens"] == 20.0, "it is known"
        with pytest.raises(Refused, match="budget of 1500 tokens is used up: it has cost 20"):
            poor.ask([Chat([{"role": "user", "content": "x" * 1400}], 90)])
        assert len(asked.bodies) == 2
        # What is left is what was not spent before: the largest that a new training could ask.
        chats = [
            Chat([{"role": "user", "content": "ANSWER\n" + "x" * size}], 90)
            for size in range(1, 1401)
        ]
        (exact,) = (chat for chat in chats if chat.most_tokens == 1500)
        with pytest.raises(Refused, match="it has cost 20"):
            poor.ask([exact])
        poor.ask([chat for chat in chats if chat.most_tokens == 1480])
        poor.close()


def test_a_chat_that_is_too_long_for_the_judge_is_an_abstention(tmp_path: Path) -> None:
    """Of a ring of three, one pair is declined: the others decide, and the share is told."""

    def answer(body: dict[str, Any]) -> Reply:
        shown = str(body["messages"][-1]["content"])
        if "bbb" in shown and "cc" in shown:
            return 400, {"error": {"code": "context_length_exceeded", "message": "too long"}}, {}
        return longer(body)

    with endpoint(answer) as asked:
        pairs = ExternalRewards((), Judge(table(asked.url), tmp_path / "kept", {}))
        found = pairs.score(ROWS[:1], [["a", "bbb", "cc"]])
        pairs.close()
    assert found.rewards == [[0.0, 1.0, 1.0]]
    assert found.metrics == {"judge_abstained": pytest.approx(1 / 3), "judge_tokens": 40.0}


def test_what_failed_is_in_the_judges_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that goes on has what is left after tries that may have been billed unheard."""
    monkeypatch.setattr(sending, "_FIRST_WAIT", 0.0)
    chat_ = Chat([{"role": "user", "content": "x"}], 90)
    with endpoint(lambda body: (504, {}, {})) as asked:
        judge = Judge(table(asked.url, max_tokens=10 * chat_.most_tokens), tmp_path / "kept", {})
        with pytest.raises(Unavailable):
            judge.ask([chat_])
        judge.close()
        again = Judge(table(asked.url, max_tokens=10 * chat_.most_tokens), tmp_path / "kept", {})
        with pytest.raises(Refused, match=f"it has cost {8 * chat_.most_tokens}"):
            again.ask([Chat([{"role": "user", "content": "y"}], 90 + chat_.most_tokens + 1)])
        again.close()
        assert len(asked.bodies) == 8


def test_a_grader_asks_its_own_model_and_is_a_part_of_a_formula(tmp_path: Path) -> None:
    model = ScoreModel(
        type="score_model",
        name="m",
        model="other",
        input=(Turn(role="user", content="ANSWER\n{{sample.output_text}}\n\n###"),),
        range=(0.0, 5.0),
    )
    formula = Multi(
        type="multi",
        name="both",
        graders={"long": model, "right": CHECK},
        calculate_output="long + right",
    )

    def answer(body: dict[str, Any]) -> Reply:
        text = str(body["messages"][-1]["content"]).split("\n")[1]
        return 200, completion("?" if text == "silent" else f"Score: {len(text)}"), {}

    with endpoint(answer) as asked:
        judge = Judge(table(asked.url, kind="graders", asks=1), tmp_path / "kept", {})
        found = ExternalRewards((CHECK, formula), judge).score(
            ROWS, [["a", "bbb", "silent"], ["x", "y"]]
        )
        judge.close()
    assert found.rewards == [[0.0] * 3, [0.0] * 2]
    assert found.grades[0] == [[{}, {}, {}], [{}, {}]]
    assert found.grades[1] == [[{"long": 1.0}, {"long": 3.0}, {"long": 2.0}], [{"long": 1.0}] * 2]
    assert {body["model"] for body in asked.bodies} == {"other"}
    assert found.metrics["judge_abstained"] == pytest.approx(1 / 5)


@pytest.mark.skipif(refusal() is not None, reason=f"no sandbox: {refusal()}")
def test_python_returns_a_number_in_a_sandbox_or_nought() -> None:
    source = """
import socket
def grade(sample, item):
    if sample["output_text"] == "out":
        socket.create_connection(("127.0.0.1", 80), 1)
    if sample["output_text"] == "nan":
        return float("nan")
    if sample["output_json"]:
        return sample["output_json"]["n"] / 4
    return 1 / len(sample["output_text"]) if item["answer"] == "there" else item["row"] + 0.25
"""
    grader = PythonGrader(type="python", name="mine", source=source)
    found = ExternalRewards((grader,), None).score(
        ROWS, [["a"], ["bb", "", "nan", "out", '{"n": 3}']]
    )
    values = [[part[""] for part in group] for group in found.grades[0]]
    assert values == [[1.25], [0.5, 0.0, 0.0, 0.0, 0.75]]
    assert found.metrics == {"graders_failed": 3 / 6}


def test_a_judge_that_does_not_answer_is_known_before_a_training(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="`NO_SUCH_KEY` is not set"):
        require_judge(table("http://127.0.0.1:1/v1", key_env="NO_SUCH_KEY"), tmp_path / "x", {})
    with endpoint(lambda body: (401, {"error": {"message": "who?"}}, {})) as asked:
        with pytest.raises(Refused, match="who"):
            require_judge(table(asked.url), tmp_path / "x", {})
        (tmp_path / "x").write_text("it has answered before")
        assert require_judge(table(asked.url), tmp_path / "x", {}).model == "judge"
