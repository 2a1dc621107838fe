"""What a plan predicted stands beside what was measured, of the same process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.builders.building import sequence


@pytest.mark.parametrize(("planned", "predicted"), [({}, 50), ({"engine": 30}, 20)])
def test_an_engine_beside_the_training_is_not_what_was_measured(
    planned: dict[str, int], predicted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a process of its own: the peak is the training's."""
    monkeypatch.setattr(sequence, "train_stage", lambda *_, **__: {"peak_memory": 21})
    prepared: Any = SimpleNamespace(plan=SimpleNamespace(memory={"total": 50, **planned}))
    given: Any = SimpleNamespace(engines=None, cards=())
    events: Any = None
    found = sequence._trained(prepared, tmp_path, 0, events, given)
    assert found["memory"] == {"predicted": predicted, "measured": 21}
