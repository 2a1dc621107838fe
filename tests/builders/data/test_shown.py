"""Gates of what may not be learnt look at all that a model is shown: calls, system turns, tools."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapterworks.builders.data.gates import secrets, shown
from adapterworks.builders.data.gates.report import Context, Finding
from adapterworks.builders.data.gates.run import GATES
from adapterworks.builders.data.gates.text import full_text, prose
from adapterworks.builders.data.rows import Row, chat

# In parts, so that this file is no finding of a secret scanner.
KEY = "sk-proj-" + "Zq3Rt7Yb9Wx2Lm5Nc8Vd4"
AWS = "AKIA" + "Z7Q2MX4PLT9WRV3B"
MAIL = "jane.doe" + "@acme-corp.com"
PLAIN = chat("Who?", "Nobody")


def calling(arguments: dict[str, Any], at: int = 1) -> Row:
    """A row whose turn number `at` calls a function."""
    turns: list[Any] = [*chat("Do it", "").messages, *chat("And?", "Done").messages]
    call = {"type": "function", "function": {"name": "send", "arguments": arguments}}
    turns[at] = {**turns[at], "tool_calls": [call]}
    return Row(tuple(turns))


def with_system(text: str) -> Row:
    return Row(({"role": "system", "content": text}, *PLAIN.messages))


def with_tools(description: str) -> Row:
    tool = {"type": "function", "function": {"name": "send", "description": description}}
    return replace(PLAIN, tools=(tool,))


def beside(text: str) -> Row:
    return replace(PLAIN, others=(({"role": "assistant", "content": text},),))


def run(name: str, *rows: Row, special: tuple[str, ...] | None = None) -> Finding:
    context = Context(special=special)
    return GATES.named(name).check({"train": rows, "validation": (), "test": ()}, 0.0, context)


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("secrets", f"the key is {AWS}"),
        ("personal_data", f"write to {MAIL}"),
        ("control_tokens", "and then <|im_end|>"),
    ],
)
def test_what_may_not_be_learnt_is_looked_for_wherever_it_is_shown(gate: str, said: str) -> None:
    rows = [
        PLAIN,
        chat("q", said),
        calling({"body": said}),
        calling({"to": {"deep": [said]}}, at=3),
        with_system(said),
        with_tools(said),
        beside(said),
        Row(text=said),
    ]
    finding = run(gate, *rows, special=("<|im_end|>",))
    assert [one.index for one in finding.offences] == [1, 2, 3, 4, 5, 6, 7]
    assert not any(AWS in one.excerpt or MAIL in one.excerpt for one in finding.offences)
    if gate != "control_tokens":
        reasons = [one.reason for one in finding.offences]
        assert [" in its " in reason for reason in reasons] == [False, False, False, True, True,
                                                               False, False]  # fmt: skip
        assert reasons[3].endswith("in its system turn")
        assert reasons[4].endswith("in its tools")


def test_arguments_by_name_are_secrets_too() -> None:
    """An assignment to `api_key` is one whether it stands in a text or in a call."""
    assert run("secrets", calling({"api_key": KEY, "mail": MAIL})).measured == 1.0
    assert run("personal_data", calling({"api_key": KEY, "mail": MAIL})).measured == 1.0
    assert run("secrets", with_system(f"OPENAI_API_KEY={KEY}")).measured == 1.0


def test_a_secret_deep_in_tools_is_shown_with_what_is_around_it() -> None:
    (found,) = run("secrets", with_tools("word " * 200 + AWS + " behind")).offences
    assert "‹secret› behind" in found.excerpt


def test_what_many_rows_share_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    find = secrets.find_secrets

    def counting(text: str) -> dict[str, str]:
        looked.append(text)
        return find(text)

    monkeypatch.setattr(secrets, "find_secrets", counting)
    rows = [Row((*with_system(AWS).prompt[:1], *chat(f"q{n}", "a").messages)) for n in range(50)]
    assert run("secrets", *rows).measured == 50.0
    assert sum(AWS in text for text in looked) == 1
    monkeypatch.setattr(shown, "_MOST", 1)
    apart = [with_system(f"{AWS} {n % 2}") for n in range(4)]
    assert run("secrets", *apart).measured == 4.0


def test_calls_are_a_part_of_what_rows_are_compared_by_and_of_no_language() -> None:
    row = calling({"amount": 5})
    assert '"amount": 5' in full_text(row)
    assert "amount" not in prose(row)
    assert prose(row).split() == ["Do", "it", "And?", "Done"]
    # Long enough that near repetitions are looked at: they differ in what they call alone.
    asked = "Please send the usual sum to the usual account on the usual day of this month"
    rows = [Row((*chat(asked, "").prompt, {"role": "assistant", "content": "", "tool_calls": [
        {"function": {"name": "send", "arguments": {f"k{n}w{w}": w for w in range(30)}}}]}))
        for n in range(2)]  # fmt: skip
    gate = GATES.named("near_duplicates")
    assert gate.check({"train": rows}, 0.9, Context()).offences == ()
