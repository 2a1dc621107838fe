"""A sweep: what would let the best of many pass by luck, or draw other trials than it says."""

from __future__ import annotations

from bench.mutants.mutant import Named

_SWEEP, _SPACE = "builders/sweeping/sweep.py", "builders/sweeping/space.py"
_TRIALS, _STUDY = "builders/sweeping/trials.py", "builders/sweeping/study.py"
_OF_SWEEP = "tests/builders/sweeping/test_sweep.py"
_OF_SPACE = "tests/builders/sweeping/test_space.py"

NAMED: tuple[Named, ...] = (
    Named(
        "a-gate-is-as-wide-as-of-one-build",
        _SWEEP,
        "    return 1 - (1 - confidence) / trials",
        "    return 1 - (1 - confidence) / min(trials, 1)",
        (f"{_OF_SWEEP}::test_bonferroni",),
        "the best of fifty would pass by luck",
    ),
    Named(
        "the-winner-need-not-pass",
        _SWEEP,
        'if one.state == "built" and one.passed]',
        'if one.state == "built"]',
        (f"{_OF_SWEEP}::test_the_winner_has_passed_its_gates",),
        "gates would be for show",
    ),
    Named(
        "high-is-always-better",
        _SWEEP,
        "    sign = 1 if found.higher_is_better else -1",
        "    sign = 1",
        (f"{_OF_SWEEP}::test_a_metric_that_should_be_low",),
        "the worst perplexity would win",
    ),
    Named(
        "every-trial-is-drawn-from-the-same-chance",
        _STUDY,
        "np.random.default_rng([sweep.seed, number])",
        "np.random.default_rng([sweep.seed])",
        (f"{_OF_SWEEP}::test_trials_come_nearer_and_the_bad_are_ended_early",),
        "five trials would be one",
    ),
    Named(
        "what-was-under-way-is-forgotten",
        _STUDY,
        "            study.enqueue_trial(trial.params)\n",
        "            pass\n",
        (f"{_OF_SWEEP}::test_one_of_several_that_was_killed_is_built_on",),
        "hours of a half-done training would be for nothing",
    ),
    Named(
        "a-second-process-takes-over-a-sweep",
        _STUDY,
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        (f"{_OF_SWEEP}::test_a_sweep_is_run_by_one_process_at_a_time",),
        "the first one's trainings would be drawn again, and it would end with what they came to",
    ),
    Named(
        "what-is-edited-goes-into-the-old-sweep",
        _TRIALS,
        "        same = sweep.digest == begun",
        "        same = bool(sweep.digest)",
        (f"{_OF_SWEEP}::test_a_sweep_ends_where_its_manifest_is_edited",),
        "trials of two manifests would be compared as if they were of one",
    ),
    Named(
        "a-trial-that-is-ended-takes-other-sweeps-builds-with-it",
        _TRIALS,
        '        if record is not None and record["digests"]["publish"] == plan:',
        "        if record is not None:",
        (f"{_OF_SWEEP}::test_a_half_done_build_of_a_trial_is_removed_and_no_other",),
        "a training of another sweep would lose its folder while it runs",
    ),
    Named(
        "an-interrupted-sweep-queues-its-trials-twice",
        "adapterworks/workers/reattach.py",
        "            labels={ON: str(where), **labels},",
        "            labels={},",
        (
            "tests/workers/test_reattach.py::test_a_sweep_that_was_interrupted_takes_up_what_it_queued",
        ),
        "a night of a cluster would be computed twice",
    ),
    Named(
        "an-edited-manifest-fails-a-trial-for-good",
        "adapterworks/cli/sweep.py",
        "        if job.code == detached.MANIFEST_CHANGED:",
        "        if False:",
        ("tests/workers/test_reattach.py::test_a_manifest_that_was_edited_is_no_fault_of_a_trial",),
        "settings that were never tried would be kept as failed",
    ),
    Named(
        "what-cannot-be-built-now-was-tried",
        _TRIALS,
        "    except (Conflict, Unavailable):\n        raise\n    except AdapterworksError",
        "    except AdapterworksError",
        (f"{_OF_SWEEP}::test_what_cannot_be_built_now_was_not_tried",),
        "a search would be chosen among the settings that others left memory for",
    ),
    Named(
        "a-validation-counts-as-often-as-it-is-passed",
        _TRIALS,
        '        if event["step"] <= last:',
        "        if False:",
        (f"{_OF_SWEEP}::test_a_validation_that_is_passed_again_counts_once",),
        "a build that goes on from its checkpoint would be ended for what it was before",
    ),
    Named(
        "nobody-is-ended-early",
        _TRIALS,
        "                raise Pruned",
        "                pass",
        (f"{_OF_SWEEP}::test_trials_come_nearer_and_the_bad_are_ended_early",),
        "a sweep would cost three times what it says",
    ),
    Named(
        "a-corrected-file-is-the-old-one",
        _SWEEP,
        "digest_json([declared, self.rows, *rules])",
        "digest_json([declared, *rules])",
        (f"{_OF_SWEEP}::test_another_sweep_has_a_study_of_its_own",),
        "settings would be chosen by rows that are not there any more",
    ),
    Named(
        "a-range-of-magnitudes-is-drawn-evenly",
        _SPACE,
        "self.high / self.low >= 10",
        "self.high / self.low > 10",
        (f"{_OF_SPACE}::test_ranges",),
        "nine of ten learning rates would be of the largest magnitude",
    ),
    Named(
        "small-spaces-are-drawn-twice",
        _SPACE,
        "    if size(space) > _MOST_POINTS:",
        "    if size(space) < _MOST_POINTS:",
        (f"{_OF_SWEEP}::test_all_of_a_small_space_is_tried",),
        "a grid of six would be tried in part",
    ),
    Named(
        "budgets-of-a-sweep-are-those-of-one-build",
        "builders/sweeping/sweep.py",
        "if _has_budget(plain) else []",
        "if not plain.evaluate.gates else []",
        (
            "tests/builders/sweeping/test_sweep.py::test_budgets_are_held_to_the_confidence_of_gates",
        ),
        "of many trials one would keep a budget by luck, and be the best",
    ),
    Named(
        "a-budget-is-judged-at-95",
        "builders/evaluation/retention.py",
        "*_changes(base, candidate, confidence), confidence)",
        "*_changes(base, candidate, CONFIDENCE), confidence)",
        (
            "tests/builders/evaluation/test_evaluate.py"
            "::test_a_budget_is_judged_at_its_own_confidence_and_told_at_the_reports",
        ),
        "the confidence that a manifest asks for would be said and not kept",
    ),
)
