"""Defects in what is learnt from a batch: layouts that leak, losses of the wrong sign or count."""

from __future__ import annotations

from bench.mutants.mutant import Named

_TESTS = "tests/builders/objectives"
_SCORING = f"{_TESTS}/test_scoring.py"
_OBJECTIVE = f"{_TESTS}/test_objective.py"
_SFT = f"{_TESTS}/test_sft.py"
_PREFERENCES = f"{_TESTS}/test_preferences.py"
# Another distribution's objective, which the tests bring along as somebody else would.
_DPO = f"{_TESTS}/acme_preferences.py"
_BATCH = "builders/objectives/batch.py"
_SCORE = "builders/objectives/scoring.py"

NAMED = (
    Named(
        "the-losss-sign-is-turned",
        "builders/objectives/sft.py",
        "return Loss(-scores.logprobs.sum(), float(len(scores.logprobs)))",
        "return Loss(scores.logprobs.sum(), float(len(scores.logprobs)))",
        (f"{_SFT}::test_sum_and_count_are_the_formulas",),
        "answers would become less likely",
    ),
    Named(
        "a-loss-is-a-mean-already",
        "builders/objectives/sft.py",
        "return Loss(-scores.logprobs.sum(), float(len(scores.logprobs)))",
        "return Loss(-scores.logprobs.mean(), float(len(scores.logprobs)))",
        (f"{_SFT}::test_sum_and_count_are_the_formulas",),
        "the gradient would depend on how a step is cut into micro batches",
        "builders 5",
    ),
    Named(
        "weights-multiply-the-loss-alone",
        "builders/objectives/sft.py",
        "return Loss(-(weights * scores.logprobs).sum(), float(weights.sum()))",
        "return Loss(-(weights * scores.logprobs).sum(), float(len(weights)))",
        (f"{_SFT}::test_sum_and_count_are_the_formulas",),
        "weights that are all one half would halve the learning rate",
    ),
    Named(
        "an-example-counts-its-first-token",
        "builders/objectives/sft.py",
        "learnt = [label != IGNORED for label in sequence.labels[1:]]\n"
        '    weights = sequence.columns.get(_WEIGHTS)\n    if weights is None:\n        return',
        "learnt = [label != IGNORED for label in sequence.labels[1:]]\n"
        '    weights = sequence.columns.get(_WEIGHTS)\n    if weights is None:\n'
        "        learnt = [label != IGNORED for label in sequence.labels]\n        return",
        (f"{_SFT}::test_an_example_counts_its_supervised_tokens",),
        "a step of texts would be divided by more tokens than have a loss",
    ),
    Named(
        "rows-without-weights-have-none",
        "builders/objectives/sft.py",
        "ones = [1.0] * len(sequence.input_ids)",
        "ones = [0.0] * len(sequence.input_ids)",
        (f"{_SFT}::test_other_weights_are_a_column_of_every_example",),
        "beside one row with a weight no other would be learnt",
    ),
    Named(
        "a-label-is-predicted-by-its-own-token",
        _SCORE,
        "logits = model(**inputs, logits_to_keep=columns + virtual_tokens).logits",
        "logits = model(**inputs, logits_to_keep=columns + 1 + virtual_tokens).logits",
        (f"{_SCORING}::test_virtual_tokens_push_the_positions_on",),
        "labels shifted by one: the model would be taught to repeat",
    ),
    Named(
        "virtual-tokens-push-nothing-on",
        _SCORE,
        "logits_to_keep=columns + virtual_tokens",
        "logits_to_keep=columns",
        (f"{_SCORING}::test_virtual_tokens_push_the_positions_on",),
        "prompt tuning would learn from the wrong positions",
    ),
    Named(
        "a-mask-is-not-given",
        _SCORE,
        'inputs["attention_mask"] = batch.attention_mask',
        "pass",
        (f"{_TESTS}/test_batch.py::test_scores_do_not_depend_on_the_layout",),
        "rows behind a shared beginning would see each other",
    ),
    Named(
        "positions-are-not-given",
        _SCORE,
        'inputs["position_ids"] = batch.position_ids',
        "pass",
        (f"{_TESTS}/test_batch.py::test_scores_do_not_depend_on_the_layout",),
        "packed rows would see each other",
    ),
    Named(
        "losses-are-taken-in-half-precision",
        _SCORE,
        "cross_entropy(logits[kept].float(), chosen[kept]",
        "cross_entropy(logits[kept], chosen[kept]",
        (f"{_SCORING}::test_logits_of_half_precision_are_added_up_in_float32",),
        "over a vocabulary of 128,000 bfloat16 loses the small probabilities",
    ),
    Named(
        "a-columns-value-is-its-neighbours",
        _SCORE,
        "{name: column[:, 1:][:, columns][kept] for",
        "{name: column[:, :-1][:, columns][kept] for",
        (f"{_SCORING}::test_a_label_is_predicted_by_the_token_before_it",),
        "weights and reference log-probabilities would belong to another token",
    ),
    Named(
        "a-packed-rows-first-token-is-predicted-from-another",
        _BATCH,
        "        masked[skip] = IGNORED",
        "        pass",
        (f"{_SCORING}::test_packed_rows_follow_each_other_and_count_from_nought",),
        "the first token of a text would be learnt from the end of another",
    ),
    Named(
        "positions-go-on-in-a-packed-row",
        _BATCH,
        "torch.cat([torch.arange(len(sequence.input_ids)) for sequence in sequences])\n    # The",
        "torch.arange(sum(len(sequence.input_ids) for sequence in sequences))\n    # The",
        (f"{_SCORING}::test_packed_rows_follow_each_other_and_count_from_nought",),
        "packed rows would see each other, at positions they are never served at",
    ),
    Named(
        "groups-see-each-other",
        _BATCH,
        "seen = past & ((groups[None, :] == groups[:, None]) | (groups[None, :] == 0))",
        "seen = past",
        (f"{_SCORING}::test_behind_what_is_shared_each_sees_it_and_itself_alone",),
        "a row would be answered with another row's answer before its eyes",
    ),
    Named(
        "what-is-shared-is-not-seen",
        _BATCH,
        "seen = past & ((groups[None, :] == groups[:, None]) | (groups[None, :] == 0))",
        "seen = past & (groups[None, :] == groups[:, None])",
        (f"{_SCORING}::test_behind_what_is_shared_each_sees_it_and_itself_alone",),
        "rows would be trained without their system prompt",
    ),
    Named(
        "the-future-is-seen",
        _BATCH,
        "dtype=torch.bool).tril()",
        "dtype=torch.bool)",
        (f"{_SCORING}::test_behind_what_is_shared_each_sees_it_and_itself_alone",),
        "every token would be predicted with itself before its eyes",
    ),
    Named(
        "padding-is-learnt",
        _BATCH,
        "torch.full(shape, pad), torch.full(shape, IGNORED)",
        "torch.full(shape, pad), torch.full(shape, pad)",
        (f"{_SCORING}::test_padding_stands_on_the_right_and_is_not_seen",),
        "short rows would be learnt as endless repetitions of the padding",
    ),
    Named(
        "every-token-belongs-to-the-first-sequence",
        _BATCH,
        "torch.full((len(sequence.input_ids) - skip,), number)",
        "torch.full((len(sequence.input_ids) - skip,), 0)",
        (f"{_SCORING}::test_a_label_is_predicted_by_the_token_before_it",),
        "of a pair both answers would be summed as the chosen one",
    ),
    Named(
        "a-value-stays-behind",
        _BATCH,
        "values={name: value.to(device) for name, value in self.values.items()},",
        "values={},",
        (f"{_SCORING}::test_a_batch_moves_whole",),
        "an objective that reads values would fail on a GPU only",
    ),
    Named(
        "answers-are-paired-across-rows",
        "builders/objectives/examples.py",
        "return list(zip(*encoded, strict=True))",
        "return list(zip(*(part[at:] + part[:at] for at, part in enumerate(encoded)), "
        "strict=True))",
        (f"{_OBJECTIVE}::test_answers_are_encoded_best_first_and_stay_with_their_row",),
        "a chosen answer would be compared with the rejected one of another question",
    ),
    Named(
        "answers-are-encoded-worst-first",
        "builders/objectives/examples.py",
        "for number in range(answers)",
        "for number in reversed(range(answers))",
        (f"{_OBJECTIVE}::test_answers_are_encoded_best_first_and_stay_with_their_row",),
        "preferences would be learnt the wrong way round",
    ),
    Named(
        "lower-is-always-better",
        "builders/objectives/objective.py",
        "return value > best if self.higher_is_better else value < best",
        "return value < best",
        (f"{_OBJECTIVE}::test_better_is_lower_or_higher_but_never_equal",),
        "of a training of pairs the worst checkpoint would be kept",
    ),
    Named(
        "an-equal-value-is-better",
        "builders/objectives/objective.py",
        "else value < best",
        "else value <= best",
        (f"{_OBJECTIVE}::test_better_is_lower_or_higher_but_never_equal",),
        "a training that stands still would never be stopped",
    ),
    Named(
        "pairs-pass-for-conversations",
        "builders/objectives/objective.py",
        "            if row.kind not in self.takes:",
        "            if row.kind not in self.takes and row.kind != \"comparison\":",
        (f"{_OBJECTIVE}::test_what_would_be_ignored_is_refused_by_its_number",),
        "rejected answers would be ignored without a word",
    ),
    Named(
        "dpos-sign-is-turned",
        _DPO,
        "margins = BETA * (chosen - rejected)",
        "margins = BETA * (rejected - chosen)",
        (f"{_PREFERENCES}::test_the_loss_and_its_gradient_are_the_papers",),
        "the rejected answer would be preferred",
    ),
    Named(
        "dpos-reference-is-swapped",
        _DPO,
        'scores.by_sequence(scores.logprobs - scores.columns["reference"])',
        'scores.by_sequence(scores.columns["reference"] - scores.logprobs)',
        (f"{_PREFERENCES}::test_the_loss_and_its_gradient_are_the_papers",),
        "policy and reference log-probabilities swapped: both answers go the wrong way",
    ),
    Named(
        "dpo-forgets-its-reference",
        _DPO,
        'scores.by_sequence(scores.logprobs - scores.columns["reference"])',
        "scores.by_sequence(scores.logprobs)",
        (f"{_PREFERENCES}::test_the_loss_and_its_gradient_are_the_papers",),
        "nothing would hold the policy near its base",
    ),
)  # fmt: skip
