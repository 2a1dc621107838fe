"""`adapters apply` and `status` on real folders, with real trainings of a few seconds."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.reconciling.conftest import Ads, signs, why

pytestmark = pytest.mark.train
WEIGHTS = "adapter/adapter_model.safetensors"
GATE = '\n[[evaluate.gates]]\nmetric = "exact_match"\nmin_gain = 0.99\n'


def test_a_folder_of_three_is_built_changed_and_pruned(ads: Ads) -> None:
    for name, kind in (("alpha", "lora"), ("beta", "lora"), ("gamma", "prefix-tuning")):
        ads.declare(name, kind=kind)
    before = ads.json("apply", "--check", code=1)
    assert signs(before) == {"alpha": "+", "beta": "+", "gamma": "+"}
    assert ads.aliases() == {}  # it changed nothing

    applied = ads.json("apply")
    assert [(o["name"], o["result"]) for o in applied["outcomes"]] == [
        ("alpha", "built"),
        ("beta", "built"),
        ("gamma", "built"),
    ]
    assert ads.aliases() == {name: {"candidate": 1} for name in ("alpha", "beta", "gamma")}
    again = ads.json("apply", "--check")
    assert set(signs(again).values()) == {"="}
    assert ads.json("apply")["outcomes"] == []

    # One row, one setting: each adapter says what of it is stale.
    ads.change_row(7)
    ads.declare("beta", epochs=3)
    stale = ads.json("status")
    assert stale["differs"]
    assert why(stale, "alpha") == (
        "data changed: `data.train` train.jsonl: 24 rows, 1 changed (row 7)"
    )
    assert "training changed: `train.epochs` 2 → 3" in why(stale, "beta")
    assert ads.run("status").exit_code == 0
    table = ads.run("apply", "--check")
    assert table.exit_code == 1
    assert "~  alpha    @1       data changed" in table.stdout

    # A gate that cannot be passed: published, the alias stays, and the others have their turn.
    gate = '\n[[evaluate.gates]]\nmetric = "exact_match"\nmin_gain = 0.99\n'
    ads.declare("beta", epochs=3, more=gate)
    result = ads.run("apply")
    assert result.exit_code == 1
    assert ads.aliases() == {
        "alpha": {"candidate": 2},
        "beta": {"candidate": 1},
        "gamma": {"candidate": 2},
    }
    failed = ads.json("apply", "--check", code=1)
    assert signs(failed) == {"alpha": "=", "beta": "!", "gamma": "="}
    assert "gate failed: beta@2 is built, `candidate` stays: exact_match: gain" in why(
        failed, "beta"
    )

    # The gate is loosened: trained it is already.
    ads.declare("beta", epochs=3)
    loosened = ads.json("apply")
    assert ads.aliases()["beta"] == {"candidate": 3}
    registry = ads.workshop.registry()
    two, three = (registry.resolve(f"beta@{number}").digest for number in (2, 3))
    assert registry.read(two, WEIGHTS) == registry.read(three, WEIGHTS)
    assert loosened["outcomes"][0]["result"] == "built"

    # A manifest goes; its alias goes only when that is asked for, and its versions never.
    (ads.folder / "gamma.toml").unlink()
    assert signs(ads.json("apply", "--check"))["gamma"] == "-"
    assert ads.json("apply")["outcomes"] == []
    ads.json("apply", "--prune", "--check", code=1)
    unasked = ads.run("apply", "--prune")
    assert "nobody to ask" in str(unasked.exception)
    assert ads.aliases()["gamma"] == {"candidate": 2}
    pruned = ads.json("apply", "--prune", "--yes")
    assert [(o["name"], o["result"]) for o in pruned["outcomes"]] == [("gamma", "retired")]
    assert ads.aliases()["gamma"] == {}
    assert registry.upkeep.verify("gamma@2").clean


def test_one_that_fails_keeps_no_other_from_its_turn(ads: Ads) -> None:
    ads.declare("alpha").write_text('[adapter]\nname = "alpha"\n')
    absent = ads.declare("beta")
    absent.write_text(absent.read_text().replace("../train.jsonl", "../none.jsonl"))
    ads.declare("gamma")
    applied = ads.json("apply", code=1)
    results = {o["name"]: (o["result"], o["code"]) for o in applied["outcomes"]}
    assert results == {"alpha": ("faulty", 1), "beta": ("failed", 3), "gamma": ("built", 0)}
    assert ads.aliases() == {"gamma": {"candidate": 1}}
    # The same of a whole folder, whatever differs.
    built = {o["name"]: o["result"] for o in ads.json("build", code=1)}
    assert built == {"alpha": "failed", "beta": "failed", "gamma": "unchanged"}


@pytest.mark.slow
def test_what_was_built_and_is_declared_again_is_promoted(ads: Ads) -> None:
    """The manifest goes back to what it was: nothing is trained, the alias moves."""
    ads.declare("alpha")
    ads.json("apply")
    ads.declare("alpha", epochs=3)
    ads.json("apply")
    assert ads.aliases() == {"alpha": {"candidate": 2}}
    ads.declare("alpha")
    (entry,) = ads.json("status")["entries"]
    assert entry["actions"] == ["move `candidate` to @1"]
    assert ads.json("apply")["outcomes"][0]["result"] == "promoted"
    assert ads.aliases() == {"alpha": {"candidate": 1}}
    # What a person takes back stays taken back.
    registry = ads.workshop.registry()
    ads.declare("alpha", epochs=3)
    registry.promote("alpha", 2, "candidate", who="ann")
    registry.rollback("alpha", "candidate", who="ann", why="worse on call")
    assert "rolled back: ann rolled" in why(ads.json("apply", "--check", code=1), "alpha")
    ads.json("apply", code=1)
    assert ads.aliases() == {"alpha": {"candidate": 1}}


def test_a_moved_folder_is_as_it_was(ads: Ads) -> None:
    ads.declare("alpha")
    ads.json("apply")
    other = ads.workshop.folder.parent / "elsewhere"
    other.mkdir()
    for split in ("train", "validation", "test"):
        (ads.workshop.folder / f"{split}.jsonl").rename(other / f"{split}.jsonl")
    ads.folder = ads.folder.rename(other / "ads")
    assert signs(ads.json("apply", "--check")) == {"alpha": "="}


@pytest.mark.slow
def test_killed_in_a_training_and_run_again_it_finishes(ads: Ads) -> None:
    ads.declare("alpha")
    ads.declare("beta", epochs=40)
    ads.declare("gamma")
    process = ads.start("apply", str(ads.folder))
    folder = ads.workshop.wait_for_checkpoint_of("beta", process)
    os.kill(json.loads((folder / "job.json").read_text())["parent"], signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert ads.aliases() == {"alpha": {"candidate": 1}}  # nothing half-done is to be seen
    plan = ads.json("status")
    assert signs(plan) == {"alpha": "=", "beta": "+", "gamma": "+"}
    assert "an unfinished build goes on where it was" in why(plan, "beta")
    applied = ads.json("apply")
    assert [o["name"] for o in applied["outcomes"]] == ["beta", "gamma"]
    (events,) = (ads.workshop.home / "builds").glob("beta-*/events.jsonl")
    assert '"event":"resumed"' in events.read_text()
    # The same weights as of a build that nobody killed.
    registry = ads.workshop.registry()
    resumed = registry.read(registry.resolve("beta@1").digest, WEIGHTS)
    whole = ads.workshop.json(str(ads.folder / "beta.toml"), "--force")
    assert registry.read(whole["digest"], WEIGHTS) == resumed


def test_a_version_whose_report_is_gone_is_not_promoted(ads: Ads) -> None:
    """Its gate failed; once nothing says so any more, its alias must not move by itself."""
    ads.declare("one", epochs=1, more=GATE)
    ads.json("apply", code=1)
    registry = ads.workshop.registry()
    release = registry.release(registry.resolve("one@1").digest)
    registry.upkeep.erase(release.files["report.json"].digest, who="t", why="a name stood in it")
    plan = ads.json("apply", code=1)
    assert signs(plan) == {"one": "!"}
    assert "whether its gates passed is not known" in why(plan, "one")
    assert ads.aliases() == {"one": {}}
    (built,) = ads.json("build", code=1)
    assert (built["result"], built["ref"]) == ("gate failed", "one@1")

    # What is wrong with one adapter's rows (half of a surrogate pair) is its line, not the end.
    ads.change_row(1, answer="\ud800")
    status = ads.json("status")
    assert why(status, "one").startswith("faulty: `one.toml`: `../train.jsonl`: 1 of 24 rows")


def test_a_metric_beside_the_manifest_is_compared_by_its_bytes(ads: Ads) -> None:
    code = "def f(answer, reference):\n    return float(answer == reference)\n"
    (ads.folder / "m.py").write_text(code)
    path = ads.declare("one", epochs=1)
    path.write_text(path.read_text().replace('"exact_match"', '"./m.py:f"'))
    ads.json("apply")
    assert signs(ads.json("status")) == {"one": "="}
    (ads.folder / "m.py").write_text(code.replace("==", "!="))
    plan = ads.json("status")
    assert signs(plan) == {"one": "~"}
    assert "evaluation stale: `./m.py:f` differs" in why(plan, "one")
    assert ads.json("apply")["outcomes"][0]["ref"] == "one@2"
    assert signs(ads.json("status")) == {"one": "="}
