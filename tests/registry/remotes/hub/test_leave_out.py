"""What a push leaves out, decided from the record and the facts alone."""

from __future__ import annotations

import pytest

from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.releases.absence import Absence
from adapterworks.registry.releases.release import FileEntry, Release
from adapterworks.registry.remotes.leaving import leave_out
from tests.registry.releases import draft

PREDICTIONS = "predictions.jsonl"
PRIVATE = (PREDICTIONS, "samples/1.jsonl")
ERASED = Absence("erased", "2026-11-28T00:00:00Z", "dpo", "withdrawn")


def record(withhold: tuple[str, ...] | None = None, **files: str) -> Release:
    """A release of files named by their paths' own text, or by another's for a twin."""
    paths = ["adapter/a.safetensors", "report.json", "samples/1.jsonl", PREDICTIONS, *files]
    entries = {
        path: FileEntry.at(path, digest=f"sha256:{files.get(path, path)}", size=1) for path in paths
    }
    return Release.from_draft(draft(withhold=withhold), entries)


@pytest.mark.parametrize(
    ("stated", "withhold", "include", "expected"),
    [
        (None, (), (), {PREDICTIONS, "samples/1.jsonl"}),
        (None, (), (PREDICTIONS,), {"samples/1.jsonl"}),
        (None, (), ("*",), set()),
        (None, ("report.*",), ("*.jsonl",), {"report.json"}),
        (None, (PREDICTIONS,), ("*",), {PREDICTIONS}),
        ((), (), (), {PREDICTIONS, "samples/1.jsonl"}),
        (("report.json",), (), ("s*",), {"report.json", PREDICTIONS}),
        (("report.json",), ("plots/*",), ("*.jsonl",), {"report.json"}),
    ],
)
def test_who_says_what_stays(
    stated: tuple[str, ...] | None,
    withhold: tuple[str, ...],
    include: tuple[str, ...],
    expected: set[str],
) -> None:
    assert leave_out(record(stated), {}, withhold, include, PRIVATE).keys() == expected


def test_erased_files_stay_out_whoever_asks() -> None:
    assert leave_out(record(()), {PREDICTIONS: ERASED}, (), ("*",), PRIVATE) == {
        PREDICTIONS: ERASED
    }


def test_a_twin_of_a_withheld_file_does_not_carry_its_bytes_there() -> None:
    twin = record(**{"plots/copy.txt": PREDICTIONS})
    assert "plots/copy.txt" in leave_out(twin, {}, (), (), PRIVATE)
    weights = record(**{"servable/copy.bin": PREDICTIONS})
    with pytest.raises(InvalidInput, match=r"`servable/copy\.bin`, which no release is without"):
        leave_out(weights, {}, (), (), PRIVATE)


def test_the_records_own_policy_is_not_asked_away() -> None:
    with pytest.raises(InvalidInput, match="withheld by the release's own record"):
        leave_out(record((PREDICTIONS,)), {}, (), (PREDICTIONS,), PRIVATE)
