"""Alarms while training: they are told, they stop it behind a checkpoint, and it can go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.training.events import read_events
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.objective import objective_table
from adapterworks.progress import Lines
from tests.builders.build_support import TinyJob
from tests.builders.training.test_rollouts import Make, job  # noqa: F401 – a fixture
from tests.builders.workshop import Workshop

pytestmark = pytest.mark.train

# No answer of a random base is as certain as this asks for.
RINGING = {"entropy": 99.0, "patience": 3}
CHRF = {"rewards": ["chrf"]}


def alarms(made: TinyJob) -> list[dict[str, Any]]:
    events = read_events(made.folder / "events.jsonl")
    return [
        {key: value for key, value in event.items() if key not in ("event", "time")}
        for event in events
        if event["event"] == "alarm"
    ]


def steps(made: TinyJob) -> list[int]:
    events = read_events(made.folder / "events.jsonl")
    return [event["step"] for event in events if event["event"] == "step"]


def with_alarms(made: TinyJob, **settings: Any) -> TinyJob:
    """The same training with other alarms: its folder, its checkpoints."""
    manifest = made.plan.manifest
    table = manifest.objective.model_dump(mode="json") | {"alarms": settings}
    kind = objective_table(manifest.objective.kind)
    objective = kind.model_validate_json(json.dumps(table))
    return made.with_plan(manifest=manifest.model_copy(update={"objective": objective}))


def test_an_alarm_stops_the_training_and_it_goes_on_from_there(job: Make) -> None:  # noqa: F811
    """It ends with the weights of one that was never stopped, whatever the alarm was set to."""
    whole = job("whole", objective={**CHRF, "alarms": {"action": "off"}})
    whole.run()
    made = job("stopped", objective={**CHRF, "alarms": RINGING})
    with pytest.raises(Refused, match=r"stopped at step 3: .* nats a token, they are") as failed:
        made.run()
    assert "`adapters samples tiny` shows the answers" in (failed.value.hint or "")
    assert steps(made) == [1, 2, 3]
    (alarm,) = alarms(made)
    assert (alarm["name"], alarm["step"], alarm["action"]) == ("entropy", 3, "stop")
    assert alarm["limit"] == 99.0
    checkpoints = sorted(path.name for path in (made.folder / "checkpoints").glob("step-*"))
    assert checkpoints == ["step-00000003"]
    with pytest.raises(Refused, match="stopped at step 4"):
        made.run()
    healthy = with_alarms(made, entropy=0.0)
    result = healthy.run()
    assert steps(made) == [1, 2, 3, 4, 5, 6]
    expected = whole.adapter()
    assert all((tensor == made.adapter()[name]).all() for name, tensor in expected.items())
    assert [one["step"] for one in result.alarms] == [3, 4]


def test_a_warning_is_said_and_ends_in_the_result(job: Make) -> None:  # noqa: F811
    made = job(objective={**CHRF, "alarms": {**RINGING, "action": "warn"}})
    result = made.run()
    assert steps(made) == [1, 2, 3, 4, 5, 6]
    (alarm,) = alarms(made)
    assert [dict(one) for one in result.alarms] == [alarm]
    said: list[str] = []
    Lines(said.append)({"event": "alarm", "time": 0.0, **alarm})
    assert said == [f"alarm at step 3: {alarm['message']}"]


def test_at_the_last_step_there_is_nothing_left_to_stop(job: Make) -> None:  # noqa: F811
    made = job(objective={**CHRF, "alarms": {"entropy": 99.0, "patience": 6}})
    result = made.run()
    (alarm,) = result.alarms
    assert (alarm["step"], alarm["action"]) == (6, "warn")


def test_alarms_that_are_off_see_nothing(job: Make) -> None:  # noqa: F811
    made = job(objective={**CHRF, "alarms": {**RINGING, "action": "off"}})
    assert made.run().alarms == []
    assert alarms(made) == []


def test_entropy_is_of_all_that_was_sampled(job: Make) -> None:  # noqa: F811
    """Also of groups that are skipped: answers that are all one have equal rewards."""
    made = job(objective={"rewards": ["exact_match"], "alarms": {**RINGING, "action": "warn"}})
    made.run()
    events = [e for e in read_events(made.folder / "events.jsonl") if e["event"] == "step"]
    idle = [event for event in events if event["skipped_groups"] == 4]
    assert idle, "every group was learnt from"
    assert all(event["entropy"] > 1.0 for event in idle)


def test_report_and_card_say_so_and_show_the_curves(workshop: Workshop) -> None:
    """Beside the loss: reward, divergence, length and entropy."""
    table = (
        '[objective]\nkind = "grpo"\nrewards = ["chrf"]\ngenerations = 3\nmax_completion = 4\n'
        'beta = 0.1\n[objective.alarms]\naction = "warn"\nentropy = 99.0\npatience = 2\n'
    )
    built = workshop.json(workshop.manifest(epochs=2, rate=5e-3, more=table))
    (alarm,) = built["report"]["training"]["alarms"]
    assert (alarm["name"], alarm["step"]) == ("entropy", 2)
    registry = workshop.registry()
    card = registry.read(built["digest"], "README.md").decode()
    assert f"- alarm at step 2 (warn): {alarm['message']}" in card
    assert "![what was sampled](plots/samples.png)" in card
    picture = registry.read(built["digest"], "plots/samples.png")
    assert picture.startswith(b"\x89PNG")


def test_a_build_that_samples_nothing_has_no_such_picture(workshop: Workshop) -> None:
    built = workshop.json(workshop.manifest(epochs=1))
    registry = workshop.registry()
    assert "plots/samples.png" not in registry.read(built["digest"], "README.md").decode()
    files = [str(path) for path in registry.release(built["digest"]).files]
    assert not [path for path in files if "samples" in path]


def test_the_curves_are_those_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told, by step; an alarm marks the curve that it belongs to and no other."""
    from adapterworks.builders.publishing import plots

    drawn: dict[str, Any] = {}
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.update(figure=figure))
    events = [
        {"event": "step", "step": 1, "reward": 0.1, "length": 5.0, "entropy": 2.0},
        {"event": "step", "step": 2, "reward": 0.4, "length": 6.0, "entropy": 1.0, "kl": 0.2},
        {"event": "validation", "step": 2, "reward": 9.0},
        {"event": "alarm", "step": 2, "name": "length_growth"},
    ]
    plots.draw_samples(events, tmp_path / "samples.png")
    reward, kl, length, entropy = drawn["figure"].axes
    assert [axes.get_ylabel().split("\n")[0] for axes in drawn["figure"].axes] == [
        "reward",
        "kl",
        "length",
        "entropy",
    ]
    curves = {axes: axes.lines[0].get_xydata().tolist() for axes in (reward, kl, entropy)}
    assert curves[reward] == [[1.0, 0.1], [2.0, 0.4]]
    assert curves[kl] == [[2.0, 0.2]]
    assert curves[entropy] == [[1.0, 2.0], [2.0, 1.0]]
    assert [len(axes.lines) for axes in (reward, kl, length, entropy)] == [1, 1, 2, 1]
    plots.draw_samples([e for e in events if "kl" not in e], tmp_path / "samples.png")
    assert len(drawn["figure"].axes) == 3, "no reference, no divergence"
