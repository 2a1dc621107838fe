"""Stored completions and feedback, as clients and reviewers send them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from adapterworks.cli.main import cli
from adapterworks.gateway.capture import saying
from adapterworks.gateway.capture.answered import Recent
from adapterworks.gateway.capture.asked import AskedFeedback
from adapterworks.gateway.http.routes.reviews import AskedBallot
from adapterworks.registry.exchanges import feedback
from tests.gateway.capture.test_capture import MAIL, Clinic, bytes_under, clinic

__all__ = ["clinic"]


def post(clinic: Clinic, tenant: str = "acme", **body: Any) -> tuple[int, dict[str, Any]]:
    headers = body.pop("headers", {})
    with clinic.running.http(clinic.keys[tenant]) as http:
        answer = http.post("/v1/feedback", json=body, headers=headers)
    return answer.status_code, answer.json()


def test_stored_completions_as_openais_client_calls_them(clinic: Clinic) -> None:
    clinic.agree(share="own")
    asked = [
        clinic.ask(f"question {n}", store=True, metadata={"batch": "a" if n % 2 else "b"})
        for n in range(5)
    ]
    clinic.settled(5)
    stored = clinic.client().chat.completions
    names = [answer.id for answer in asked]
    assert {item.id for item in stored.list(limit=2)} == {*names}  # the client turns the pages
    newest = [item.id for item in stored.list(order="desc", limit=1).data]
    assert newest == [list(stored.list(order="asc"))[-1].id]
    odd = [item.id for item in stored.list(metadata={"batch": "a"})]
    assert sorted(odd) == sorted(names[1::2])
    assert stored.list(model="code").data == []

    one = stored.retrieve(names[0])
    assert one.choices[0].message.content == asked[0].choices[0].message.content
    assert one.usage is not None
    assert one.usage == asked[0].usage
    extra: dict[str, Any] = one.model_extra or {}
    assert extra["x_adapter"]["digest"] == clinic.digest
    assert extra["x_adapter"]["share"] == "own"
    turns = stored.messages.list(names[0])
    assert [(turn.role, turn.content) for turn in turns] == [("user", "question 0")]

    changed = stored.update(names[0], metadata={"seen": f"by {MAIL}"})
    assert changed.to_dict()["metadata"] == {"seen": "by ‹e-mail address›"}
    other = clinic.client("globex").chat.completions
    assert other.list().data == []
    for reach in (
        lambda: other.retrieve(names[0]),
        lambda: other.update(names[0], metadata={}),
        lambda: other.delete(names[0]),
        lambda: other.messages.list(names[0]),
    ):
        with pytest.raises(openai.NotFoundError):
            reach()
    assert stored.delete(names[0]).deleted
    with pytest.raises(openai.NotFoundError):
        stored.retrieve(names[0])
    with pytest.raises(openai.BadRequestError, match="no stored completion"):
        stored.list(after=names[0])
    assert MAIL.encode() not in bytes_under(clinic.home)


def test_a_score_needs_no_captured_answer_and_a_correction_does(clinic: Clinic) -> None:
    name = clinic.ask().id  # nothing is captured
    status, said = post(clinic, id=name, thumb="down", score=0.25, label="wrong-code")
    assert (status, said["thumb"], said["score"], said["label"]) == (
        201,
        "down",
        0.25,
        "wrong-code",
    )
    assert said["release"] == clinic.digest
    status, refused = post(clinic, id=name, correction="A06.0")
    assert status == 400
    assert "no text of this answer is kept" in refused["error"]["message"]
    assert refused["error"]["param"] == "correction"
    assert post(clinic, "globex", id=name, thumb="up")[0] == 404
    assert post(clinic, id="req-" + "0" * 24, thumb="up")[0] == 404
    clinic.running.gateway.recent = Recent()  # another gateway, or this one later
    clinic.running.gateway.meter.close()  # its usage is in the index
    assert post(clinic, id=name, thumb="up")[0] == 201
    assert post(clinic, "globex", id=name, thumb="up")[0] == 404


def test_a_base_has_one_name_wherever_its_answer_is_found(clinic: Clinic) -> None:
    base = clinic.standin.base
    answer = clinic.ask(model=f"{base}-none")
    assert post(clinic, id=answer.id, thumb="up")[0] == 201
    clinic.running.gateway.recent = Recent()  # another gateway, or this one later
    clinic.running.gateway.meter.close()  # its usage is in the index
    assert post(clinic, id=answer.id, thumb="down")[0] == 201
    assert post(clinic, id=answer.id, score=1)[0] == 201
    found = [said.adapter for _, said in feedback.listed(clinic.store, adapter=f"base:{base}")]
    assert found == [f"base:{base}"] * 3


def test_a_text_that_is_not_kept_is_not_looked_through(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = clinic.ask().id  # nothing is captured

    def looked(text: str) -> tuple[str, tuple[str, ...]]:
        raise AssertionError("seconds of work for what is refused")

    monkeypatch.setattr(saying, "redact", looked)
    status, refused = post(clinic, id=name, correction=f"write to {MAIL}")
    assert (status, refused["error"]["param"]) == (400, "correction")
    assert "no text of this answer is kept" in refused["error"]["message"]


@pytest.mark.parametrize("word", ["4111-1111-1111-1111", "123-45-6789", "x-4915112345678"])
def test_no_word_that_may_name_somebody_is_kept(word: str) -> None:
    for field in ("label", "reviewer"):
        with pytest.raises(ValidationError, match="is kept in the clear and looks like"):
            AskedFeedback(id="req-1", thumb="up", **{field: word})
    with pytest.raises(ValidationError, match="is kept in the clear and looks like"):
        AskedBallot(reviewer=word)
    for free in ("ann", "wrong-code", "A06.0", "2026-11-30-batch-3", "nurse_12345678"):
        assert AskedFeedback(id="req-1", label=free, reviewer=free).label == free


@pytest.mark.parametrize(
    "word",
    [
        "550e8400-e29b-41d4-a716-446655440000",
        "12345678-1234-4123-8123-123456789012",
        "5f7c8ec7c33c6c004bbafe82",
        "a1234567890b",
    ],
)
def test_an_id_that_a_program_has_drawn_is_nobodys_number(word: str) -> None:
    """A platform that names reviewers so would lose one in thirty-five of them for its digits."""
    assert AskedFeedback(id="req-1", thumb="up", reviewer=word, label=word).reviewer == word


def test_feedback_sent_twice_is_one(clinic: Clinic) -> None:
    name = clinic.ask().id
    header = {"headers": {"idempotency-key": "k-1"}}
    first = post(clinic, id=name, thumb="down", **header)
    again = post(clinic, id=name, thumb="down", idempotency_key="k-1")
    assert (first[0], again[0]) == (201, 200)
    assert first[1]["id"] == again[1]["id"]
    assert post(clinic, id=name, thumb="up", idempotency_key="k-1")[0] == 409


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, None),
        ({"thumb": "sideways"}, "thumb"),
        ({"score": 1.1}, "score"),
        ({"score": "1"}, "score"),
        ({"label": "two words"}, "label"),
        ({"reviewer": MAIL, "thumb": "up"}, "reviewer"),
        ({"reviewer": "4111-1111-1111-1111", "thumb": "up"}, "reviewer"),
        ({"reviewer": "jane.doe-4915112345678", "thumb": "up"}, "reviewer"),
        ({"label": "123-45-6789"}, "label"),
        ({"comment": "x" * 10_001}, "comment"),
        ({"stars": 5}, "stars"),
    ],
)
def test_what_is_no_feedback_is_refused(
    clinic: Clinic, fields: dict[str, Any], param: str | None
) -> None:
    status, answer = post(clinic, id="req-" + "0" * 24, **fields)
    assert (status, answer["error"]["param"]) == (400, param)


def test_a_correction_is_looked_through_and_reaches_reviewers(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.agree(share="own")
    name = clinic.ask("what is A06?").id
    clinic.settled(1)
    status, said = post(
        clinic, id=name, thumb="down", correction=f"amebiasis, says {MAIL}", reviewer="ann"
    )
    assert (status, said["correction"]) == (201, "amebiasis, says ‹e-mail address›")
    for key, value in (
        ("ADAPTERS_HOME", str(clinic.home / "registry")),
        ("ADAPTERS_USER", "bo"),
    ):
        monkeypatch.setenv(key, value)

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli, ["feedback", *arguments])
        assert result.exit_code == code, result.output + str(result.exception)
        return result.stdout

    run("add", name, "--tenant", "acme", "--thumb", "up")
    listed = run("list", "--adapter", "medical")
    assert "correction" in listed
    assert "amebiasis" not in listed  # a list on a screen shows no texts
    (line,) = run("export", "--share", "own").splitlines()
    row = json.loads(line)
    assert row["messages"] == [{"role": "user", "content": "what is A06?"}]
    assert [f["correction"] for f in row["feedback"]] == ["amebiasis, says ‹e-mail address›", None]
    assert [f["reviewer"] for f in row["feedback"]] == ["ann", "bo"]
    assert run("export", "--share", "all") == ""
    (pair,) = json.loads(run("agreement", "--json"))
    assert (pair["first"], pair["second"], pair["answers"], pair["same"]) == ("ann", "bo", 1, 0.0)
    run("add", name, "--tenant", "acme", "--score", "7", code=1)

    erased = CliRunner().invoke(
        cli, ["erase", "tenant:acme", "--why", "end of contract", "--yes", "--json"]
    )
    assert json.loads(erased.stdout) == {
        "tenant": clinic.admin.show("acme")[0].id,
        "exchanges": 1,
        "feedback": 2,
        "files": 2,
        "uploaded": 0,
        "uploads": 0,
        "lines": 0,
        "running": 0,
        "settled": True,
        "key": True,
        "datasets": [],
        "releases": [],
        "reviews": [],
    }
    assert run("export") == ""
    assert json.loads(run("list", "--json")) == []


def test_consent_is_said_on_the_command_line(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADAPTERS_HOME", str(clinic.home / "registry"))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli, ["tenant", "set", "acme", *arguments])

    assert run("--retain", "30d").exception is not None  # of nothing
    assert run("--capture", "medical", "--retain", "30d", "--share", "own").exit_code == 0
    assert run("--sample", "0.1", "--on-personal", "drop", "--share", "2").exit_code == 0
    tenant = clinic.admin.show("acme")[0]
    assert tenant.weight == 2.0
    assert tenant.consent is not None
    assert json.loads(tenant.consent.to_json()) == {
        "adapters": ["medical"],
        "retain": 30 * 86400,
        "share": "own",
        "sample": 0.1,
        "on_personal": "drop",
    }
    for wrong in (("--sample", "0"), ("--sample", "1.5"), ("--retain", "5s"), ("--share", "some")):
        assert run(*wrong).exit_code != 0
    assert run("--capture", "none").exit_code == 0
    assert clinic.admin.show("acme")[0].consent is None
