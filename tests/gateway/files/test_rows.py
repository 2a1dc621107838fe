"""Lines of a file: every fault at once, with its lines, whatever pieces the bytes come in."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from adapterworks.gateway.files.faults import MOST_RANGES
from adapterworks.gateway.files.rows import check_of
from adapterworks.gateway.request.errors import InvalidLines, error_body
from adapterworks.manifests.errors import InvalidInput

CHAT = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
ASKED = {"messages": CHAT["messages"][:1]}
PAIR = {
    "input": {"messages": CHAT["messages"][:1]},
    "preferred_output": [{"role": "assistant", "content": "A"}],
    "non_preferred_output": [{"role": "assistant", "content": "B"}],
}
TEXTS = {"prompt": "Q", "completion": "A"}


def asked(custom_id: str) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": {}}


def look(purpose: str, *lines: Any, piece: int = 7) -> tuple[int, str]:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    data = b"\n".join(texts)
    check = check_of(purpose)
    assert check is not None
    for begin in range(0, len(data), piece):
        check.feed(data[begin : begin + piece])
    facts = check.close()
    return facts.rows, facts.kind


def faults(purpose: str, *lines: Any, piece: int = 7) -> dict[str, str]:
    with pytest.raises(InvalidLines) as caught:
        look(purpose, *lines, piece=piece)
    return {str(fault["lines"]): str(fault["message"]) for fault in caught.value.listed}


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (CHAT, "supervised"),
        (ASKED, "reinforcement"),
        (PAIR, "paired"),
        (TEXTS, "completion"),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_the_kind_of_row_is_found_whatever_pieces_the_bytes_come_in(
    row: Any, kind: str, piece: int
) -> None:
    assert look("fine-tune", row, row, b"", row, b"\r", piece=piece) == (3, kind)


@pytest.mark.parametrize("piece", [1, 13, 10_000])
def test_all_faults_are_said_at_once_with_their_lines(piece: int) -> None:
    role = {"messages": [{"role": "wizard", "content": "Q"}]}
    lines = (CHAT, b'{"messages": [1,]}', role, role, b'{"a": 1, "a": 2}', CHAT, role, b"[1]", b"{")
    assert faults("fine-tune", *lines, piece=piece) == {
        "2": "is not JSON: it has a trailing comma",
        "3-4, 7": "`messages[0]` has a `role` that is none of "
        "system, developer, user, assistant, tool, function",
        "5": "names a key twice",
        "8": "is not a JSON object",
        "9": "is not JSON: it ends too early",
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x"}, "has none of `messages`, `input` with two outputs, or `prompt` and"),
        ({"messages": []}, "`messages` is not a list of messages"),
        ({"messages": ["x"]}, "`messages[0]` is not an object"),
        ({"messages": [{"role": "user"}]}, "`messages[0]` has no text in `content`"),
        (
            {"messages": [{"role": "assistant", "content": "A", "weight": 0.5}]},
            "`messages[0]` has a `weight` that is neither 0 nor 1",
        ),
        (
            {"messages": [CHAT["messages"][0], {"role": "system", "content": "S"}]},
            "`messages` ends with no question",
        ),
        ({**PAIR, "preferred_output": []}, "`preferred_output` is not a list of one message"),
        ({**PAIR, "preferred_output": [{"role": "user", "content": "A"}]}, "is not the assistant"),
        ({"input": 1}, "`input` is not an object"),
        ({"prompt": "Q"}, "`completion` is not text"),
    ],
)
def test_what_a_row_lacks_is_said_by_its_place(row: Any, message: str) -> None:
    (said,) = faults("fine-tune", row).values()
    assert message in said


def test_a_file_has_one_kind_of_row() -> None:
    lines = (CHAT, PAIR, CHAT, ASKED)
    assert faults("fine-tune", *lines) == {
        "2": "is a paired row, and line 1 a supervised row",
        "4": "is a reinforcement row, and line 1 a supervised row",
    }


def test_a_call_of_a_tool_needs_no_text() -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
    assert look("fine-tune", {"messages": [CHAT["messages"][0], call]}) == (1, "supervised")


def test_marks_encodings_and_endless_lines_are_said() -> None:
    assert faults("fine-tune", b"\xef\xbb\xbf" + json.dumps(CHAT).encode(), b'{"a": "\xff"}') == {
        "1": "begins with a byte order mark: save as UTF-8 without one",
        "2": "is not JSON: it has bytes that are no UTF-8 text",
    }
    endless = b'{"prompt": "' + b"x" * (5 * 1024 * 1024)
    assert faults("fine-tune", TEXTS, endless, TEXTS, endless, piece=100_000) == {
        "2, 4": "is longer than a line may be (4 MiB)"
    }
    assert faults("fine-tune", TEXTS, endless, TEXTS, piece=100_000_000) == {
        "2": "is longer than a line may be (4 MiB)"
    }


def test_requests_of_a_batch_are_told_apart_by_their_ids() -> None:
    assert look("batch", asked("a"), asked("b")) == (2, "requests")
    lines = (asked("a"), {**asked("b"), "method": "GET"}, asked("a"), {**asked("c"), "x": 1})
    assert faults("batch", *lines) == {
        "2": "`method` is not POST",
        "3": "`custom_id` is that of an earlier line",
        "4": "has a key besides `custom_id`, `method`, `url` and `body`",
    }


def test_an_empty_file_and_one_with_too_many_requests_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        look("fine-tune", b"", b"  ")
    check = check_of("batch")
    assert check is not None
    for number in range(50_000):
        check.feed(json.dumps(asked(str(number))).encode() + b"\n")
    with pytest.raises(InvalidInput, match="more than the 50000 rows it may have"):
        check.feed(b"{}\n" * 1000)
    assert check.rows == 50_001  # the rest is not looked at
    last = check_of("batch")
    assert last is not None
    last.feed(b"".join(json.dumps(asked(str(n))).encode() + b"\n" for n in range(50_000)))
    last.feed(json.dumps(asked("one more")).encode())
    with pytest.raises(InvalidInput, match="more than the 50000 rows it may have"):
        last.close()


def test_other_purposes_are_any_bytes() -> None:
    assert check_of("user_data") is None
    assert look("evals", {"anything": 1}) == (1, "objects")


def test_twenty_thousand_broken_lines_take_little_memory() -> None:
    """Every line is named, and what is kept is that of the kinds of fault."""
    line = b'{"messages": [{"role": "wizard", "content": "' + b"x" * 200 + b'"}]}\n'
    check = check_of("fine-tune")
    assert check is not None
    check.feed(line)
    tracemalloc.start()
    for _ in range(200):
        check.feed(line * 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with pytest.raises(InvalidLines, match=r"20001 of 20001 lines") as caught:
        check.close()
    assert [fault["lines"] for fault in caught.value.listed] == ["1-20001"]
    assert peak < 2_000_000


def test_a_broken_line_between_any_two_takes_no_more_than_is_listed() -> None:
    """What is beyond the bound is neither kept nor looked at, and the answer says so."""
    check = check_of("fine-tune")
    assert check is not None
    lines = b"x\n\n" * (5 * MOST_RANGES // 2)
    tracemalloc.start()
    with pytest.raises(InvalidLines, match="what follows was not looked at") as caught:
        check.feed(lines)
    body = error_body(caught.value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (listed,) = caught.value.listed
    assert listed["count"] == MOST_RANGES
    assert str(listed["lines"]).endswith(f", {2 * MOST_RANGES - 1}")
    assert peak < 60_000_000
    assert len(body) < 4_000_000


def test_ids_of_requests_take_little_memory() -> None:
    check = check_of("batch")
    assert check is not None
    tracemalloc.start()
    for number in range(5000):
        check.feed(json.dumps(asked(f"{number}" + "\U0001f600" * 500)).encode() + b"\n")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert check.close().rows == 5000
    assert peak < 4_000_000  # the ids alone are 10 MB
