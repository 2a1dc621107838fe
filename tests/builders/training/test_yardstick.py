"""TRL + PEFT take the same steps as we do, on the same batches in the same order."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.yardstick import METHODS, STEPS, TOLERANCE, compared, furthest

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.filterwarnings("ignore")
def test_losses_and_gradient_norms_are_trls(kind: str, tiny: Path, tmp_path: Path) -> None:
    ours, theirs = compared(tiny, tmp_path, kind)
    assert len(ours.losses) == len(theirs.losses) == STEPS
    assert ours.losses[-1] < ours.losses[0]
    assert furthest(ours.losses, theirs.losses) <= TOLERANCE
    assert furthest(ours.norms, theirs.norms) <= TOLERANCE
