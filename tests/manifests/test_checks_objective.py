"""Keys of `[objective]` that contradict others, or that nothing would read, are refused."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.manifests.load import check_manifest

SAMPLED = '[objective]\nrewards = ["exact_match"]\n'
JUDGE = '[objective.judge]\nendpoint = "http://localhost/v1#judge"\n'
SCORE_MODEL = (
    '[[objective.graders]]\ntype = "score_model"\nname = "helpful"\nmodel = "judge"\n'
    'input = [{ role = "user", content = "{{sample.output_text}}" }]\n'
)
KINDS = ("sft", "dpo", "kto", "orpo", "simpo", "reward", "grpo", "rloo")
TABLES = {
    kind: (SAMPLED if kind in ("grpo", "rloo") else "[objective]\n") + f'kind = "{kind}"\n'
    for kind in KINDS
}
PAIRS = [
    ('train = "rows/train.jsonl"', 'train = "rows/train.jsonl"\nformat = "preference"'),
    ('test = "icd-10-cm:test"\n', ""),
    ('[[evaluate.gates]]\nmetric = "exact_match"\n', ""),
]
FORMATS: dict[str, list[tuple[str, str]]] = {
    kind: [] if kind in ("sft", "grpo", "rloo") else PAIRS for kind in KINDS
}
CASES = [
    # (name, changes, extra, key, words of the message, what mends it)
    *(
        (
            f"{kind}-{key}",
            [],
            f'{SAMPLED}kind = "{kind}"\n{key} = {value}\n',
            f"objective.{key}",
            words,
            ("[objective]\n", f"[objective]\n{mend}\n"),
        )
        for kind in ("grpo", "rloo")
        for key, value, words, mend in (
            ("reference", '"base"', "held near nothing", "beta = 0.1"),
            ("max_start_distance", "0.5", "held near nothing", "beta = 0.1"),
            ("reward_release_weight", "0.5", "no `reward_release`", 'reward_release = "r@1"'),
        )
    ),
    (
        "alarm-without-reference",
        [],
        f'{SAMPLED}kind = "grpo"\n[objective.alarms]\nkl = 1.0\n',
        "objective.alarms.kl",
        "no reference to be far from",
        ("[objective]\n", "[objective]\nbeta = 0.1\n"),
    ),
    *(
        (
            f"judge-{key}",
            [],
            f'{SAMPLED}kind = "grpo"\n{JUDGE}kind = "{kind}"\n{key} = 2\n{more}',
            f"objective.judge.{key}",
            words,
            (f'kind = "{kind}"\n{key}', f'kind = "pointwise"\n{key}'),
        )
        for kind, key, words, more in (
            ("graders", "weight", "no reward of its own", SCORE_MODEL),
            ("pairwise", "asks", "once in each order", ""),
        )
    ),
    *(
        (
            f"{kind}-noise",
            [("epochs = 3", "epochs = 3\nneftune_alpha = 5.0"), *FORMATS[kind]],
            TABLES[kind],
            "train.neftune_alpha",
            "by chance",
            (TABLES[kind], TABLES[learnt]),
        )
        for kind, learnt in (("dpo", "orpo"), ("kto", "orpo"), ("grpo", "sft"))
    ),
    *(
        (
            f"{kind}-last",
            [("epochs = 3", 'epochs = 3\nloss_on = "last"'), *FORMATS[kind]],
            TABLES[kind],
            "train.loss_on",
            "learns each answer whole",
            None,
        )
        for kind in ("dpo", "kto", "orpo", "simpo", "reward", "grpo", "rloo")
    ),
    *(
        (
            f"safety-off-{key}",
            [],
            f"[evaluate.safety]\n{key} = {value}\n",
            f"evaluate.safety.{key}",
            "refusals are not measured",
            ("[evaluate.safety]\n", "[evaluate.safety]\non = true\n"),
        )
        for key, value in (
            ("max_refusal_loss", "0.1"),
            ("max_over_refusal", "0.1"),
            ("limit", "30"),
            ("max_new_tokens", "32"),
        )
    ),
    (
        "no-suites",
        [],
        "[evaluate.retention]\non = true\nsuites = []\nmax_suite_loss = 0.2\n",
        "evaluate.retention.max_suite_loss",
        "no suite is scored",
        ("suites = []", 'suites = ["hellaswag"]'),
    ),
]


@pytest.mark.parametrize(
    ("changes", "extra", "key", "words", "mended"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_what_is_refused_and_what_mends_it(
    write: Any,
    changes: list[tuple[str, str]],
    extra: str,
    key: str,
    words: str,
    mended: tuple[str, str] | None,
) -> None:
    """One fault each, with a hint; mended, the manifest has none."""
    (fault,) = check_manifest(write(*changes, extra=extra))[1]
    assert fault.key == key
    assert words in fault.message
    assert fault.hint
    if mended is None:
        return
    assert mended[0] in extra
    assert check_manifest(write(*changes, extra=extra.replace(*mended)))[1] == ()


def test_a_judge_that_a_grader_asks_too_is_asked_several_times(write: Any) -> None:
    extra = f'{SAMPLED}kind = "grpo"\n{JUDGE}kind = "pairwise"\nasks = 2\n{SCORE_MODEL}'
    assert check_manifest(write(extra=extra))[1] == ()
