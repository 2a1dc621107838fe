"""Rewriting a stream: the same events whatever the chunks, and the counts of all of them."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from adapterworks.gateway.request.stream import Rewriter, rewrite_whole
from adapterworks.gateway.request.usage import Usage

DIGEST = "sha256:" + "a" * 64
TRICKY = f'"model":"{DIGEST}" and "usage":{{"prompt_tokens":9}}\n\n data: [DONE]'


def _stream(texts: list[str]) -> bytes:
    events = [
        {
            "id": "1",
            "model": DIGEST,
            "choices": [{"index": 0, "delta": {"content": text}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": n, "total_tokens": 3 + n},
        }
        for n, text in enumerate(texts, 1)
    ]
    last = {"id": "1", "model": DIGEST, "choices": [], "usage": events[-1]["usage"]}
    lines = [json.dumps(e, separators=(",", ":")).encode() for e in (*events, last)]
    return b"".join(b"data: " + line + b"\n\n" for line in lines) + b"data: [DONE]\n\n"


def _feed(rewriter: Rewriter, data: bytes, cuts: list[int]) -> bytes:
    bounds = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    return b"".join(rewriter.feed(data[a:b]) for a, b in itertools.pairwise(bounds))


def _events(data: bytes) -> list[dict[str, object]]:
    lines = [line for line in data.split(b"\n\n") if line]
    assert lines[-1] == b"data: [DONE]"
    return [json.loads(line.removeprefix(b"data: ")) for line in lines[:-1]]


@given(
    st.lists(st.one_of(st.text(max_size=20), st.just(TRICKY)), min_size=1, max_size=8),
    st.lists(st.integers(0, 10_000), max_size=20),
    st.sampled_from(["none", "last", "all"]),
)
def test_chunk_boundaries_do_not_matter(texts: list[str], cuts: list[int], keep: str) -> None:
    usage = Usage()
    events = _events(_feed(Rewriter(DIGEST, "médical", usage, keep), _stream(texts), cuts))
    assert {event["model"] for event in events} == {"médical"}
    told = [event["choices"][0]["delta"]["content"] for event in events if event["choices"]]  # type: ignore[index]
    assert told == texts
    counted = {"none": 0, "last": 1, "all": len(texts) + 1}[keep]
    assert sum("usage" in event for event in events) == counted
    assert len(events) == len(texts) + (keep != "none")
    assert (usage.prompt, usage.completion) == (3, len(texts))


def test_counts_are_known_when_a_stream_is_cut() -> None:
    usage = Usage()
    rewriter = Rewriter(DIGEST, "medical", usage, "none")
    data = _stream(["a", "b", "c", "d"])
    rewriter.feed(data[: data.index(b'"content":"c"')])
    assert (usage.prompt, usage.completion) == (3, 2)
    assert not rewriter.finished


def test_a_whole_answer_keeps_a_digest_that_the_model_wrote() -> None:
    body = json.dumps(
        {"model": DIGEST, "choices": [{"text": f'"model":"{DIGEST}"'}]}, separators=(",", ":")
    ).encode()
    answer = json.loads(rewrite_whole(body, DIGEST, "medical"))
    assert answer["model"] == "medical"
    assert DIGEST in answer["choices"][0]["text"]


def test_several_choices_are_added_up_when_a_stream_is_cut() -> None:
    usage = Usage()
    rewriter = Rewriter(DIGEST, "medical", usage, "none")
    for index, completion in ((0, 1), (1, 1), (0, 2), (1, 2), (0, 3)):
        event = {
            "model": DIGEST,
            "choices": [{"index": index, "delta": {"content": "x"}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": completion, "total_tokens": 9},
        }
        rewriter.feed(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n")
    assert (usage.prompt, usage.completion) == (3, 5)
