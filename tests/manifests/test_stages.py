"""`[[stages]]`: what each comes to as a manifest, and every way of writing them wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.load import check_manifest, load_manifest
from adapterworks.manifests.models import StageOf

STAGED = """
[adapter]
name = "tiny"
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "rows.jsonl"
[objective]
kind = "dpo"
beta = 0.3
[train]
epochs = 2
seed = 7

[[stages]]
name = "sft"
objective = { kind = "sft" }
train.epochs = 1

[[stages]]
name = "pairs"
objective.beta = 0.5
[stages.data]
train = "pairs.jsonl"
format = "preference"

[[stages]]
name = "last"
data = { train = "pairs.jsonl", format = "preference" }

[profiles.quick]
train.max_steps = 20
[profiles.quick.stages.pairs]
train.max_steps = 5
"""


def written(folder: Path, *changes: tuple[str, str]) -> str:
    text = STAGED
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "tiny.toml"
    path.write_text(text)
    return str(path)


def test_each_stage_is_a_manifest_that_begins_where_the_one_before_ended(tmp_path: Path) -> None:
    last = load_manifest(written(tmp_path))
    chain = last.chain
    names = ("sft", "pairs", "last")
    assert [stage.stage for stage in chain] == [StageOf(n, i, 3) for i, n in enumerate(names)]
    assert [stage.objective.kind for stage in chain] == ["sft", "dpo", "dpo"]
    assert [getattr(stage.objective, "beta", None) for stage in chain] == [None, 0.5, 0.3]
    assert [stage.train.epochs for stage in chain] == [1.0, 2.0, 2.0]
    assert {stage.train.seed for stage in chain} == {7}
    assert [stage.data.train for stage in chain] == ["rows.jsonl", "pairs.jsonl", "pairs.jsonl"]
    assert [stage.start and stage.start.ref for stage in chain] == [None, "tiny:sft", "tiny:pairs"]
    assert [stage.publish.alias for stage in chain] == ["sft", "pairs", "candidate"]
    assert all(stage.folder == tmp_path for stage in chain)
    assert chain[0].before is None
    assert chain[0].chain == (chain[0],)


def test_profiles_and_overrides_name_a_stage(tmp_path: Path) -> None:
    path = written(tmp_path)
    quick = load_manifest(path, profile="quick").chain
    assert [stage.train.max_steps for stage in quick] == [20, 5, 20]
    given = ["stages.last.train.epochs=9", "train.batch_size=4"]
    over = load_manifest(path, overrides=given).chain
    assert [stage.train.epochs for stage in over] == [1.0, 2.0, 9.0]
    assert {stage.train.batch_size for stage in over} == {4}


def test_a_release_may_come_before_the_first_stage(tmp_path: Path) -> None:
    begun = written(tmp_path, ("[train]\n", '[start]\nfrom = "other@3"\n[train]\n'))
    starts = [stage.start and stage.start.ref for stage in load_manifest(begun).chain]
    assert starts == ["other@3", "tiny:sft", "tiny:pairs"]


def test_the_manifests_gates_judge_the_last_stage_and_a_stages_own_that_stage(
    tmp_path: Path,
) -> None:
    """A gate for what the build is for ends no stage before it."""
    of_all = '[[evaluate.gates]]\nmetric = "exact_match"\nmin_gain = 0.2\n[[stages]]\nname = "sft"'
    own = 'name = "pairs"\nevaluate.gates = [{ metric = "exact_match", min_gain = 0.1 }]'
    rows = ('train = "rows.jsonl"', 'train = "rows.jsonl"\ntest_share = 0.2')
    path = written(tmp_path, rows, ('[[stages]]\nname = "sft"', of_all), ('name = "pairs"', own))
    gains = [[gate.min_gain for gate in one.evaluate.gates] for one in load_manifest(path).chain]
    assert gains == [[], [0.1], [0.2]]
    given = ["evaluate.gates=[{metric='exact_match', min_gain=0.3}]"]
    over = load_manifest(path, overrides=given).chain
    assert [[gate.min_gain for gate in one.evaluate.gates] for one in over] == [[], [0.1], [0.3]]


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        (("train.epochs = 1\n", "train.epochs = 0\n"), "train.epochs", "greater than 0"),
        (("objective.beta = 0.5", "objective.beat = 0.5"), "objective.beat", "unknown key `beat`"),
        (('name = "pairs"', 'name = "sft"'), "stages[1].name", "two stages are called `sft`"),
        (('name = "pairs"', 'name = "Pairs"'), "stages[1].name", "needs a name"),
        (('name = "pairs"', 'name = "prod"'), "stages[1].name", "`prod` is taken"),
        (('name = "pairs"', 'name = "candidate"\n'), "stages[1].name", "is taken"),
        (('name = "pairs"', 'name = "pairs"\nmethod.rank = 4'), "stages[1].method", "no stage"),
        (("stages.pairs]", "stages.pear]"), "profiles.quick.stages.pear", "no stage can say"),
        (("max_steps = 5", "max_steps = -5"), "train.max_steps", "greater than 0"),
    ],
)
def test_faults_are_told_where_they_were_written(
    tmp_path: Path, change: tuple[str, str], key: str, said: str
) -> None:
    changes: list[Any] = [change]
    if "candidate" in change[1]:
        changes.append(("[train]\n", '[publish]\nalias = "candidate"\n[train]\n'))
    path = written(tmp_path, *changes)
    faulty = change[1].strip().splitlines()[-1]
    lines = Path(path).read_text().splitlines()
    line = 1 + next(n for n in reversed(range(len(lines))) if faulty in lines[n])
    faults = check_manifest(path)[1]
    found = [(fault.line, fault.key) for fault in faults if said in fault.message]
    assert found == [(line, key)], faults


def test_a_fault_of_all_stages_is_told_once(tmp_path: Path) -> None:
    faults = check_manifest(written(tmp_path, ("seed = 7", "seed = -7")))[1]
    assert [(fault.line, fault.key) for fault in faults] == [(15, "train.seed")]


def test_a_fault_of_an_override_is_told_as_it_was_given(tmp_path: Path) -> None:
    given = "stages.last.train.epochs=-9"
    (fault,) = check_manifest(written(tmp_path), overrides=[given])[1]
    assert fault.key == "train.epochs"
    assert str(fault).endswith(f"(in `{given}`)")


def test_an_override_makes_no_stage(tmp_path: Path) -> None:
    faults = check_manifest(written(tmp_path), overrides=["stages.more.train.epochs=1"])[1]
    assert ["`sft`, `pairs`, `last`, and no other" in fault.message for fault in faults] == [True]


def test_one_stage_is_no_stage(tmp_path: Path) -> None:
    alone = STAGED[: STAGED.index('[[stages]]\nname = "pairs"')]
    (tmp_path / "tiny.toml").write_text(alone)
    assert "one stage is the manifest itself" in str(check_manifest(tmp_path / "tiny.toml")[1])
