"""Checkpoints between evaluations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from adapterworks.builders.training.saving import Saving
from tests.builders.build_support import manifest_for
from tests.builders.training.bench import Bench
from tests.builders.training.by_hand import Processes


def test_after_so_many_steps_since_the_last_one() -> None:
    saving, alone = Saving("3 steps"), Processes()
    found = []
    for _ in range(7):
        found.append(saving.due(alone))
        if found[-1]:
            saving.done()
    assert found == [False, False, True, False, False, True, False]


def test_after_so_many_minutes_by_the_first_processs_clock() -> None:
    now = [0.0]
    saving = Saving("2 minutes", lambda: now[0])
    for second, expected in ((119.0, False), (120.0, True), (121.0, True)):
        now[0] = second
        assert saving.due(Processes()) is expected
    assert not saving.due(Processes(2, 1, is_main_process=False)), "another one's is not asked"
    saving.done()
    assert not saving.due(Processes())


def test_a_training_saves_between_evaluations_and_goes_on_from_there(bench: Bench) -> None:
    plan = bench.plan(evaluations=1, save_every="2 steps")
    whole = bench.trainer(plan, "whole").run()
    assert [e["step"] for e in bench.events("checkpoint", "whole")] == [2, 4, 6, 8, 9]
    part = bench.trainer(plan, "part")

    def dying(indices: list[int], step: Callable[[list[int]], Any] = part._step) -> Any:
        if part.progress.step == 5:
            raise KeyboardInterrupt
        return step(indices)

    part._step = dying  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        part.run()
    resumed = bench.trainer(plan, "part")
    assert resumed.progress.step == 4
    assert resumed.run().train_loss == whole.train_loss
    assert bench.table("whole").equal(bench.table("part"))


@pytest.mark.parametrize("every", ["0 steps", "5", "5 hours", "-1 minutes", "1.5 minutes"])
def test_what_is_no_interval_is_refused(every: str) -> None:
    with pytest.raises(ValidationError):
        manifest_for("lora", save_every=every)
