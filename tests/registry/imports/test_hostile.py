"""Every hostile adapter is refused, with its own message, before torch could see a byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from adapterworks.registry.imports.adapter import Checked, check_adapter
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.modules import read_modules
from tests.registry.imports.hostile.cases import Case, load_cases
from tests.registry.imports.hostile.good import good_tensors, write_adapter, write_base

CASES = load_cases()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "tiny")


def check(source: Path, base: Path, into: Path, *, rename: bool = False) -> Checked:
    into.mkdir()
    return check_adapter(
        source, into, modules=lambda: read_modules(base), base_name="tiny", rename=rename
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_adapter_is_refused(case: Case, base: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    source = case.spoil(folder) or folder
    with pytest.raises(ImportRefused) as refusal:
        check(source, base, tmp_path / "clean")
    assert refusal.value.file == case.file
    assert case.says in refusal.value.reason
    assert refusal.value.message.isascii()
    assert refusal.value.message.isprintable()
    assert list((tmp_path / "clean").iterdir()) == []
    assert not (tmp_path / "owned").exists()


def test_the_corpus_is_large_and_its_messages_differ() -> None:
    assert len(CASES) >= 35
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({(case.file, case.says) for case in CASES}) >= 80


def test_a_good_adapter_is_taken_and_its_tensors_are_untouched(base: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    (folder / "training_args.bin").write_bytes(b"never opened")
    checked = check(folder, base, tmp_path / "clean")
    assert (checked.rank, checked.target_modules) == (4, ("q_proj", "v_proj"))
    assert checked.ignored == ("training_args.bin",)
    weights = "adapter_model.safetensors"
    assert (tmp_path / "clean" / weights).read_bytes() == (folder / weights).read_bytes()
    config = json.loads((tmp_path / "clean" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert config["lora_alpha"] == 8


@pytest.mark.parametrize(
    "prefix", ["", "base_model.model.language_model.", "module.", "_orig_mod."]
)
def test_vllm_34186_misnamed_modules_are_refused_or_renamed(
    prefix: str, base: Path, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "adapter", tensors=good_tensors(prefix=prefix))
    mapping = f"`{prefix}model.layers.*` should be `base_model.model.model.layers.*`"
    with pytest.raises(ImportRefused, match="silently do nothing") as refusal:
        check(folder, base, tmp_path / "refused")
    assert mapping in refusal.value.message
    assert "--rename" in (refusal.value.hint or "")

    checked = check(folder, base, tmp_path / "clean", rename=True)
    assert checked.layout.renamed == (
        (f"{prefix}model.layers.*", "base_model.model.model.layers.*"),
    )
    renamed = load_file(tmp_path / "clean" / "adapter_model.safetensors")
    assert renamed.keys() == good_tensors().keys()
    assert all(np.array_equal(renamed[name], value) for name, value in good_tensors().items())


def test_a_template_in_the_tokenizers_configuration_is_compared(base: Path, tmp_path: Path) -> None:
    """There trainers before transformers 4.52 wrote it, LLaMA-Factory its own."""
    folder = write_adapter(tmp_path / "adapter")
    for name, text, notes in (
        ("same", json.dumps({"chat_template": "{{ messages }}"}), 0),
        ("other", json.dumps({"chat_template": "{{ other }}", "added": {"1": {"a": [1]}}}), 1),
        ("several", json.dumps({"chat_template": [{"name": "default", "template": "x"}]}), 0),
        ("none", '{"chat_template": "x", "chat_template": "y"}', 0),
        ("deep", "[" * 100_000, 0),
    ):
        (folder / "tokenizer_config.json").write_text(text)
        (tmp_path / name).mkdir()
        checked = check_adapter(
            folder,
            tmp_path / name,
            modules=lambda: read_modules(base),
            base_name="tiny",
            template="{{ messages }}",
        )
        assert len(checked.notes) == notes, name
        assert checked.ignored == ("tokenizer_config.json",)


def test_a_pattern_under_the_old_names_is_not_lost(base: Path, tmp_path: Path) -> None:
    """PEFT finds the scale of a module by its name there, and the engine would by the new one."""
    tensors = good_tensors(prefix="base_model.model.language_model.")
    named = {"language_model.model.layers.0.self_attn.q_proj": 64}
    folder = write_adapter(tmp_path / "a", tensors=tensors, config={"alpha_pattern": named})
    with pytest.raises(ImportRefused, match="no module once its tensors are renamed") as refusal:
        check(folder, base, tmp_path / "refused", rename=True)
    assert next(iter(named)) in refusal.value.message
    named = {"layers.0.self_attn.q_proj": 64}
    folder = write_adapter(tmp_path / "b", tensors=tensors, config={"alpha_pattern": named})
    assert check(folder, base, tmp_path / "clean", rename=True).config.alpha_pattern == named


def test_vllm_34186_renaming_never_guesses(base: Path, tmp_path: Path) -> None:
    """A vision tower's layers are not the text model's, though their tails are alike."""
    folder = write_adapter(
        tmp_path / "adapter", tensors=good_tensors(prefix="base_model.model.vision_tower.")
    )
    with pytest.raises(ImportRefused, match="fits no module of the base"):
        check(folder, base, tmp_path / "clean", rename=True)


def test_dora_and_rslora_are_understood(base: Path, tmp_path: Path) -> None:
    tensors = good_tensors()
    for name in list(tensors):
        if "lora_B" in name:
            vector = name.replace("lora_B.weight", "lora_magnitude_vector")
            tensors[vector] = np.ones(tensors[name].shape[0], np.float32)
    folder = write_adapter(
        tmp_path / "adapter", tensors=tensors, config={"use_dora": True, "use_rslora": True}
    )
    checked = check(folder, base, tmp_path / "clean")
    assert checked.config.use_dora
    assert checked.config.use_rslora


def test_files_that_are_never_opened_are_left_and_listed(base: Path, tmp_path: Path) -> None:
    """A trainer's converter script, a pickle beside the weights, a note in Chinese."""
    folder = write_adapter(tmp_path / "adapter")
    left = ("adapter_model.bin", "zero_to_fp32.py", "训练说明.txt")
    for name in left:
        (folder / name).write_bytes(b"\x80\x04N.")
    checked = check(folder, base, tmp_path / "clean")
    assert checked.ignored == (*left[:2], "\\u8bad\\u7ec3\\u8bf4\\u660e.txt")
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


@pytest.mark.parametrize(
    "named",
    [
        "../../SmolLM2/",
        "~/models/x",
        "C:\\Users\\me\\x (1)",
        "/root/模型/x",
        "$(reboot)",
        5,
        "x" * 999,
    ],
)
def test_where_the_base_lay_elsewhere_does_not_matter(
    named: object, base: Path, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "adapter", config={"base_model_name_or_path": named})
    check(folder, base, tmp_path / "clean")
    config = json.loads((tmp_path / "clean" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"


def test_old_keys_other_tasks_and_targets_of_other_models_are_taken_with_a_note(
    base: Path, tmp_path: Path
) -> None:
    config = {
        "enable_lora": None,
        "merge_weights": False,
        "task_type": "SEQ_2_SEQ_LM",
        "target_modules": ["q_proj", "v_proj", "query_key_value", "W_pack"],
    }
    folder = write_adapter(tmp_path / "adapter", config=config)
    checked = check(folder, base, tmp_path / "clean")
    assert checked.target_modules == ("q_proj", "v_proj")
    assert checked.notes == (
        "its task type is SEQ_2_SEQ_LM; it is served for generation, as CAUSAL_LM",
        "its config targets `query_key_value`, `W_pack` too, which the base does not have",
    )
    written = json.loads((tmp_path / "clean" / "adapter_config.json").read_text())
    assert written["target_modules"] == ["q_proj", "v_proj"]
    assert written["task_type"] == "CAUSAL_LM"


def test_a_target_that_the_base_has_must_have_tensors(base: Path, tmp_path: Path) -> None:
    folder = write_adapter(
        tmp_path / "adapter", config={"target_modules": ["q_proj", "v_proj", "k_proj"]}
    )
    with pytest.raises(ImportRefused, match="targets `k_proj`, no tensor"):
        check(folder, base, tmp_path / "clean")


def test_a_template_of_its_own_is_said_and_the_bases_own_is_not(base: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    for template, said in (("{{ messages }}", False), ("{{ other }}", True)):
        clean = tmp_path / f"clean-{said}"
        clean.mkdir()
        checked = check_adapter(
            folder, clean, modules=lambda: read_modules(base), base_name="tiny", template=template
        )
        assert any("template differs from the base's" in note for note in checked.notes) == said


def test_a_saved_embedding_is_called_that_with_the_way_out(base: Path, tmp_path: Path) -> None:
    name = "base_model.model.model.embed_tokens.weight"
    tensors = good_tensors() | {name: np.zeros((8, 8), np.float32)}
    folder = write_adapter(tmp_path / "adapter", tensors=tensors)
    with pytest.raises(ImportRefused, match="whole embedding of the base") as refusal:
        check(folder, base, tmp_path / "clean")
    assert "save_embedding_layers=False" in (refusal.value.hint or "")


def test_what_peft_writes_without_a_task_type_is_taken_and_dropped(
    base: Path, tmp_path: Path
) -> None:
    mapping = {
        "base_model_class": "LlamaForCausalLM",
        "parent_library": "transformers.models.llama.modeling_llama",
    }
    folder = write_adapter(
        tmp_path / "adapter", config={"auto_mapping": mapping, "task_type": None}
    )
    check(folder, base, tmp_path / "clean")
    config = json.loads((tmp_path / "clean" / "adapter_config.json").read_text())
    assert config["auto_mapping"] is None


def test_a_rank_pattern_is_held_to(base: Path, tmp_path: Path) -> None:
    tensors = {k: v for k, v in good_tensors().items() if "q_proj" not in k}
    tensors |= {k: v for k, v in good_tensors(rank=8).items() if "q_proj" in k}
    folder = write_adapter(
        tmp_path / "adapter", tensors=tensors, config={"rank_pattern": {"q_proj": 8}}
    )
    assert check(folder, base, tmp_path / "clean").rank == 8


def test_layers_left_out_are_named_one_by_one(base: Path, tmp_path: Path) -> None:
    """`layers_to_transform`: PEFT must not add fresh modules to the layers that were left out."""
    tensors = {k: v for k, v in good_tensors().items() if "layers.1" in k}
    folder = write_adapter(
        tmp_path / "adapter", tensors=tensors, config={"layers_to_transform": [1]}
    )
    assert check(folder, base, tmp_path / "clean").target_modules == (
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.self_attn.v_proj",
    )


def test_checks_never_import_torch(base: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    program = f"""
import sys
from pathlib import Path
from adapterworks.registry.imports.adapter import check_adapter
from adapterworks.registry.imports.modules import read_modules
into = Path({str(tmp_path / "clean")!r}); into.mkdir()
base = Path({str(base)!r})
check_adapter(Path({str(folder)!r}), into, modules=lambda: read_modules(base), base_name="tiny")
print(sorted({{"torch", "safetensors", "transformers", "peft", "pickle"}} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    # numpy itself imports pickle (for .npy files); nothing that could load weights is there.
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {"pickle"}
