"""A micro batch's way to its loss, and losses of validation rows: by token, without dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.batch import Batch
from adapterworks.builders.objectives.objective import Loss
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.training.forward import Forward, add, chunks
from adapterworks.manifests.errors import Refused
from tests.builders.training.by_hand import (
    LABELS,
    ROWS,
    Bigram,
    encoded_set,
    nats_and_gradient,
    table_of,
)

SFT = OBJECTIVES["sft"]
PAD = 6


def forward(bare: Bigram, **changes: Any) -> Forward:
    return replace(Forward(SFT, bare, bare, False, 0, PAD), **changes)


@pytest.mark.parametrize("micro_batch", [1, 2, 5])
def test_a_validation_loss_is_the_mean_over_all_labels_without_dropout(micro_batch: int) -> None:
    """Neither the mean over rows (3/15 of these are in one of five rows) nor that of dropout."""
    model = Bigram(dropout=0.5)
    model.train()
    table = table_of(model)
    values = forward(model).measured(encoded_set(), micro_batch)
    nats, _ = nats_and_gradient(table, range(5))
    assert values == {"loss": pytest.approx(nats / sum(LABELS), rel=1e-6)}
    assert [seen["training"] for seen in model.seen] == [False] * len(model.seen)
    assert [seen["gradient"] for seen in model.seen] == [False] * len(model.seen)
    by_row = sum(nats_and_gradient(table, [i])[0] / LABELS[i] for i in range(5)) / 5
    assert abs(by_row - nats / 15) > 0.05
    assert model.training, "the next step is taken with dropout again"


def test_validation_rows_are_taken_by_length() -> None:
    """Then little padding is computed: 3, 4 and 4, 6 and 8 tokens stand beside each other."""
    model = Bigram()
    forward(model).measured(encoded_set(), 2)
    assert [tuple(seen["input_ids"].shape) for seen in model.seen] == [(2, 4), (2, 6), (1, 8)]


def test_validation_rows_are_never_packed() -> None:
    model = Bigram()
    forward(model).measured(encoded_set(), 5)
    assert model.seen[0]["attention_mask"].sum(dim=1).tolist() == [3, 4, 4, 6, 8]


class WithMetrics(type(SFT)):  # type: ignore[misc]
    def losses(self, scores: Scores) -> Loss:
        return replace(super().losses(scores), metrics={"twice": -2 * scores.logprobs.sum()})


def test_metrics_of_validation_rows_are_divided_like_the_loss() -> None:
    model = Bigram()
    values = forward(model, objective=WithMetrics()).measured(encoded_set(), 2)
    assert values["twice"] == pytest.approx(2 * values["loss"])


def test_padding_is_masked_and_filled_with_the_given_token() -> None:
    model = Bigram()
    loss = forward(model).loss(encoded_set(), [0, 1], packing=False)
    ids, mask = model.seen[0]["input_ids"], model.seen[0]["attention_mask"]
    assert ids.tolist() == [[0, 3, 5, PAD, PAD, PAD], [*ROWS[1][0]]]
    assert mask.tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]
    assert loss.count == 5.0
    nats, _ = nats_and_gradient(table_of(model), [0, 1])
    assert float(loss.sum.detach()) == pytest.approx(nats, rel=1e-6)
    assert loss.sum.requires_grad


def test_packed_rows_are_one_row_whose_positions_begin_anew() -> None:
    model = Bigram()
    forward(model).loss(encoded_set(), [0, 2], packing=True)
    assert model.seen[0]["input_ids"].tolist() == [[0, 3, 5, 0, 1, 2, 2]]
    assert model.seen[0]["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2, 3]]
    assert "attention_mask" not in model.seen[0]


@pytest.mark.parametrize("packing", [False, True])
def test_rows_behind_what_they_share_are_one_row_with_a_mask_of_its_own(packing: bool) -> None:
    """Both begin with token 0. Each sees it and its own past, at the positions it has alone."""
    model = Bigram()
    rows = encoded_set((((0, 3, 5), 2), ((0, 1, 2, 2), 3)))
    loss = forward(model, shares_prefix=True).loss(rows, [0, 1], packing=packing)
    assert model.seen[0]["input_ids"].tolist() == [[0, 3, 5, 1, 2, 2]]
    assert model.seen[0]["position_ids"].tolist() == [[0, 1, 2, 1, 2, 3]]
    mask = model.seen[0]["attention_mask"].int()
    assert mask[0, 0].tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [1, 0, 0, 1, 1, 0],
        [1, 0, 0, 1, 1, 1],
    ]
    nats, _ = nats_and_gradient(table_of(model), [0, 1], (((0, 3, 5), 2), ((0, 1, 2, 2), 3)))
    assert float(loss.sum.detach()) == pytest.approx(nats, rel=1e-6)


@pytest.mark.parametrize(("soft_prompt", "expected"), [(False, "model"), (True, "bare")])
def test_a_soft_prompts_cache_goes_past_what_wraps_the_model(
    soft_prompt: bool, expected: str
) -> None:
    wrapped, bare = Bigram(), Bigram()
    both = {"model": wrapped, "bare": bare}
    rows = encoded_set((((0, 3, 5), 2), ((0, 1, 2, 2), 3)))
    made = Forward(SFT, wrapped, bare, soft_prompt, 0, PAD, shares_prefix=True)
    made.loss(rows, [0, 1], packing=False)
    assert {name for name, model in both.items() if model.seen} == {expected}
    replace(made, shares_prefix=False).loss(rows, [0, 1], packing=False)
    assert wrapped.seen, "rows that are padded go the usual way"


def test_logits_are_asked_for_where_a_label_is_behind_the_virtual_tokens() -> None:
    class Prompted(Bigram):
        """Two embeddings in front: its logits are two columns further."""

        def forward(self, input_ids: torch.Tensor, logits_to_keep: torch.Tensor, **i: Any) -> Any:
            return super().forward(input_ids, logits_to_keep - 2, **i)

    model = Prompted()
    loss = forward(model, virtual_tokens=2).loss(encoded_set(), [0, 1], packing=False)
    nats, _ = nats_and_gradient(table_of(model), [0, 1])
    assert float(loss.sum.detach()) == pytest.approx(nats, rel=1e-6)
    assert model.seen[0]["kept"].tolist() == [1, 2, 3, 4], (
        "column 0 predicts nothing that is learnt"
    )


@pytest.mark.parametrize("factor", [1 + 1.5e-4, 1 - 1.5e-4, 2.0])
def test_an_objective_that_counts_otherwise_is_refused(factor: float) -> None:
    """The step's sum is divided by what the examples said, so both have to agree."""

    class Miscounting(type(SFT)):  # type: ignore[misc]
        name = "miscounting"

        def losses(self, scores: Scores) -> Loss:
            loss = super().losses(scores)
            return replace(loss, count=loss.count * factor)

    made = forward(Bigram(), objective=Miscounting())
    with pytest.raises(Refused, match=r"`miscounting` counts .* encoded to count 5") as caught:
        made.loss(encoded_set(), [0, 1], packing=False)
    assert "`count`" in str(caught.value.hint)


def test_sums_of_weights_may_differ_by_their_rounding() -> None:
    class Rounded(type(SFT)):  # type: ignore[misc]
        def losses(self, scores: Scores) -> Loss:
            loss = super().losses(scores)
            return replace(loss, count=loss.count * (1 + 5e-5))

    assert forward(Bigram(), objective=Rounded()).loss(encoded_set(), [0], packing=False)


def test_the_base_is_asked_without_the_method_and_without_a_gradient() -> None:
    class Adapted(Bigram):
        adapted = True

        @contextmanager
        def disable_adapter(self) -> Iterator[None]:
            self.adapted = False
            yield
            self.adapted = True

        def forward(self, *args: Any, **inputs: Any) -> Any:
            assert not self.adapted
            return super().forward(*args, **inputs)

    model = Adapted()
    (one,), (other,) = encoded_set().chosen([0, 1])
    made = forward(model, virtual_tokens=9)
    with made.reference_policy("base", None):
        scores = made.plain_scores([one, other])
    assert made.has_method
    assert not model.seen[0]["gradient"]
    assert not scores.logprobs.requires_grad
    assert model.seen[0]["input_ids"][0].tolist() == [0, 3, 5, PAD, PAD, PAD]
    nats, _ = nats_and_gradient(table_of(model), [0, 1])
    assert float(-scores.logprobs.sum()) == pytest.approx(nats, rel=1e-6)


def test_a_batch_goes_where_the_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr(Batch, "to", lambda batch, device: sent.append(device) or batch)
    for changes in ({"packing": False}, {"packing": True}):
        forward(Bigram()).scores(encoded_set(), [0, 1], **changes)
    forward(Bigram(), shares_prefix=True).scores(encoded_set(), [0, 1], packing=False)
    forward(Bigram()).plain_scores(encoded_set().examples[0])
    assert sent == [torch.device("cpu")] * 4
    assert forward(Bigram().to("meta")).device == torch.device("meta")


def test_sums_are_by_name_and_pieces_are_of_a_size() -> None:
    summed: dict[str, float] = {}
    one = torch.tensor(1.5, requires_grad=True)
    add(summed, Loss(one, 1.0, {"a": one * 2}))
    add(summed, Loss(one * 3, 1.0, {"b": one}))
    assert summed == {"a": 3.0, "loss": 6.0, "b": 1.5}
    assert chunks([5, 6, 7, 8, 9], 2) == [[5, 6], [7, 8], [9]]
    assert chunks([5, 6], 2) == [[5, 6]]
    assert chunks([], 2) == []
