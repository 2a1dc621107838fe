"""What ends an answer of a release ends it in the engine of an export too."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from adapterworks.builders.exports import proof
from adapterworks.builders.exports.gguf import tokenizer
from adapterworks.builders.exports.ollama import stop_tokens
from adapterworks.builders.exports.onnx import folder
from adapterworks.builders.exports.readers.onnx_runtime import ends_told
from adapterworks.builders.exports.turns import Turns
from adapterworks.manifests.errors import Refused
from tests.builders.exports.conftest import OPTIONS
from tests.builders.exports.models import make_model
from tests.builders.exports.test_proof import export, left
from tests.builders.merging.conftest import Shelf, make_shelf

# `</s>` is the tokenizer's; the others are ordinary tokens that no engine could guess.
ENDS = (1, 5, 40)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """As Llama 3 and Qwen are published: the configuration names one, generation's names more."""
    base = make_model(tmp_path / "model")
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": list(ENDS[1:])}))
    return base


@pytest.fixture
def shelf(tmp_path: Path, checkpoint: Path) -> Shelf:
    shelf = make_shelf(tmp_path, checkpoint)
    shelf.publish("one", 1, **OPTIONS)
    return shelf


@pytest.mark.parametrize("form", ["gguf", "gguf-lora", "merged", "peft"])
def test_an_export_ends_where_the_release_does(shelf: Shelf, form: str) -> None:
    done = export(shelf, form, type_="f32")
    assert done.proof is not None
    assert (done.proof.ends, done.proof.same_ends) == (3, 3)


@pytest.mark.parametrize("form", ["gguf", "gguf-lora"])
def test_ends_that_gguf_does_not_name_are_seen(
    shelf: Shelf, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "_add_ends", lambda writer, ids: writer.add_eos_token_id(ids[0]))
    with pytest.raises(Refused, match="goes on after 2 of 3 tokens that end an answer"):
        export(shelf, form, type_="f32")
    assert left(shelf) == []


@pytest.mark.slow  # the exporter takes ten seconds
@pytest.mark.parametrize("form", ["onnx", "onnx-lora"])
def test_a_generator_is_told_of_all_ends(shelf: Shelf, form: str) -> None:
    done = export(shelf, form, type_="f32")
    assert done.proof is not None
    assert (done.proof.ends, done.proof.same_ends) == (3, 3)
    told = json.loads((done.place / "genai_config.json").read_text())["model"]
    assert told["eos_token_id"] == list(ENDS)


@pytest.mark.slow  # the exporter takes ten seconds
@pytest.mark.parametrize("form", ["onnx", "onnx-lora"])
def test_ends_that_a_generator_is_not_told_of_are_seen(
    shelf: Shelf, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = folder.genai_config
    monkeypatch.setattr(folder, "genai_config", lambda config, ends: given(config, ends[:1]))
    with pytest.raises(Refused, match="goes on after 2 of 3 tokens that end an answer"):
        export(shelf, form, type_="f32")
    assert left(shelf) == []


def test_a_modelfile_stops_at_all_control_tokens_of_them(checkpoint: Path) -> None:
    """Not at the text of an ordinary one, which may be part of any word."""
    (checkpoint / "generation_config.json").write_text('{"eos_token_id": [5, 0]}')
    turns = Turns("", {"assistant": ("", "\n")}, "", "")
    assert stop_tokens(checkpoint, turns) == ["</s>", "<s>"]


def test_one_end_or_several_in_what_generators_are_told(tmp_path: Path) -> None:
    for said, ends in ((7, {7}), ([7, 8], {7, 8})):
        table = {"model": {"eos_token_id": said}}
        (tmp_path / "genai_config.json").write_text(json.dumps(table))
        assert ends_told(tmp_path) == ends


class Scripted:
    """A reader that gives one answer; as the reference, its control tokens and ends besides."""

    name, version = "scripted", "1"
    control = frozenset({0, 1})
    ends = (1, 5)

    def __init__(self, answer: Sequence[int]) -> None:
        self.answer = list(answer)

    def greedy(self, token_ids: Sequence[int], count: int) -> list[int]:
        return self.answer

    def next_tokens(
        self, token_ids: Sequence[int], lengths: Sequence[int], count: int
    ) -> list[dict[int, float]]:
        """Its answer's tokens are certain, but that 8 is as likely as 9."""
        tie = {8: math.log(0.5), 9: math.log(0.5)}
        return [tie if said == 8 else {said: 0.0} for said in (*self.answer, 6)[: len(lengths)]]


@pytest.mark.parametrize(
    ("wanted", "given", "same"),
    [
        ([7, 8, 1], [7, 8, 1], True),
        ([7, 8, 1], [7, 8], True),  # the end token is left out
        ([7, 8, 5], [7, 8], True),  # also where it is an ordinary one
        ([7, 8, 1], [7, 8, 1, 6], False),  # it goes on after the end
        ([7, 8, 5], [7, 8, 5, 6], False),
        ([7, 8, 6], [7, 8], False),  # it ends too early
        ([7, 0, 6], [7], True),  # at another control token, where no text goes on
        ([7, 8, 6], [7, 9, 1], True),  # what follows a tie is not compared
        ([7, 8, 8], [7, 6, 8], False),
    ],
)
def test_answers_that_are_the_same(wanted: list[int], given: list[int], same: bool) -> None:
    compare: Callable[..., bool] = proof._same_answer
    assert compare(Scripted(given), Scripted(wanted), [2, 3], 0.01, 4) is same


def test_answers_that_were_both_cut_are_the_same() -> None:
    given, wanted = Scripted([7, 6]), Scripted([7, 6])
    assert proof._same_answer(given, wanted, [2, 3], 0.01, 2)  # type: ignore[arg-type]
    assert not proof._same_answer(given, wanted, [2, 3], 0.01, 3)  # type: ignore[arg-type]
