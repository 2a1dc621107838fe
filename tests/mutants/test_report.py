"""What a run says of its verdicts, and which seeds it takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.mutants.judge import Outcome, Verdict, faults
from bench.mutants.report import document, survivors, table
from bench.mutants.seeds import NoSeeds, chosen, head, seeds_of

COMMIT = "00000a0000100001ff" + "f" * 22


def verdict(area: str, outcome: Outcome = "killed", seed: int | None = None) -> Verdict:
    kind = "named" if seed is None else "generated"
    return Verdict(kind, area, "n", "f.py", 3, "a < b", "a <= b", outcome, 0.5, seed=seed, tests=2)  # type: ignore[arg-type]


def of(area: str, killed: int, survived: int, seed: int | None = None) -> list[Verdict]:
    return [
        *(verdict(area, "killed", seed) for _ in range(killed)),
        *(verdict(area, "survived", seed) for _ in range(survived)),
    ]


def test_a_commits_seeds_are_its_first_groups_of_six_digits() -> None:
    assert seeds_of(COMMIT, 3) == [0x0A, 0x10, 0x1FF]
    assert seeds_of(COMMIT, 1) == [10]
    assert seeds_of(COMMIT, 6)[3:] == [0xFFFFFF] * 3
    for count in (0, 7, -1):
        with pytest.raises(NoSeeds, match="1 to 6 seeds"):
            seeds_of(COMMIT, count)


def test_without_a_seed_they_are_those_of_the_commit(tmp_path: Path) -> None:
    with pytest.raises(NoSeeds, match="no commit"):
        chosen(None, 3, tmp_path)
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    for command in (("init", "-q"), (*who, "commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run(("git", "-C", str(tmp_path), *command), check=True, capture_output=True)
    commit = head(tmp_path)
    assert len(commit) == 40
    assert chosen([], 2, tmp_path) == (seeds_of(commit, 2), f"of commit {commit[:12]}")


def test_seeds_that_are_named_are_taken_once_each(tmp_path: Path) -> None:
    assert chosen([7, 3, 7], 1, tmp_path) == ([7, 3], "as asked for")


def test_the_table_counts_by_area_and_seed() -> None:
    verdicts = [
        *of("limits", 3, 1), *of("limits", 2, 0, 11), verdict("limits", "timeout", 12),
        *of("refs", 1, 0), *of("refs", 1, 2, 11), verdict("refs", "error", 12),
    ]  # fmt: skip
    assert [line.split() for line in table(verdicts)] == [
        ["area", "named", "seed", "11", "seed", "12"],
        ["limits", "3/4", "75%", "2/2", "100%", "1/1", "100%"],
        ["refs", "1/1", "100%", "1/3", "33%", "-"],
        ["all", "4/5", "80%", "3/5", "60%", "1/1", "100%"],
    ]
    assert len(table(of("refs", 1, 0))) == 2


def test_the_document_has_the_counts_and_every_verdict() -> None:
    verdicts = [*of("limits", 3, 1), *of("limits", 2, 1, 11), verdict("limits", "error", 11)]
    found = document(verdicts, ["a fault"], seeds=[11], source="as asked for")
    assert found["areas"] == {
        "limits": {"named": {"killed": 3, "of": 4}, "11": {"killed": 2, "of": 3}}
    }
    assert (found["seeds"], found["seeds_are"], found["problems"]) == (
        [11],
        "as asked for",
        ["a fault"],
    )
    assert [v["outcome"] for v in found["verdicts"]] == [v.outcome for v in verdicts]


def test_survivors_are_listed_with_their_lines_and_what_was_killed_is_not() -> None:
    assert survivors([verdict("limits")]) == []
    listed = "\n".join(survivors([verdict("limits", "survived", 11)]))
    assert "f.py:3  generated `n`, seed 11, 2 tests\n    - a < b\n    + a <= b" in listed
    assert "Hung" in "\n".join(survivors([verdict("limits", "timeout")]))


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (of("limits", 19, 1), []),
        (of("limits", 18, 1), ["limits, named: 95% killed, less than 95%"]),  # 94.7
        (of("limits", 9, 1, 11), []),
        (of("limits", 8, 1, 11), ["limits, seed 11: 89% killed, less than 90%"]),
        # A seed is not helped by another one, nor an area by another.
        ([*of("limits", 8, 1, 11), *of("limits", 99, 0, 12), *of("refs", 99, 0, 11)],
         ["limits, seed 11: 89% killed, less than 90%"]),
        ([*of("limits", 8, 1, 11), *of("limits", 0, 1)],
         ["limits, seed 11: 89% killed, less than 90%", "limits, named: 0% killed, less than 95%"]),
        ([verdict("limits", "timeout")], []),
        ([verdict("limits", "error")], ["n: "]),
    ],
)  # fmt: skip
def test_a_run_fails_by_area_and_seed(verdicts: list[Verdict], expected: list[str]) -> None:
    assert faults(verdicts) == expected
