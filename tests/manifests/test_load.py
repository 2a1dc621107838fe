"""Loading: what was written is what is returned, or every fault with its own line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.methods.full import FullTable
from adapterworks.builders.methods.lora import LoraTable
from adapterworks.builders.methods.prompt_tuning import PromptTuningTable
from adapterworks.builders.methods.qlora import QloraTable
from adapterworks.manifests.document import as_named_elsewhere, built_in_manifests, find_manifest
from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.faults import Fault, ManifestError
from adapterworks.manifests.load import check_manifest, load_manifest
from adapterworks.manifests.models import Manifest


def faults(source: Path, **options: Any) -> tuple[Fault, ...]:
    with pytest.raises(ManifestError) as caught:
        load_manifest(source, **options)
    return caught.value.faults


def test_a_good_manifest_is_what_was_written(write: Any, tmp_path: Path) -> None:
    manifest = load_manifest(write())
    assert isinstance(manifest.method, QloraTable)
    assert (manifest.method.rank, manifest.train.learning_rate) == (16, 2e-4)
    assert manifest.train.epochs == 3.0
    assert isinstance(manifest.train.epochs, float)
    assert manifest.evaluate.metrics == ("exact_match", "rouge_l")
    assert (manifest.data.train, manifest.folder) == ("rows/train.jsonl", tmp_path)
    assert manifest.data.test == "icd-10-cm:test"


def test_five_different_faults_are_five_lines(write: Any) -> None:
    path = write(
        ('name = "demo"', 'name = "Demo"'),  # a value outside its alphabet, line 2
        ('quantization = "nf4"', 'quantisation = "nf4"'),  # an unknown key, line 6
        ("rank = 16", 'rank = "16"'),  # a wrong type, line 10
        ('train = "rows/train.jsonl"', 'train = "hub:org/rows"'),  # an unpinned source, line 13
        ('[[evaluate.gates]]\nmetric = "exact_match"', '[[evaluate.gates]]\nmetric = "bleu"'),
    )
    found = faults(path)
    assert [(fault.line, fault.key) for fault in found] == [
        (2, "adapter.name"),
        (6, "base.quantisation"),
        (10, "method.rank"),
        (13, "data.train"),
        (24, "evaluate.gates[0].metric"),
    ]
    assert {fault.file for fault in found} == {str(path)}
    text = path.read_text().splitlines()
    for fault in found:
        assert fault.key.rpartition(".")[2] in text[(fault.line or 0) - 1]
        assert not fault.message.endswith(".")
    assert found[1].hint == "did you mean `quantization`?"
    assert found[2].message == 'expected an integer, got the string "16"'
    assert "@COMMIT" in (found[3].hint or "")


def test_a_fault_in_a_profile_is_reported_on_the_profiles_line(write: Any) -> None:
    path = write(
        ("data.limit = 600", 'data.limit = "600"'), ("train.epochs = 1", "train.epoch = 1")
    )
    assert load_manifest(path).train.epochs == 3.0  # without the profile all is well
    found = faults(path, profile="quick")
    assert [(fault.line, fault.key) for fault in found] == [
        (27, "data.limit"),
        (28, "train.epoch"),
    ]
    assert found[1].hint == "did you mean `epochs`?"


def test_a_profile_merges_tables_and_replaces_arrays(write: Any) -> None:
    manifest = load_manifest(write(), profile="quick")
    assert (manifest.data.limit, manifest.train.epochs) == (600, 1.0)
    assert manifest.train.learning_rate == 2e-4
    assert manifest.evaluate.metrics == ("exact_match",)
    assert len(manifest.evaluate.gates) == 1


def test_a_combination_broken_by_a_profile_points_into_the_profile(write: Any) -> None:
    path = write(extra='[profiles.dense]\nbase.quantization = "none"\n')
    (fault,) = faults(path, profile="dense")
    assert (fault.line, fault.key) == (31, "base.quantization")
    assert "qlora" in fault.message


def test_an_unknown_profile_lists_the_known_ones(write: Any) -> None:
    (fault,) = faults(write(), profile="big")
    assert "no profile `big`" in fault.message
    assert "`quick`" in (fault.hint or "")
    (fault,) = faults(write(), profile="quikc")
    assert fault.hint == "did you mean `quick`?"


def test_every_profile_is_checked_by_validate(write: Any) -> None:
    path = write(extra='[profiles.dense]\nbase.quantization = "none"\n')
    profiles, found = check_manifest(path)
    assert profiles == ("quick", "dense")
    assert [fault.line for fault in found] == [31]
    assert "with profile `dense`" in found[0].message
    assert check_manifest(path, profile="quick")[1] == ()


def test_overrides_are_toml_values_or_else_text(write: Any) -> None:
    manifest = load_manifest(
        write(),
        profile="quick",
        overrides=[
            "train.epochs=0.5",
            "adapter.description=a plain sentence",
            'adapter.tags=["a", "b"]',
            "evaluate.retention.on=true",
        ],
    )
    assert manifest.train.epochs == 0.5  # wins over the profile
    assert manifest.adapter.description == "a plain sentence"
    assert manifest.adapter.tags == ("a", "b")
    assert manifest.evaluate.retention.on is True


def test_a_table_as_override_replaces_the_table(write: Any) -> None:
    manifest = load_manifest(write(), overrides=['method={kind="prompt-tuning", virtual_tokens=8}'])
    assert manifest.method == PromptTuningTable(kind="prompt-tuning", virtual_tokens=8)


@pytest.mark.parametrize(
    ("override", "key", "message"),
    [
        ('train.epochs="3"', "train.epochs", "expected a number"),
        ("train.epoch=3", "train.epoch", "unknown key `epoch`"),
        ("base.quantization=none", "base.quantization", "trains on an NF4 base"),
        ("train", "", "`train` is not an override"),
        ("=3", "", "`` is not a key path"),
        ("a b=3", "", "`a b` is not a key path"),
        ("train.trackers.x=1", "train.trackers", "expected an array"),
        ("adapter.name.x=1", "", "not a table"),
        ("data.limit=3\nepochs = 2", "data.limit", "expected an integer"),
        ("train.epochs=nan", "train.epochs", "finite"),
        ("train.seed=99999999999", "train.seed", "at most"),
    ],
)
def test_a_fault_in_an_override_names_the_override(
    write: Any, override: str, key: str, message: str
) -> None:
    found = faults(write(), overrides=[override])
    assert any(fault.key == key and message in fault.message for fault in found), found
    assert all((fault.file, fault.line) == ("--set", None) for fault in found)


def test_an_error_begins_with_the_option_or_with_the_file_and_how_many_there_are(
    write: Any,
) -> None:
    with pytest.raises(ManifestError) as caught:
        load_manifest(write(), overrides=["train.epoch=3"])
    assert caught.value.message.startswith("invalid `--set`: train.epoch: unknown key `epoch`")
    assert "\n" not in caught.value.message
    assert caught.value.hint
    path = write(("rank = 16", 'rank = "16"'))
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert caught.value.message.startswith(f"{path}: 1 error\n  {path}:10: method.rank: ")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, overrides=["train.epoch=3"])
    head, of_option, *_ = caught.value.message.splitlines()
    assert head == f"{path}: 2 errors"
    assert of_option.startswith("  --set: train.epoch: unknown key")


@pytest.mark.parametrize(
    ("change", "line", "column"),
    [
        (("rank = 16", "rank 16"), 10, 6),
        (("epochs = 3", "epochs = "), 17, 10),
        (("[data]\n", "[adapter]\n"), 12, 9),
        (('metric = "exact_match"\n', 'metric = "exact_match\n'), 24, 22),
    ],
)
def test_a_syntax_error_has_line_and_column(
    write: Any, change: tuple[str, str], line: int, column: int
) -> None:
    (fault,) = faults(write(change))
    assert fault.line == line
    assert f"column {column}" in fault.message


def test_an_unfinished_file_and_a_file_that_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "cut.toml"
    path.write_text('[adapter]\nname = """x')
    (fault,) = faults(path)
    assert fault.line == 2
    path.write_bytes(b"[adapter]\nname = '\xff'\n")
    (fault,) = faults(path)
    assert (fault.line, fault.message) == (2, "the file is not UTF-8")


def test_an_empty_file_misses_four_tables(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("")
    found = faults(path)
    assert [fault.message for fault in found] == [
        f"missing table `{name}`" for name in ("adapter", "base", "data", "method")
    ]
    assert {fault.line for fault in found} == {1}


def test_strictness_no_conversions(write: Any) -> None:
    for change in [
        ("rank = 16", "rank = 16.0"),
        ("rank = 16", "rank = true"),
        ("epochs = 3", 'epochs = "3"'),
        ("epochs = 3", "packing = 1"),
        ('metrics = ["exact_match", "rouge_l"]', 'metrics = "exact_match"'),
    ]:
        assert [fault.message[:9] for fault in faults(write(change))] == ["expected "]


def test_unknown_keys_of_every_depth_and_tables_in_the_wrong_place(write: Any) -> None:
    found = faults(
        write(
            ("[train]\n", "[train]\noptimiser = 'adamw'\n"),
            extra="[trian]\nx = 1\n[data.gates]\nsecret = 3\n[data.gates.language]\nonn = true\n",
        )
    )
    assert [(fault.key, fault.hint) for fault in found] == [
        ("train.optimiser", "did you mean `optimizer`?"),
        ("trian", "did you mean `train`?"),
        ("data.gates.secret", "did you mean `secrets`?"),
        ("data.gates.language.onn", "did you mean `on`?"),
    ]


def test_a_key_of_another_method_names_the_keys_of_this_one(write: Any) -> None:
    (fault,) = faults(write(('kind = "qlora"\nrank = 16', 'kind = "p-tuning-v2"\nrank = 16')))
    assert (fault.key, fault.line) == ("method.rank", 10)
    assert fault.message == "method `p-tuning-v2` has no key `rank`"
    assert "`virtual_tokens`" in (fault.hint or "")
    assert "`alpha`" not in (fault.hint or "")


def test_text_rows_are_learnt_whole(write: Any) -> None:
    text = ('test = "icd-10-cm:test"', 'test = "icd-10-cm:test"\nformat = "text"')
    assert load_manifest(write(text)).train.loss_on == "all"
    (fault,) = faults(write(text, ("epochs = 3", 'loss_on = "completion"')))
    assert fault.key == "train.loss_on"


def test_packing_turns_grouping_off_unless_both_are_asked_for(write: Any) -> None:
    assert load_manifest(write(("epochs = 3", "packing = true"))).train.group_by_length is False
    assert load_manifest(write()).train.group_by_length is True
    (fault,) = faults(write(("epochs = 3", "packing = true\ngroup_by_length = true")))
    assert fault.line == 18


def test_a_name_is_looked_up_in_the_working_directory_before_the_built_in_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_manifest("medical").adapter.name == "medical"
    (tmp_path / "manifests").mkdir()
    write().rename(tmp_path / "manifests" / "medical.toml")
    manifest = load_manifest("medical")
    assert manifest.adapter.name == "demo"
    assert manifest.folder == tmp_path / "manifests"


def test_a_missing_manifest_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no manifest `nope`") as caught:
        load_manifest("nope")
    assert "medical" in (caught.value.hint or "")
    with pytest.raises(NotFound) as caught:
        load_manifest("medcal")
    assert (caught.value.hint or "").startswith("did you mean `medical`? looked for ")
    with pytest.raises(NotFound):
        load_manifest(tmp_path / "nope.toml")


def test_the_built_in_manifests_have_the_settings_of_their_cases() -> None:
    assert built_in_manifests() == (
        "bank-tickets",
        "code",
        "code-aligned",
        "enterprise-kb",
        "enterprise-kb-abstain",
        "medical",
        "medical-dpo",
        "medical-ppo",
        "medical-reward",
    )
    for name in built_in_manifests():
        profiles, found = check_manifest(name)
        assert found == ()
        assert "quick" in profiles
        assert load_manifest(name).base.model == "smollm2-135m-instruct"
    medical, kb = load_manifest("medical"), load_manifest("enterprise-kb")
    assert isinstance(medical.method, QloraTable)
    assert isinstance(kb.method, LoraTable)
    assert (medical.method.kind, medical.base.quantization) == ("qlora", "nf4")
    assert (medical.method.rank, medical.method.alpha) == (16, 32)
    assert (medical.train.learning_rate, medical.train.batch_size) == (2e-4, 8)
    assert (kb.method.kind, kb.method.rank, kb.method.alpha) == ("lora", 32, 64)
    assert (kb.train.learning_rate, kb.train.batch_size) == (3e-4, 16)
    code = load_manifest("code", profile="codellama-34b")
    assert isinstance(code.method, FullTable)
    assert (code.train.learning_rate, code.train.batch_size) == (5e-6, 64)
    assert (code.train.processes, code.train.sharding) == (8, "fsdp")  # it fits no single card
    for profile in (None, "quick"):
        stages = load_manifest("code-aligned", profile=profile).chain
        assert [stage.objective.kind for stage in stages] == ["sft", "grpo"]
        assert [stage.train.on_overflow for stage in stages] == ["drop", "drop"]


@pytest.mark.parametrize("profile", [None, "quick"])
def test_the_policy_its_start_and_its_reward_are_of_one_base_and_method(profile: str) -> None:
    """What a build of `medical-ppo` refuses otherwise, when the other two are built already."""
    policy = load_manifest("medical-ppo", profile=profile)
    start, reward = (load_manifest(n, profile=profile) for n in ("medical", "medical-reward"))
    assert (policy.objective.kind, reward.objective.kind) == ("ppo", "reward")
    assert policy.start is not None
    assert policy.start.ref == f"{start.adapter.name}@1"
    assert getattr(policy.objective, "reward_release", None) == f"{reward.adapter.name}@1"
    assert policy.base == start.base == reward.base
    assert policy.method == start.method == reward.method
    gold = {gate.metric for gate in policy.evaluate.gates}
    assert gold <= {"icd_category", "icd_chapter"}
    assert not getattr(policy.objective, "rewards", ()), "a verifier that rewards is not unseen"


def test_a_manifest_survives_json(write: Any) -> None:
    manifest = load_manifest(write(), profile="quick")
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_validating_imports_no_torch_and_no_database() -> None:
    code = (
        "import sys; from adapterworks.manifests.load import check_manifest; "
        "assert check_manifest('medical')[1] == (); "
        "import manifests.schema; "
        "print([m for m in ('torch', 'transformers', 'sqlalchemy', 'datasets', 'numpy') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_data_gate_keeps_the_defaults_that_are_not_given(write: Any) -> None:
    extra = '[data.gates]\nsecrets.on = true\nnear_duplicates.action = "drop"\n'
    gates = load_manifest(write(extra=extra)).data.gates
    assert gates["secrets"].action == "fail"
    assert (gates["near_duplicates"].threshold, gates["near_duplicates"].action) == (0.9, "drop")


@pytest.mark.parametrize(
    "source", ["tickets", "manifests/tickets.toml", "./manifests/tickets.toml"]
)
def test_a_worker_elsewhere_finds_what_was_named_here(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name or its path, and also beside a folder that is called as it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "tickets").mkdir()
    written = tmp_path / "manifests" / "tickets.toml"
    written.write_text("")
    named = as_named_elsewhere(source)
    monkeypatch.chdir("/")
    assert find_manifest(named).resolve() == written.resolve()


def test_a_built_in_manifest_is_named_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may have another installation; one of one's own of that name is a file."""
    monkeypatch.chdir(tmp_path)
    assert as_named_elsewhere("medical") == "medical"
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "medical.toml").write_text("")
    assert as_named_elsewhere("medical") == str(tmp_path / "manifests" / "medical.toml")
    with pytest.raises(NotFound, match="there is no manifest `absent`"):
        as_named_elsewhere("absent")
