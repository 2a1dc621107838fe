"""What an objective says of itself, and what it refuses; answers as examples."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from adapterworks.builders.data.render import IGNORED, Encoded, render_prompt
from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.examples import Example, encode_answers
from adapterworks.builders.objectives.objective import Loss, Objective
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.objective import objective_table


class Plain(Objective):
    """What an objective is that says nothing beyond what it must."""

    name, title, source, unit = "plain", "a title", "a paper", "nats"
    takes = frozenset({"judged", "comparison"})

    def encode(self, tokenizer: Any, rows: Any, max_length: int, loss_on: Any) -> list[Example]:
        return []

    def losses(self, scores: Scores) -> Loss:
        return Loss(scores.logprobs.sum(), 1.0)


PLAIN, SFT = Plain(), OBJECTIVES["sft"]
PAIR = Row(chat("q", "good").messages, others=(({"role": "assistant", "content": "bad"},),))
JUDGED = Row(chat("q", "good").messages, scores=(0.5,))


def test_what_is_not_said_is_the_simplest() -> None:
    assert PLAIN.reports == "loss"
    assert (PLAIN.higher_is_better, PLAIN.reference, PLAIN.loss_on_all) == (False, False, False)
    assert PLAIN.sequences == 1
    assert PLAIN.describe("document") == PLAIN.describe("comparison") == "a title"


def test_fine_tuning_says_what_it_learns_from() -> None:
    assert SFT.describe("conversation") == "instruction tuning"
    assert SFT.takes == {"conversation", "document"}
    assert (SFT.sequences, SFT.reference, SFT.loss_on_all) == (1, False, True)
    assert (SFT.reports, SFT.higher_is_better) == ("loss", False)


def test_a_training_that_is_at_twice_its_beginning_and_one_more_has_diverged() -> None:
    assert PLAIN.diverged_above(3.0) == 7.0
    assert PLAIN.diverged_above(0.0) == 1.0


def test_better_is_lower_or_higher_but_never_equal() -> None:
    class Rising(Plain):
        higher_is_better = True

    assert [PLAIN.better(value, 2.0) for value in (1.9, 2.0, 2.1)] == [True, False, False]
    assert [Rising().better(value, 2.0) for value in (1.9, 2.0, 2.1)] == [False, False, True]


def test_rows_of_a_kind_that_it_takes_pass() -> None:
    SFT.require([chat("q", "a"), Row(text="plain")])
    PLAIN.require([PAIR, JUDGED])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (PAIR, "a comparison of answers, all but the first of which would be ignored"),
        (JUDGED, "a judged answer, whose judgement would be ignored"),
    ],
)
def test_what_would_be_ignored_is_refused_by_its_number(row: Row, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        SFT.require([chat("q", "a"), row])
    assert caught.value.message == (
        "objective `sft` learns from conversations and plain text; row 2 is "
        f"{said}: user: q | assistant: good"
    )
    with pytest.raises(InvalidInput, match="row 17 is"):
        SFT.require([chat("q", "a"), row.with_meta(row=17)])


@pytest.mark.parametrize(
    ("row", "said"), [(Row(text="t"), "plain text"), (chat("q", "a"), "a conversation of one")]
)
def test_rows_without_what_is_learnt_are_refused(row: Row, said: str) -> None:
    with pytest.raises(InvalidInput, match=f"comparisons of answers and judged .*1 is {said}"):
        PLAIN.require([row])


def test_a_weight_of_a_turn_multiplies_count_and_loss_alike() -> None:
    """Two tokens at a half and one at two: 0.5·1 + 0.5·3 + 2·2 nats over 3."""
    import torch

    scores = Scores(
        torch.tensor([-1.0, -3.0, -2.0]),
        torch.tensor([0, 0, 1]),
        2,
        {"weights": torch.tensor([0.5, 0.5, 2.0])},
    )
    loss = SFT.losses(scores)
    assert (float(loss.sum), loss.count, loss.metrics) == (6.0, 3.0, {})
    plain = SFT.losses(Scores(scores.logprobs, scores.owners, 2))
    assert (float(plain.sum), plain.count) == (6.0, 3.0)
    assert float(SFT.losses(Scores(scores.logprobs[:1], scores.owners[:1], 1)).sum) == 1.0


def test_an_example_adds_up_its_sequences() -> None:
    pair = Example(
        (
            Encoded([1, 2, 3], [IGNORED, 2, 3], row=4),
            Encoded([1, 2], [IGNORED, 2], row=4),
        ),
        1.0,
    )
    assert (pair.row, pair.tokens, pair.supervised) == (4, 5, 3)
    assert Example(pair.sequences[:1], 2.0).row == 4


@pytest.fixture(scope="module")
def byte_tokenizer(tiny: Any) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny)


def learnt(tokenizer: PreTrainedTokenizerBase, sequence: Encoded) -> str:
    return tokenizer.decode([label for label in sequence.labels if label != IGNORED])


@pytest.mark.parametrize("place", ["chosen", "rejected"])
@pytest.mark.parametrize("weight", [0.5, 2.0])
@pytest.mark.parametrize("name", ["dpo", "kto", "orpo", "simpo", "reward"])
def test_a_turns_weight_that_nothing_would_read_is_refused(
    name: str, weight: float, place: str
) -> None:
    """It was dropped, or ended the build where a row before it had none. 0 leaves a turn out."""

    def pair(number: float) -> Row:
        answers: dict[str, Any] = {
            which: ({"role": "assistant", "content": which, "weight": number if which == place
                     else 1.0},)
            for which in ("chosen", "rejected")
        }  # fmt: skip
        asked: Any = {"role": "user", "content": "q", "weight": 0.5}
        return Row((asked, *answers["chosen"]), {"row": 8}, others=(answers["rejected"],))

    objective = OBJECTIVES[name]
    objective.require([pair(1.0), pair(0.0)])
    with pytest.raises(InvalidInput, match=f"row 8 weighs a turn of an answer by {weight:g}, and"):
        objective.require([pair(1.0), pair(weight)])


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_where_answers_are_sampled_a_weight_says_nothing_either(name: str) -> None:
    row = Row(
        (
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a", "weight": 0.5},
        )
    )
    with pytest.raises(InvalidInput, match=r"row 1 weighs a turn of an answer by 0\.5"):
        OBJECTIVES[name].require([row])
    SFT.require([row])


def test_answers_are_encoded_best_first_and_stay_with_their_row(
    byte_tokenizer: PreTrainedTokenizerBase,
) -> None:
    rows = [
        Row(chat(f"q{n}", f"good{n}").messages, others=tuple(
            ({"role": "assistant", "content": f"{word}{n}"},) for word in ("bad", "worse")
        ))
        for n in range(2)
    ]  # fmt: skip
    found = encode_answers(byte_tokenizer, rows, 64, 2)
    assert [[learnt(byte_tokenizer, one) for one in pair] for pair in found] == [
        ["good0</s>", "bad0</s>"],
        ["good1</s>", "bad1</s>"],
    ]
    assert [[one.row for one in pair] for pair in found] == [[0, 0], [1, 1]]
    assert [len(one) for one in encode_answers(byte_tokenizer, rows, 64, 3)] == [3, 3]


LONG = "The question begins here and goes on for a while. " * 3


def compared(*answers: str, question: str = LONG) -> Row:
    own, *others = answers
    return Row(
        chat(question, own).messages,
        others=tuple(({"role": "assistant", "content": other},) for other in others),
    )


def asked(sequence: Encoded) -> list[int]:
    """What stands before the first label."""
    start = next(at for at, label in enumerate(sequence.labels) if label != IGNORED)
    return sequence.input_ids[:start]


def test_answers_that_are_compared_stand_behind_one_prompt(
    byte_tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Where the longer one does not fit, both lose the same: else the longer answers of all pairs
    would be those to the poorer questions."""
    rows = [compared("good " * 12, "bad"), compared("bad", "good"), compared("no", "yes " * 20)]
    wholes = encode_answers(byte_tokenizer, rows, 4096, 2)
    limit = len(wholes[0][0].input_ids) - 20
    found = encode_answers(byte_tokenizer, rows, limit, 2)
    assert [one.cut_prompt for pair in found for one in pair] == [20, 20, 0, 0, 40, 40]
    for number, pair in enumerate(found):
        assert asked(pair[0]) == asked(pair[1])
        assert [one.row for one in pair] == [number, number]
        assert [learnt(byte_tokenizer, one) for one in pair] == [
            learnt(byte_tokenizer, one) for one in wholes[number]
        ]
    alone = encode_answers(byte_tokenizer, rows[:1], limit, 1)
    assert asked(alone[0][0]) == asked(found[0][0])
    assert asked(found[1][0]) == asked(wholes[1][0]), "a pair that fits loses nothing"


@pytest.mark.parametrize("name", ["dpo", "kto", "reward"])
def test_every_objective_of_comparisons_asks_them_alike(
    name: str, byte_tokenizer: PreTrainedTokenizerBase
) -> None:
    other = LONG.replace("question", "exercise")  # as long, in bytes
    rows = [compared("good " * 12, "bad"), compared("bad", "good " * 9, question=other)]
    question = len(byte_tokenizer(LONG, add_special_tokens=False).input_ids)
    objective = OBJECTIVES[name].configured(objective_table(name).model_validate({"kind": name}))
    examples = objective.encode(byte_tokenizer, rows, question + 30, "completion")
    for number in range(len(rows)):
        own = [one for example in examples if example.row == number for one in example.sequences]
        assert len({one.cut_prompt for one in own}) == 1, [one.cut_prompt for one in own]
        assert own[0].cut_prompt > 0


@pytest.mark.parametrize("name", ["grpo", "rloo", "ppo"])
def test_what_is_sampled_is_asked_whole_whatever_its_own_answer(
    name: str, byte_tokenizer: PreTrainedTokenizerBase
) -> None:
    """The answer is read by rewards alone: no room is made for it, and nothing of it is cut."""
    rows = [chat(LONG, "a worked solution. " * 30), chat(LONG, "42")]
    tokens = [render_prompt(byte_tokenizer, row.prompt) for row in rows]
    examples = OBJECTIVES[name].encode(byte_tokenizer, rows, len(tokens[0]) + 1, "completion")
    for example, prompt in zip(examples, tokens, strict=True):
        (sequence,) = example.sequences
        assert asked(sequence) == prompt
        assert (len(sequence.input_ids), sequence.cut, sequence.cut_prompt) == (
            len(prompt) + 1,
            0,
            0,
        )
    (short, _) = OBJECTIVES[name].encode(byte_tokenizer, rows, len(tokens[0]) - 9, "completion")
    assert len(asked(short.sequences[0])) == len(tokens[0]) - 10
    assert short.sequences[0].cut_prompt == 10


def test_of_an_answer_of_several_turns_the_first_is_asked_for(
    byte_tokenizer: PreTrainedTokenizerBase,
) -> None:
    turns: Any = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": "more"},
        {"role": "assistant", "content": "second"},
    ]
    ((sequence,), *_) = [
        example.sequences
        for example in OBJECTIVES["grpo"].encode(
            byte_tokenizer, [Row(tuple(turns), answer_turns=3)], 64, "completion"
        )
    ]
    assert asked(sequence) == render_prompt(byte_tokenizer, turns[:1])
    assert sequence.unlearnt == 0


def test_weights_of_one_row_make_a_column_of_all(byte_tokenizer: PreTrainedTokenizerBase) -> None:
    """What is cut away and where the row stood stay known; a count leaves the first token out."""
    half = Row(
        (
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "ab", "weight": 0.5},
        )
    )
    long = chat("q", "x" * 100)
    one, other, text = SFT.encode(byte_tokenizer, [half, long, Row(text="abc")], 32, "completion")
    assert one.count == 3 * 0.5
    (cut,) = other.sequences
    assert (cut.row, cut.cut) == (1, 101 - sum(label != IGNORED for label in cut.labels))
    assert cut.cut > 0
    assert cut.columns["weights"] == [1.0] * 32
    assert text.count == 3.0, "of a, b, c and the end, the first is predicted by nothing"
    assert text.sequences[0].labels == text.sequences[0].input_ids
