"""Layouts of a micro batch: the same scores, in the same order, with their columns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adapterworks.builders.data.render import Encoded
from adapterworks.builders.objectives.batch import (
    Batch,
    TokenSequence,
    behind_shared,
    packed,
    packed_rows,
    padded,
)
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.objectives.scoring import score
from adapterworks.builders.training.batches import load_encoded, save_encoded

LENGTHS = (9, 5, 12, 6)


def sequences() -> list[TokenSequence]:
    """Rows of unequal length that begin alike; some tokens in between are not learnt."""
    generator = torch.Generator().manual_seed(3)
    rows = []
    for number, length in enumerate(LENGTHS):
        ids = torch.cat(
            (torch.tensor([0, 7, 8]), torch.randint(2, 250, (length,), generator=generator))
        )
        labels = ids.clone()
        labels[: 4 + number % 2] = -100
        labels[6] = -100
        column = torch.arange(len(ids)) + 100.0 * number
        rows.append(TokenSequence(ids, labels, {"place": column}, {"number": float(number)}))
    return rows


@pytest.fixture(scope="module")
def model(tiny: Path) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny).eval()


def test_scores_do_not_depend_on_the_layout(model: torch.nn.Module) -> None:
    rows = sequences()
    with torch.no_grad():
        alone = [score(model, padded([row], 1)) for row in rows]
        expected = torch.cat([one.logprobs for one in alone])
        for batch in (padded(rows, 1), packed(rows), behind_shared(rows), *in_rows(rows)):
            scores = score(model, batch)
            torch.testing.assert_close(scores.logprobs, expected, rtol=1e-4, atol=1e-5)
            assert scores.sequences == len(rows)
            learnt = [int((row.labels[1:] != -100).sum()) for row in rows]
            assert scores.lengths().tolist() == learnt
            places = [row.columns["place"][1:][row.labels[1:] != -100] for row in rows]
            assert torch.equal(scores.columns["place"], torch.cat(places))
            assert scores.values["number"].tolist() == [0.0, 1.0, 2.0, 3.0]
            sums = [float(one.logprobs.sum()) for one in alone]
            assert scores.by_sequence(scores.logprobs).tolist() == pytest.approx(sums, rel=1e-4)


def in_rows(rows: list[TokenSequence]) -> list[Batch]:
    return [packed_rows(rows, sizes, 1) for sizes in ([2, 2], [1, 3], [4], [1, 1, 1, 1])]


def test_rows_of_several_sequences_are_filled_up_with_what_nobody_sees() -> None:
    def of(*ids: int) -> TokenSequence:
        tokens = torch.tensor(ids)
        return TokenSequence(tokens, tokens.clone(), {"place": tokens.float()})

    batch = packed_rows([of(3, 4, 5), of(6, 7), of(8, 9)], [2, 1], 1)
    assert batch.input_ids.tolist() == [[3, 4, 5, 6, 7], [8, 9, 1, 1, 1]]
    assert batch.labels.tolist() == [[-100, 4, 5, -100, 7], [-100, 9, -100, -100, -100]]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1], [0, 1, 0, 1, 2]]
    assert batch.owners[0].tolist() == [0, 0, 0, 1, 1]
    assert batch.owners[1, :2].tolist() == [2, 2]
    assert batch.columns["place"].tolist() == [[3, 4, 5, 6, 7], [8, 9, 0, 0, 0]]
    assert (batch.sequences, batch.attention_mask) == (3, None)


def test_the_first_token_of_a_packed_text_is_not_predicted_from_another(
    model: torch.nn.Module,
) -> None:
    """Every token of a text is learnt, but nothing stands before its first."""
    rows = [TokenSequence(row.input_ids, row.input_ids.clone()) for row in sequences()]
    with torch.no_grad():
        alone = torch.cat([score(model, padded([row], 1)).logprobs for row in rows])
        together = score(model, packed(rows)).logprobs
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_sequence_does_not_move_when_another_does(model: torch.nn.Module) -> None:
    """A leak between sequences would be seen here, however small it is in a sum."""
    rows = sequences()
    other = rows[1].input_ids.clone()
    other[4:] = 200
    moved = [rows[0], TokenSequence(other, rows[1].labels, rows[1].columns, rows[1].values)]
    with torch.no_grad():
        for layout in (
            lambda r: padded(r, 1),
            packed,
            behind_shared,
            lambda r: packed_rows(r, [2], 1),
            lambda r: packed_rows(r, [1, 1], 1),
        ):
            before: Batch = layout(rows[:2])
            one, two = score(model, before), score(model, layout(moved))
            kept = one.owners == 0
            torch.testing.assert_close(one.logprobs[kept], two.logprobs[kept], rtol=0, atol=1e-6)
            assert not torch.allclose(one.logprobs[~kept], two.logprobs[~kept])


def test_named_columns_come_back_from_disk(tmp_path: Path) -> None:
    pairs = [
        Example(
            tuple(
                Encoded(
                    [*range(length)],
                    [-100, *range(1, length)],
                    row,
                    columns={"reference": [0.5 * length] * length},
                    values={"margin": row + 0.25},
                )
                for length in lengths
            ),
            count=1.0 + row,
        )
        for row, lengths in enumerate([(3, 4), (6, 2)])
    ]
    save_encoded(tmp_path / "x.safetensors", {"train": pairs, "validation": []})
    sets = load_encoded(tmp_path / "x.safetensors")
    assert len(sets["validation"]) == 0
    train = sets["train"]
    assert train.lengths == (7, 8)
    assert train.counts == (1.0, 2.0)
    for pair, example in zip(pairs, train.examples, strict=True):
        for given, sequence in zip(pair.sequences, example, strict=True):
            assert sequence.input_ids.tolist() == given.input_ids
            assert sequence.labels.tolist() == given.labels
            assert sequence.columns["reference"].tolist() == given.columns["reference"]
            assert sequence.values == given.values
