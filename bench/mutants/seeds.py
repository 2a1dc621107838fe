"""Which seeds a run draws its generated mutants by.

Invariant: by default a commit has its own seeds, read off its hash: whoever writes the tests cannot
choose them, and whoever asks again on the same commit gets the same mutants.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.mutants.mutant import ROOT

DIGITS = 6  # hexadecimal ones, of which each seed is made
MOST = 40 // DIGITS


class NoSeeds(Exception):
    """There is no commit to take them from, or it has not so many."""


def seeds_of(commit: str, count: int) -> list[int]:
    """The first groups of six digits of a commit's hash, as numbers.

    Raises:
        NoSeeds: a hash has six such groups.
    """
    if not 1 <= count <= MOST:
        raise NoSeeds(
            f"a commit's hash gives 1 to {MOST} seeds, not {count}: name them, `--seed N`"
        )
    return [int(commit[at : at + DIGITS], 16) for at in range(0, count * DIGITS, DIGITS)]


def head(root: Path = ROOT) -> str:
    """The hash of the commit that is checked out.

    Raises:
        NoSeeds: this is no checkout, or has no commit.
    """
    command = ("git", "-C", str(root), "rev-parse", "--verify", "HEAD")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoSeeds("no commit is checked out here to take seeds from: `--seed N`") from error
    return done.stdout.strip()


def chosen(named: Sequence[int] | None, count: int, root: Path = ROOT) -> tuple[list[int], str]:
    """The seeds that were named, or so many of the commit's; and where they are from, in words.

    Raises:
        NoSeeds: none was named and the commit has none.
    """
    if named:
        return list(dict.fromkeys(named)), "as asked for"
    commit = head(root)
    return seeds_of(commit, count), f"of commit {commit[:12]}"
