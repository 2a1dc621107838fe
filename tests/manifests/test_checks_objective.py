"""Keys of `[objective]` that contradict others, or that nothing would read, are refused."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.manifests.load import check_manifest

SAMPLED = '[objective]\nrewards = ["exact_match"]\n'
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
