"""Statistics, comparison and gates: a release deserves its alias by numbers, not by luck."""

from __future__ import annotations

from bench.mutants.mutant import Named

_STATISTICS = "builders/evaluation/statistics.py"
_COMPARISON = "builders/evaluation/comparison.py"
_GAIN = "builders/evaluation/gates/gain.py"
_GATE = "builders/evaluation/gates/gate.py"
_RETENTION = "builders/evaluation/gates/retention.py"
_TESTS = "tests/builders/evaluation"
_OF_STATISTICS = f"{_TESTS}/test_statistics.py"
_OF_COMPARISON = f"{_TESTS}/test_comparison.py"
_OF_GATES = f"{_TESTS}/test_gates.py"

NAMED = (
    Named(
        "the-first-row-is-never-drawn",
        _STATISTICS,
        "generator.integers(0, rows, size",
        "generator.integers(1, rows, size",
        (f"{_OF_STATISTICS}::test_every_row_is_drawn_as_often_as_any_other",),
        "intervals would say nothing about one row, and too much about the rest",
    ),
    Named(
        "the-same-resample-every-time",
        _STATISTICS,
        "draws = generator.integers(0, rows, size=(samples, rows))",
        "draws = np.repeat(generator.integers(0, rows, size=(1, rows)), samples, axis=0)",
        (_OF_STATISTICS,),
        "an interval of no width makes every gain significant",
    ),
    Named(
        "resamples-ignore-the-seed",
        _STATISTICS,
        "np.random.PCG64(seed)",
        "np.random.PCG64(0)",
        (f"{_OF_STATISTICS}::test_resamples_draw_as_many_rows_as_there_are_and_repeat_by_seed",),
        "the seed of the plan would decide nothing, and a lucky draw could not be told",
    ),
    Named(
        "a-bootstrap-without-resampling",
        _STATISTICS,
        "aggregate(weights @ statistics, weights.shape[1])",
        "aggregate(np.ones_like(weights) @ statistics, weights.shape[1])",
        (_OF_COMPARISON,),
        "every resample would be all rows: intervals of no width",
    ),
    Named(
        "one-tail-is-left-out-of-the-interval",
        _STATISTICS,
        "tail = (1 - confidence) / 2",
        "tail = 1 - confidence",
        (f"{_OF_STATISTICS}::test_an_interval_leaves_half_of_the_rest_on_each_side",),
        "a 95 % gate would be judged at 90 %",
    ),
    Named(
        "the-interval-is-the-mean",
        _STATISTICS,
        "return Interval(float(low), float(high))",
        "return Interval(float(values.mean()), float(high))",
        (_OF_STATISTICS, _OF_COMPARISON),
        "a gate would be judged by the gain, not by its lower bound",
    ),
    Named(
        "p-may-be-zero",
        _STATISTICS,
        "below = (np.count_nonzero(gains <= 0) + 1) / (samples + 1)",
        "below = np.count_nonzero(gains <= 0) / samples",
        (f"{_OF_STATISTICS}::test_a_bootstrap_p_is_twice_the_smaller_tail",),
        "no number of resamples can show that an event has no chance",
    ),
    Named(
        "p-is-always-one",
        _STATISTICS,
        "return float(min(1.0, 2 * min(below, above)))",
        "return 1.0",
        (f"{_OF_STATISTICS}::test_a_bootstrap_p_is_twice_the_smaller_tail",),
        "nothing would ever be significant; the only bound on false alarms was an upper one",
        source="builders.md §5",
    ),
    Named(
        "p-is-one-sided",
        _STATISTICS,
        "2 * min(below, above)",
        "min(below, above)",
        (f"{_OF_STATISTICS}::test_a_bootstrap_p_is_twice_the_smaller_tail",),
        "twice as many false gains as the report says",
    ),
    Named(
        "no-gain-counts-as-a-gain",
        _STATISTICS,
        "np.count_nonzero(gains <= 0)",
        "np.count_nonzero(gains < 0)",
        (f"{_OF_STATISTICS}::test_a_bootstrap_p_is_twice_the_smaller_tail",),
        "an adapter that changes nothing would be a significant improvement",
    ),
    Named(
        "mcnemar-counts-the-losses-as-gains",
        _STATISTICS,
        "lost = int(np.count_nonzero((candidate < 0.5) & (reference > 0.5)))",
        "lost = 0",
        (f"{_OF_STATISTICS}::test_mcnemar_counts_what_became_right_and_what_became_wrong",),
        "ten rows gained and ten lost would be significant",
    ),
    Named(
        "mcnemar-on-all-rows",
        _STATISTICS,
        "binomtest(min(gained, lost), gained + lost, 0.5)",
        "binomtest(min(gained, lost), len(reference), 0.5)",
        (f"{_OF_STATISTICS}::test_mcnemar_counts_what_became_right_and_what_became_wrong",),
        "rows on which both agree say nothing about which is better",
    ),
    Named(
        "holm-without-its-steps",
        _STATISTICS,
        "(len(p_values) - rank) * p_values[index]",
        "len(p_values) * p_values[index]",
        (f"{_OF_STATISTICS}::test_holm_worked_example",),
        "that is Bonferroni: it calls true gains chance",
    ),
    Named(
        "holm-is-not-monotone",
        _STATISTICS,
        "highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))",
        "highest = min(1.0, (len(p_values) - rank) * p_values[index])",
        (f"{_OF_STATISTICS}::test_holm_worked_example",),
        "a larger p could be corrected to a smaller one",
    ),
    Named(
        "subjects-are-resampled-apart",
        _COMPARISON,
        "name: bootstrap(stats, metric.aggregate, weights) for name, stats in statistics.items()",
        "name: bootstrap(stats, metric.aggregate, resample_weights(len(rows), samples, "
        "seed + (name == CANDIDATE))) for name, stats in statistics.items()",
        (f"{_OF_COMPARISON}::test_both_subjects_are_resampled_with_the_same_rows",),
        "gains would not be paired, and their intervals far too wide",
    ),
    Named(
        "lower-is-better-is-forgotten",
        _COMPARISON,
        "return 1 if self.metric.higher_is_better else -1",
        "return 1",
        (f"{_OF_COMPARISON}::test_values_and_gains_are_those_of_all_rows",),
        "a release whose perplexity rose would pass its gate",
    ),
    Named(
        "the-gain-of-the-interval-has-no-sign",
        _COMPARISON,
        "return self._sign * (self.samples[CANDIDATE] - self.samples[reference])",
        "return self.samples[CANDIDATE] - self.samples[reference]",
        (f"{_OF_COMPARISON}::test_intervals_are_percentiles_of_the_gain",),
        "the bound of a metric that should fall would be the wrong one",
    ),
    Named(
        "right-or-wrong-is-tested-by-bootstrap",
        _COMPARISON,
        "if self.metric.binary:",
        "if False:",
        (f"{_OF_COMPARISON}::test_a_right_or_wrong_metric_is_tested_by_what_changed",),
        "with few rows the bootstrap calls chance a gain, the exact test does not",
    ),
    Named(
        "the-gate-looks-at-the-gain",
        _GAIN,
        "passed = low >= gate.min_gain - ROUNDING",
        "passed = gain >= gate.min_gain - ROUNDING",
        (f"{_OF_GATES}::test_the_lower_bound_must_reach_the_gain_that_is_asked_for",),
        "half of all releases without any gain would pass",
    ),
    Named(
        "a-gate-has-a-confidence-of-its-own-and-another-is-taken",
        _GAIN,
        "comparison.gain_interval(gate.against, gate.confidence)",
        "comparison.gain_interval(gate.against, 0.95)",
        (f"{_OF_GATES}::test_the_bound_is_that_of_the_gates_own_confidence",),
        "who asks for 99.9 % would get 95",
    ),
    Named(
        "the-gate-looks-at-the-upper-bound",
        _GAIN,
        "gate.confidence).low",
        "gate.confidence).high",
        (f"{_OF_GATES}::test_the_lower_bound_must_reach_the_gain_that_is_asked_for",),
        "nearly everything would pass",
    ),
    Named(
        "perplexity-may-rise-by-points",
        _RETENTION,
        "increase = after / before - 1",
        "increase = (after - before) / 100",
        (f"{_OF_GATES}::test_perplexity_may_rise_by_the_budget",),
        "the budget against forgetting is relative",
    ),
    Named(
        "a-budget-forgives-nothing-or-everything",
        _RETENTION,
        "passed = before - after <= table.max_suite_loss + ROUNDING",
        "passed = after - before <= table.max_suite_loss + ROUNDING",
        (f"{_OF_GATES}::test_a_suite_may_lose_the_budget",),
        "a suite that collapses would be within its budget",
    ),
    Named(
        "one-gate-is-enough",
        _GATE,
        "return all(outcome.passed for outcome in outcomes)",
        "return any(outcome.passed for outcome in outcomes)",
        (f"{_OF_GATES}::test_all_gates_must_pass_and_none_is_passed",),
        "a release that forgot everything would be promoted for its metric",
    ),
)
