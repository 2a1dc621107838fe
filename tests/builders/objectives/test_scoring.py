"""Scores of a model that is a table: every log-probability is known beforehand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.objectives.batch import (
    Batch,
    TokenSequence,
    behind_shared,
    packed,
    padded,
)
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.scoring import score, without_method

VOCABULARY = 6
# What a token is followed by: row t has the logits after token t.
TABLE = torch.tensor(
    [[0.3 * ((3 * t + 5 * n) % 7) for n in range(VOCABULARY)] for t in range(VOCABULARY)]
)


class Bigram:
    """A language model whose next token depends on the present one alone; notes what it is given.

    With `virtual` tokens it puts as many positions of nonsense in front, as prompt tuning does.
    """

    def __init__(self, virtual: int = 0) -> None:
        self.virtual = virtual
        self.given: dict[str, Any] = {}

    def __call__(self, *, input_ids: torch.Tensor, **inputs: Any) -> Any:
        self.given = inputs
        nonsense = torch.full((len(input_ids), self.virtual, VOCABULARY), 9.0)
        logits = torch.cat((nonsense, TABLE[input_ids]), dim=1)
        return SimpleNamespace(logits=logits[:, inputs["logits_to_keep"]])


def follows(*pairs: tuple[int, int]) -> list[float]:
    """log p(second | first) of each pair, from the table."""
    return [float(TABLE[one].log_softmax(-1)[other]) for one, other in pairs]


def sequence(ids: list[int], learnt: set[int], number: float = 0.0) -> TokenSequence:
    """With labels at some positions, a column that counts its positions, and a value."""
    tokens = torch.tensor(ids)
    labels = torch.tensor([id_ if at in learnt else IGNORED for at, id_ in enumerate(ids)])
    return TokenSequence(
        tokens, labels, {"at": 10.0 * number + torch.arange(len(ids))}, {"number": number}
    )


ONE = sequence([1, 2, 3, 4, 5], {2, 4}, 1.0)
OTHER = sequence([1, 2, 0, 3], {3}, 2.0)
EXPECTED = follows((2, 3), (4, 5), (0, 3))


@pytest.mark.parametrize("layout", [lambda rows: padded(rows, 0), packed, behind_shared])
def test_a_label_is_predicted_by_the_token_before_it(layout: Any) -> None:
    """Labels that stand one off would teach a model to repeat, or to skip."""
    scores = score(Bigram(), layout([ONE, OTHER]))
    assert scores.logprobs.tolist() == pytest.approx(EXPECTED, abs=1e-6)
    assert scores.owners.tolist() == [0, 0, 1]
    assert scores.columns["at"].tolist() == [12.0, 14.0, 23.0]
    assert scores.values["number"].tolist() == [1.0, 2.0]
    assert scores.sequences == 2
    assert scores.lengths().tolist() == [2.0, 1.0]
    sums = [EXPECTED[0] + EXPECTED[1], EXPECTED[2]]
    assert scores.by_sequence(scores.logprobs).tolist() == pytest.approx(sums, abs=1e-6)


def test_logits_are_asked_for_where_a_label_is_and_nowhere_else() -> None:
    """Position t predicts the label of t + 1: of five positions, these three."""
    model = Bigram()
    score(model, padded([ONE, OTHER], 0))
    assert model.given["logits_to_keep"].tolist() == [1, 2, 3]
    assert model.given["use_cache"] is False
    single = Bigram()
    score(single, padded([OTHER], 0))
    assert single.given["logits_to_keep"].tolist() == [2]


def test_virtual_tokens_push_the_positions_on() -> None:
    model = Bigram(virtual=3)
    scores = score(model, padded([ONE, OTHER], 0), virtual_tokens=3)
    assert model.given["logits_to_keep"].tolist() == [4, 5, 6]
    assert scores.logprobs.tolist() == pytest.approx(EXPECTED, abs=1e-6)


def test_masks_and_positions_are_given_where_there_are_any() -> None:
    """A mask of None is not none at all to every model."""
    given = {}
    for name, batch in (
        ("padded", padded([ONE, OTHER], 0)),
        ("packed", packed([ONE, OTHER])),
        ("shared", behind_shared([ONE, OTHER])),
    ):
        model = Bigram()
        score(model, batch)
        given[name] = model.given.keys() & {"attention_mask", "position_ids"}
    assert given == {
        "padded": {"attention_mask"},
        "packed": {"position_ids"},
        "shared": {"attention_mask", "position_ids"},
    }


def test_logits_of_half_precision_are_added_up_in_float32() -> None:
    class Half(Bigram):
        def __call__(self, **inputs: Any) -> Any:
            return SimpleNamespace(logits=super().__call__(**inputs).logits.bfloat16())

    scores = score(Half(), padded([ONE], 0))
    assert scores.logprobs.dtype == torch.float32
    expected = [
        float(TABLE[one].bfloat16().float().log_softmax(-1)[other])
        for one, other in ((2, 3), (4, 5))
    ]
    assert scores.logprobs.tolist() == pytest.approx(expected, abs=1e-6)


def test_padding_stands_on_the_right_and_is_not_seen() -> None:
    batch = padded([ONE, OTHER], 5)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5], [1, 2, 0, 3, 5]]
    assert batch.labels[1].tolist() == [IGNORED, IGNORED, IGNORED, 3, IGNORED]
    assert batch.attention_mask is not None
    assert batch.attention_mask.tolist() == [[1] * 5, [1, 1, 1, 1, 0]]
    assert batch.attention_mask.dtype == torch.long
    assert batch.position_ids is None
    assert batch.owners.tolist() == [[0] * 5, [1] * 5]
    assert batch.columns["at"][1].tolist() == [20.0, 21.0, 22.0, 23.0, 0.0]


def test_packed_rows_follow_each_other_and_count_from_nought() -> None:
    whole = [sequence([1, 2, 3], {0, 1, 2}), sequence([4, 5], {0, 1})]
    batch = packed(whole)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5]]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1]]
    assert batch.attention_mask is None
    # The first label of each is masked: what stands before it is another's end.
    assert batch.labels.tolist() == [[IGNORED, 2, 3, IGNORED, 5]]
    assert whole[1].labels.tolist() == [4, 5], "the sequence itself is as it was"
    assert batch.owners.tolist() == [[0, 0, 0, 1, 1]]


def test_behind_what_is_shared_each_sees_it_and_itself_alone() -> None:
    """`1` is shared: the token before the first label of one of them is its own."""
    batch = behind_shared([ONE, OTHER])
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5, 2, 0, 3]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 3, IGNORED, 5, IGNORED, IGNORED, 3]]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 1, 2, 3]]
    assert batch.owners.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]]
    assert batch.columns["at"].tolist() == [[0.0, 11, 12, 13, 14, 21, 22, 23]]
    assert batch.attention_mask is not None
    assert batch.attention_mask.shape == (1, 1, 8, 8)
    assert batch.attention_mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0],
        [1, 0, 0, 0, 0, 1, 0, 0],
        [1, 0, 0, 0, 0, 1, 1, 0],
        [1, 0, 0, 0, 0, 1, 1, 1],
    ]


def test_one_sequence_alone_can_be_laid_out_in_every_way() -> None:
    for batch in (padded([ONE], 0), packed([ONE]), behind_shared([ONE])):
        scores = score(Bigram(), batch)
        assert scores.logprobs.tolist() == pytest.approx(EXPECTED[:2], abs=1e-6)


def test_a_batch_moves_whole() -> None:
    for batch in (padded([ONE, OTHER], 0), packed([ONE, OTHER]), behind_shared([ONE, OTHER])):
        moved: Batch = batch.to("meta")
        assert moved.sequences == 2
        for name in ("input_ids", "labels", "owners", "attention_mask", "position_ids"):
            before, after = getattr(batch, name), getattr(moved, name)
            assert (before is None) == (after is None)
            assert after is None or (after.device.type, after.shape) == ("meta", before.shape)
        for table in (moved.columns, moved.values):
            assert {value.device.type for value in table.values()} == {"meta"}
        assert moved.columns.keys() == {"at"}
        assert moved.values.keys() == {"number"}


def test_sums_by_sequence_have_a_place_for_those_without_a_token() -> None:
    scores = Scores(torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([2, 0, 2]), 4)
    assert scores.by_sequence(scores.logprobs).tolist() == [-2.0, 0.0, -5.0, 0.0]
    assert scores.lengths().tolist() == [1.0, 0.0, 2.0, 0.0]


def test_without_the_method_a_model_is_its_base() -> None:
    """A model that is trained whole has no adapter to leave out."""
    left: list[str] = []

    class Adapted:
        def disable_adapter(self) -> Any:
            left.append("adapter")
            return "a context"

    assert without_method(Adapted()) == "a context"
    assert left == ["adapter"]
    with without_method(object()) as nothing:
        assert nothing is None
