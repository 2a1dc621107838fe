"""What an evaluation takes for known, for passed and for asked; what it sends, and to whom."""

from __future__ import annotations

from bench.mutants.mutant import Named

_PAIRED = "builders/watching/paired.py"
_REFERENCES = "builders/watching/references.py"
_DIGESTS = "builders/plan/digests.py"
_NEEDS = "builders/evaluation/needs.py"
_UNJUDGED = "builders/evaluation/unjudged.py"
_OF_PAIRED = "tests/builders/watching/test_paired.py"
_OF_SHADOWED = "tests/builders/watching/test_shadowed.py"
_OF_EVALUATE = "tests/builders/evaluation/test_evaluate.py"
_OF_METRICS = "tests/builders/evaluation/test_metrics.py"
_OF_UNJUDGED = "tests/builders/evaluation/test_unjudged.py"

NAMED = (
    Named(
        "kept-scores-know-no-columns",
        _PAIRED,
        '"rows": asked_digest(rows),',
        '"rows": [row.digest for row in rows],',
        (f"{_OF_PAIRED}::test_scores_are_kept_under_all_that_decides_them",),
        "a watch would go on with what was right under another reference",
        quick=False,
    ),
    Named(
        "kept-scores-know-no-scorer",
        _PAIRED,
        '"scorer": scorer(name),',
        '"scorer": str(name),',
        (f"{_OF_PAIRED}::test_scores_are_kept_under_all_that_decides_them",),
        "a watch would mix the scores of two metrics",
        quick=False,
    ),
    Named(
        "a-watched-grader-has-lost-its-definition",
        _PAIRED,
        "            return one, metric\n",
        "            return metric.name, metric\n",
        (f"{_OF_PAIRED}::test_a_grader_of_the_manifest_is_watched",),
        "a release that is judged by graders could not be watched",
        quick=False,
    ),
    Named(
        "a-metric-that-refuses-rows-needs-no-reference",
        _REFERENCES,
        "    if metric.reads_columns:\n",
        "    if metric.reads_columns or metric.require is not None:\n",
        (f"{_OF_SHADOWED}::test_what_a_metric_cannot_score_is_left_out_with_the_reason",),
        "numbers would be compared with an empty answer, and all requests left out",
        quick=False,
    ),
    Named(
        "another-scorers-package-is-the-same-evaluation",
        _DIGESTS,
        '            **({"packages": dict(inputs.scorers)} if inputs.scorers else {}),\n',
        "",
        ("tests/builders/plan/test_digests.py::test_what_else_a_stage_depends_on",),
        "BLEU of another sacrebleu would be taken for this one's",
    ),
    Named(
        "other-cases-of-retention-are-the-same-answers",
        _DIGESTS,
        '            **({"packages": dict(inputs.asking)} if inputs.asking else {}),\n',
        "",
        ("tests/builders/plan/test_digests.py::test_what_else_a_stage_depends_on",),
        "what another package asks would be told as what this one asked",
    ),
    Named(
        "another-rewards-package-is-the-same-training",
        "builders/plan/plan.py",
        '                | ({"rewarding": self.rewarding} if self.rewarding else {}),\n',
        "                | {},\n",
        ("tests/builders/plan/test_digests.py::test_what_else_a_stage_depends_on",),
        "answers that another package rewarded would be taken for trained alike",
    ),
    Named(
        "pairs-meet-their-template-after-the-training",
        _NEEDS,
        "        encode_answers(tokenizer, rows, max_length, 2)\n",
        "        pass\n",
        (f"{_OF_EVALUATE}::test_what_an_evaluation_would_refuse_is_refused_before_a_training",),
        "a training of hours would end at a role that its template does not know",
    ),
    Named(
        "any-rule-is-a-rule",
        "builders/evaluation/metrics/code.py",
        " or rule not in reported_rules():\n",
        " or not rule.isalnum():\n",
        (
            f"{_OF_METRICS}"
            "::test_a_rule_that_ruff_does_not_know_is_refused_before_anything_is_asked",
        ),
        "a mistyped rule would end the evaluation after a training",
    ),
    Named(
        "a-budget-may-ask-what-no-rows-show",
        "builders/evaluation/retention.py",
        "        if budget is not None and budget + ROUNDING < least:\n",
        "        if budget is not None and budget + 1 < least:\n",
        (
            f"{_OF_EVALUATE}"
            "::test_a_budget_that_no_candidate_could_keep_is_refused_before_a_training",
        ),
        "no release could ever pass, and each would be trained to find that out",
    ),
    Named(
        "a-gate-that-was-not-asked-has-passed",
        _UNJUDGED,
        "(gate.against == PROD and no_prod)",
        "gate.against == PROD",
        (f"{_OF_UNJUDGED}::test_what_was_not_asked_judges_nothing",),
        "`eval --check` would pass a release that was never held against prod",
    ),
    Named(
        "the-lan-is-this-machine",
        "manifests/hosts.py",
        "        return False\n",
        '        return host != "api.openai.com"\n',
        ("tests/builders/plan/test_sent.py", "tests/manifests/test_hosts.py"),
        "rows would be said to stay here that go to another machine",
    ),
    Named(
        "methods-are-compared-on-nothing",
        "builders/comparing/compare.py",
        "    if not manifest.data.has_test:\n",
        "    if False:\n",
        (
            "tests/builders/comparing/test_compare.py"
            "::test_what_could_not_be_compared_is_refused_before_a_training",
        ),
        "every method would be trained before anybody says that there are no test rows",
    ),
    Named(
        "every-test-row-is-unseen",
        "builders/publishing/card.py",
        '    if not gate["rows"]:\n',
        "    if True:\n",
        (
            "tests/builders/publishing/test_card.py"
            "::test_whether_test_rows_were_seen_is_said_as_far_as_anything_looked",
        ),
        "a card would call rows unseen that the build found in its training",
    ),
    Named(
        "perplexities-of-two-tokenizers-are-compared",
        "builders/evaluation/tokenizers.py",
        "        if _scored(other, rows, max_length) != _scored(known, rows, max_length):\n",
        "        if not _scored(other, rows, max_length):\n",
        ("tests/builders/evaluation/test_tokenizers.py",),
        "the base with the longer tokens would lose, whatever it knows",
    ),
    Named(
        "losses-of-several-bases-decide-a-sweep",
        "builders/sweeping/sweep.py",
        'dimension.key == "base.model"',
        'dimension.key == "base"',
        (
            "tests/builders/sweeping/test_sweep.py"
            "::test_what_no_trial_could_be_is_refused_before_any_is_built",
        ),
        "trials would be ended early for the length of their base's tokens",
    ),
    Named(
        "rules-on-their-way-out-are-reported",
        "builders/data/linting.py",
        ' and "Removed" not in rule["status"]',
        "",
        (
            f"{_OF_METRICS}"
            "::test_a_rule_that_ruff_does_not_know_is_refused_before_anything_is_asked",
        ),
        "every answer would be clean of a rule that is reported as another",
    ),
    Named(
        "somebodys-own-score-is-a-share",
        "builders/evaluation/metrics/metric.py",
        ' and (self.binary or self.name in BUILTIN["metrics"])',
        "",
        (
            "tests/builders/evaluation/test_gates.py"
            "::test_a_gate_on_a_score_of_somebodys_own_may_ask_for_more_than_one",
        ),
        "a manifest with marks from 0 to 10 would be refused, though candidates pass its gate",
    ),
    Named(
        "a-corpus-score-is-a-mean",
        "builders/evaluation/gates/limit.py",
        " or not (metric.is_mean or metric.among is not None)",
        "",
        (
            "tests/builders/evaluation/test_gates.py"
            "::test_a_corpus_score_is_refused_no_sooner_than_its_own_interval_does",
        ),
        "a gate that a candidate passes would be refused before its training",
    ),
    Named(
        "a-limit-may-ask-what-no-rows-show",
        "builders/evaluation/gates/limit.py",
        "    if metric.higher_is_better and bounds.low < gate.limit - ROUNDING:\n",
        "    if metric.higher_is_better and bounds.low < gate.limit - 1:\n",
        (
            "tests/builders/evaluation/test_gates.py"
            "::test_a_gate_that_nobody_could_pass_is_refused_before_a_training",
        ),
        "a training of hours would end at a gate that its test rows could never pass",
    ),
    Named(
        "a-judge-is-shown-answers-in-silence",
        "builders/evaluation/releases.py",
        "            say(of_test_rows(len(rows), asked.table))\n",
        "            pass\n",
        ("tests/builders/evaluation/test_cli.py",),
        "rows would leave the machine, and nobody be told",
        quick=False,
    ),
    Named(
        "a-release-is-asked-what-it-answered-before",
        "builders/engines/session.py",
        "            subject.contents,\n            question.batch_size,",
        "            subject.digest,\n            question.batch_size,",
        (
            "tests/builders/engines/test_session.py"
            "::test_a_release_is_not_asked_what_it_answered_before_it_was_one",
        ),
        "each stage of a build would ask all rows of the one before it once more",
    ),
    Named(
        "a-budget-is-judged-again-at-the-confidence-of-before",
        "builders/evaluation/transfer.py",
        "        return [_judged(entry, confidence) for entry in found]",
        "        return [dict(entry) for entry in found]",
        (
            "tests/builders/evaluation/test_transfer.py"
            "::test_another_confidence_is_judged_of_what_is_kept",
        ),
        "a stricter budget would pass what it was asked to stop",
    ),
)
