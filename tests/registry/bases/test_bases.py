"""Base models: digests, pinning, the values training sees, and changes that must be noticed."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound, Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.complete import weight_files
from adapterworks.registry.bases.files import base_digest
from adapterworks.registry.bases.nf4 import load_nf4
from adapterworks.registry.bases.store import BaseStore


@pytest.fixture
def small(tmp_path: Path, base: Base) -> Path:
    """A narrow random checkpoint of two layers with the real tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(
        base.checkpoint,
        num_hidden_layers=2,
        hidden_size=64,
        intermediate_size=128,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
    )
    torch.manual_seed(0)
    folder = tmp_path / "small"
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for path in base.checkpoint.glob("*token*"):
        shutil.copy(path, folder)
    shutil.copy(base.checkpoint / "chat_template.jinja", folder)
    return folder


@pytest.mark.slow
def test_served_values_are_what_training_multiplies_with(nf4_base: Base) -> None:
    """PEFT #1384: which precision to serve on has one answer, the values training saw."""
    import torch
    from transformers import AutoModelForCausalLM

    quantized = load_nf4(nf4_base.checkpoint, double_quantization=True)
    served = AutoModelForCausalLM.from_pretrained(nf4_base.served, dtype=torch.float32)
    tokens = torch.arange(1, 65).reshape(2, 32)
    quantized.eval()
    served.eval()
    with torch.no_grad():
        difference = (quantized(tokens).logits - served(tokens).logits).abs().max().item()
        original = AutoModelForCausalLM.from_pretrained(nf4_base.checkpoint, dtype=torch.float32)
        quantization = (original(tokens).logits - served(tokens).logits).abs().max().item()
    assert difference < 1e-3
    assert quantization > 100 * difference


def test_the_served_values_of_a_base_in_shards_are_whole(small: Path, tmp_path: Path) -> None:
    """Its index names files that the served values, in one file, do not have."""
    from transformers import AutoModelForCausalLM

    shards = tmp_path / "shards"
    model = AutoModelForCausalLM.from_pretrained(small)
    model.save_pretrained(shards, max_shard_size="5MB")
    for path in small.iterdir():
        if not (shards / path.name).exists() and path.suffix != ".safetensors":
            shutil.copy(path, shards)
    assert len(weight_files(shards)) > 1
    served = BaseStore(tmp_path / "bases").ensure(str(shards), quantization="nf4").served
    assert [path.name for path in weight_files(served)] == ["model.safetensors"]


def test_nf4_values_do_not_depend_on_what_multiplies(small: Path) -> None:
    """Rounded to bfloat16 first, as on a GPU, other 4-bit codes would come of it."""
    import bitsandbytes
    import torch

    models = {
        dtype: load_nf4(small, double_quantization=True, dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    }
    plain = models[torch.float32]
    for dtype, model in models.items():
        rest = [p for p in model.parameters() if not isinstance(p, bitsandbytes.nn.Params4bit)]
        assert {p.dtype for p in rest} == {dtype}
        layers = 0
        for name, module in model.named_modules():
            if isinstance(module, bitsandbytes.nn.Linear4bit):
                layers += 1
                assert module.compute_dtype == dtype
                weight, other = module.weight, plain.get_submodule(name).weight
                assert torch.equal(weight.data, other.data), "the codes"
                values = [
                    bitsandbytes.functional.dequantize_4bit(w.data, w.quant_state)
                    for w in (weight, other)
                ]
                assert values[0].dtype == dtype
                assert torch.equal(values[0], values[1].to(dtype)), "rounded once"
        assert layers == 14


def test_a_base_is_prepared_once_and_found_by_digest(bases: BaseStore, nf4_base: Base) -> None:
    assert bases.ensure("smollm2-135m-instruct", quantization="nf4") == nf4_base
    assert bases.find(nf4_base.digest) == nf4_base
    assert bases.find("sha256:" + "0" * 64) is None


def test_an_embedded_base_has_one_digest_everywhere(base: Base) -> None:
    """Whether HF_HUB_OFFLINE was set when it was prepared must not show in it."""
    config = json.loads((base.checkpoint / "tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only", "name_or_path"} & set(config)


def test_quantization_template_and_weights_change_the_digest(tmp_path: Path, small: Path) -> None:
    store = BaseStore(tmp_path / "bases")
    dense = store.ensure(str(small))
    quantized = store.ensure(str(small), quantization="nf4")
    single = store.ensure(str(small), quantization="nf4", double_quantization=False)
    other = tmp_path / "other"
    shutil.copytree(small, other)
    (other / "chat_template.jinja").write_text("{{ messages }}")
    template = store.ensure(str(other))
    assert len({b.digest for b in (dense, quantized, single, template)}) == 4
    assert template.template_digest != dense.template_digest


def test_settings_that_change_answers_change_the_digest(tmp_path: Path, small: Path) -> None:
    """Who wrote the file changes nothing, nor what `config.json` says as well: the digest of such
    a base is what it was before it covered this file."""
    plain = base_digest(small, "none", double=False)
    assert plain == base_digest(small, "none", double=False, generation=False)
    path = small / "generation_config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"transformers_version": "1", "top_k": None}))
    assert base_digest(small, "none", double=False) == plain
    path.unlink()
    assert base_digest(small, "none", double=False) == plain
    digests = {plain}
    for setting in ({"repetition_penalty": 1.1}, {"temperature": 0.6}, {"eos_token_id": [2, 7]}):
        path.write_text(json.dumps(values | setting))
        digests.add(base_digest(small, "none", double=False))
    assert len(digests) == 4
    path.write_text("[1]")
    with pytest.raises(InvalidInput, match="no JSON object"):
        base_digest(small, "none", double=False)


@pytest.mark.parametrize("there", [True, False])
def test_changed_generation_settings_are_noticed(tmp_path: Path, small: Path, there: bool) -> None:
    path = small / "generation_config.json"
    if not there:
        path.unlink()
    store = BaseStore(tmp_path / "bases")
    store.ensure(str(small))
    path.write_text('{"repetition_penalty": 1.3}')
    with pytest.raises(IntegrityError, match="changed since it was prepared"):
        store.ensure(str(small))


def test_a_base_of_before_keeps_its_digest(tmp_path: Path, small: Path) -> None:
    """It was prepared when the digest did not cover the generation settings."""
    (small / "generation_config.json").write_text('{"repetition_penalty": 1.3}')
    store = BaseStore(tmp_path / "bases")
    made = store.ensure(str(small))
    (path,) = store.root.glob("*/base.json")
    values = json.loads(path.read_text())
    values["digest"] = base_digest(small, "none", double=False, generation=False)
    del values["stamps"]["generation_config.json"]
    path.write_text(json.dumps(values))
    found = store.ensure(str(small))
    assert found.digest == values["digest"] != made.digest
    (small / "config.json").touch()  # hashed again, as it was then
    assert store.ensure(str(small)).digest == found.digest


def test_a_changed_checkpoint_is_noticed(tmp_path: Path, small: Path) -> None:
    store = BaseStore(tmp_path / "bases")
    store.ensure(str(small))
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps(config | {"rope_theta": 5.0}))
    with pytest.raises(IntegrityError, match="changed since it was prepared"):
        store.ensure(str(small))


def test_an_interrupted_preparation_leaves_nothing(tmp_path: Path, small: Path) -> None:
    store = BaseStore(tmp_path / "bases")

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.ensure(str(small), quantization="nf4", progress=interrupt)
    assert [b.quantization for b in store.list()] == ["none"]
    assert [path.name for path in store.root.iterdir() if "nf4" in path.name] == []


def test_what_a_killed_preparation_left_goes_with_the_next(tmp_path: Path, small: Path) -> None:
    store = BaseStore(tmp_path / "bases")
    folder = store.ensure(str(small)).checkpoint
    (place,) = (path for path in store.root.iterdir() if (path / "base.json").exists())
    left = store.root / f".{place.name}-killed"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"x" * 100)
    (place / "base.json").unlink()  # it was killed, so there is no record
    shutil.rmtree(place)
    assert store.ensure(str(small)).checkpoint == folder
    assert not left.exists()


def test_one_changed_base_hides_no_other_and_a_copy_is_hashed_once(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BaseStore(tmp_path / "bases")
    other = shutil.copytree(small, tmp_path / "other")
    good, spoiled = store.ensure(str(small)), store.ensure(str(other))
    (other / "config.json").write_text("{}")
    (small / "config.json").touch()  # as by a restore
    assert [found.name for found in store.list()] == [good.name]
    assert store.find(good.digest) == good
    (error,) = store.changed()
    assert spoiled.name in error.message
    shutil.rmtree(other)
    assert [found.name for found in store.list()] == [good.name]

    def hashed(*_: object, **__: object) -> str:
        raise AssertionError("hashed again")

    shutil.rmtree(next(path for path in store.root.iterdir() if path.name.startswith("other-")))
    monkeypatch.setattr("adapterworks.registry.bases.base.base_digest", hashed)
    assert [found.name for found in store.list()] == [good.name]


def test_a_record_that_cannot_be_read_hides_no_other_and_one_of_a_later_version_is_read(
    tmp_path: Path, small: Path
) -> None:
    store = BaseStore(tmp_path / "bases")
    good = store.ensure(str(small))
    other = store.ensure(str(shutil.copytree(small, tmp_path / "b")))
    (record,) = (path for path in store.root.glob("b-*/base.json"))
    later = json.loads(record.read_text()) | {"tower": "none"}
    record.write_text(json.dumps(later))
    assert store.list() == [other, good]
    for text in ("", "[]", "{}", json.dumps({**later, "checkpoint": 1})):
        record.write_text(text)
        assert store.list() == [good]
        (error,) = store.changed()
        assert str(record) in error.message
    (store.root / "names.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"names\.json"):
        store.ensure("ours")


def test_concurrent_names_are_all_kept(tmp_path: Path, small: Path) -> None:
    """Forty at once kept six of them."""
    store = BaseStore(tmp_path / "bases")
    names = [f"ours-{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: BaseStore(store.root).add(name, str(small)), names))
    assert {source.name for source in store.sources()} >= set(names)


def test_names_are_given_once(tmp_path: Path, small: Path) -> None:
    store = BaseStore(tmp_path / "bases")
    store.add("ours", str(small))
    assert store.ensure("ours").model == str(small)
    with pytest.raises(InvalidInput, match="already means"):
        store.add("ours", str(shutil.copytree(small, tmp_path / "another")))
    with pytest.raises(InvalidInput, match="already means"):
        store.add("smollm2-135m-instruct", str(small))


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ("nope", NotFound, "no base `nope`"),
        ("hub:org/name@main", InvalidInput, "not pinned"),
        ("hub:org/name", InvalidInput, "not a Hub model"),
        ("hub:org/../name@" + "0" * 40, InvalidInput, "not a Hub model"),
    ],
)
def test_what_cannot_be_a_base_is_said(
    tmp_path: Path, model: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        BaseStore(tmp_path / "bases").ensure(model)


def test_an_unreachable_hub_is_unavailable_not_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=r"cannot be reached|HF_HUB_OFFLINE is set"):
        BaseStore(tmp_path / "bases").add("x", "hub:org/name@main")
