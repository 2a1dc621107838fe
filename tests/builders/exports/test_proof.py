"""Exports are the release in the engine that they are for, and what is not is not written."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from transformers import AutoTokenizer

from adapterworks.builders.exports import lora, merged, run
from adapterworks.builders.exports.export import Settings
from adapterworks.builders.exports.gguf import families, writer
from adapterworks.builders.exports.material import gather
from adapterworks.builders.exports.proof import Bound, Proof, divergence, judge
from adapterworks.builders.exports.run import Exported, run_export
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import InvalidInput, Refused, Unavailable
from adapterworks.registry.releases.release import Servable
from adapterworks.registry.releases.scratch import held_folder
from tests.builders.exports.conftest import OPTIONS
from tests.builders.exports.models import make_model
from tests.builders.merging.conftest import Shelf, make_shelf


def export(shelf: Shelf, form: str, **options: Any) -> Exported:
    """Export `one@1` into the shelf's folder `out`."""
    options = {"out": shelf.folder / "out" / f"{form}{len(list(shelf.folder.iterdir()))}"} | options
    return run_export(
        options.pop("ref", "one@1"),
        form,
        registry=shelf.registry,
        bases=shelf.bases,
        who="tester",
        **options,
    )


def left(shelf: Shelf) -> list[str]:
    """What stands where exports go."""
    out = shelf.folder / "out"
    return sorted(path.name for path in out.iterdir()) if out.exists() else []


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=() if family == "llama" else pytest.mark.slow)
        for family in sorted(families.FAMILIES)
    ],
)
@pytest.mark.parametrize("form", ["gguf", "gguf-lora"])
def test_llama_cpp_computes_the_release(
    shelves: Callable[[str], Shelf], family: str, form: str
) -> None:
    """rsLoRA, patterns of ranks and scales, biases, norms: all of it, to float32's last digits."""
    done = export(shelves(family), form, type_="f32")
    assert done.proof is not None
    assert done.proof.engine == "llama.cpp"
    assert done.proof.divergence < 1e-7
    assert done.proof.base_divergence is not None
    assert done.proof.base_divergence > 1
    assert done.proof.same_answers == done.proof.answers == 5
    assert done.proof.same_texts == done.proof.texts
    assert done.proof.template is (True if form == "gguf" else None)  # an adapter has none
    assert done.digest == digest_file(done.place)


@pytest.mark.parametrize("form", ["merged", "peft"])
def test_transformers_computes_the_release(shelf: Shelf, form: str) -> None:
    done = export(shelf, form, type_="f32")
    assert done.proof is not None
    assert done.proof.divergence < 1e-7
    assert done.size == sum(path.stat().st_size for path in done.place.iterdir())


def test_a_type_costs_what_it_rounds(shelf: Shelf) -> None:
    found = {
        t: export(shelf, "gguf", type_=t, out=shelf.folder / t) for t in ("f32", "f16", "q8_0")
    }
    costs = [found[t].proof.divergence for t in found]  # type: ignore[union-attr]
    assert costs == sorted(costs)
    sizes = [found[t].size for t in found]
    assert sizes == sorted(sizes, reverse=True)


def test_a_whole_model_is_exported_as_it_was_trained(shelf: Shelf) -> None:
    from transformers import AutoModelForCausalLM

    files = shelf.folder / "whole" / "full"
    model = AutoModelForCausalLM.from_pretrained(shelf.base.served, dtype=torch.float32)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.3)
    model.save_pretrained(files)
    AutoTokenizer.from_pretrained(shelf.base.served).save_pretrained(files)
    shelf.publish_files("whole", shelf.base, None)
    done = export(shelf, "gguf", ref="whole@1", type_="f32")
    assert done.proof is not None
    assert done.proof.divergence < 1e-7
    assert done.proof.base_divergence is None
    with pytest.raises(Refused, match="a model of its own"):
        export(shelf, "gguf-lora", ref="whole@1")


def test_its_origin_is_in_the_file(shelf: Shelf) -> None:
    done = export(shelf, "gguf", type_="f16")
    fields = GGUFReader(done.place).fields
    release = shelf.registry.resolve("one@1").digest
    assert fields["adapterworks.release"].contents() == release
    assert fields["adapterworks.base"].contents() == shelf.base.digest
    merged = export(shelf, "merged", type_="bf16")
    from safetensors import safe_open

    with safe_open(merged.place / "model.safetensors", framework="pt") as file:
        assert file.metadata()["adapterworks.release"] == release
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    assert json.loads((merged.place / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_merged_checkpoint_says_its_type_to_older_readers_too(shelf: Shelf) -> None:
    material = gather(shelf.registry, shelf.bases, shelf.registry.resolve("one@1"))
    served = shelf.folder / "served"
    shutil.copytree(shelf.base.served, served)
    config = json.loads((served / "config.json").read_text()) | {"torch_dtype": "float32"}
    (served / "config.json").write_text(json.dumps(config))
    old = replace(material, base=replace(material.base, served=served))
    merged.EXPORT.write(old, Settings("f16"), shelf.folder / "merged")
    written = json.loads((shelf.folder / "merged" / "config.json").read_text())
    assert (written["dtype"], written["torch_dtype"]) == ("float16", "float16")


def test_it_is_noted_in_the_log(shelf: Shelf) -> None:
    done = export(shelf, "gguf", type_="f32")
    (event,) = shelf.registry.log.events("one", version=1, facts=True)
    assert (event.kind, event.data["form"], event.data["type"]) == ("export", "gguf", "f32")
    assert event.data["digest"] == done.digest
    assert done.proof is not None
    assert event.data["proof"] == done.proof.to_json()
    assert str(shelf.folder) not in json.dumps(event.data)


def test_nothing_else_is_touched_where_it_is_written(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default that is where one stands: a home, a folder of checkpoints, last week's exports."""
    out = shelf.folder / "out"
    with held_folder(out / "held-once"):  # even what looks as if it were ours
        pass
    for name in ("my-project", ".ssh", "one-v1-merged-bf16"):
        (out / name).mkdir()
        (out / name / "file").write_text("mine")
    for path in out.iterdir():
        os.utime(path, (0, 0))
    before = sorted(out.rglob("*"))
    done = export(shelf, "peft", type_="f32", out=out / "peft")
    assert sorted(set(out.rglob("*")) - {done.place, *done.place.iterdir()}) == before
    monkeypatch.setattr(
        lora, "module_scale", lambda config, module: config["lora_alpha"] / config["r"]
    )
    with pytest.raises(Refused, match="other distributions"):
        export(shelf, "merged", type_="f32", out=out / "merged")
    assert sorted(set(out.rglob("*")) - {done.place, *done.place.iterdir()}) == before


@pytest.mark.parametrize("form", ["gguf", "gguf-lora"])
def test_rows_in_the_wrong_order_are_seen(
    shelf: Shelf, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "in_pairs", lambda rows, heads: rows)
    with pytest.raises(Refused, match="other distributions"):
        export(shelf, form, type_="f32")
    assert left(shelf) == []
    assert shelf.registry.log.events("one", version=1, facts=True) == []


def test_a_scale_that_is_lost_is_seen(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """What llama.cpp's own converter does with rsLoRA: α/r for α/√r."""
    monkeypatch.setattr(
        lora, "module_scale", lambda config, module: config["lora_alpha"] / config["r"]
    )
    with pytest.raises(Refused, match="other distributions"):
        export(shelf, "gguf-lora", type_="f32")
    assert left(shelf) == []


def test_another_split_of_texts_is_seen(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapterworks.builders.exports.gguf import tokenizer

    monkeypatch.setattr(tokenizer, "pre_tokenizer", lambda table: "qwen2")
    with pytest.raises(Refused, match="texts into other tokens"):
        export(shelf, "gguf", type_="f32")


def test_another_template_is_seen(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapterworks.builders.exports.gguf import tokenizer

    monkeypatch.setattr(tokenizer, "chat_template", lambda folder: "{{ messages[0].content }}")
    with pytest.raises(Refused, match="chat template"):
        export(shelf, "gguf", type_="f32")


@pytest.mark.parametrize(("nats", "served"), [(0.05, True), (0.0501, False)])
def test_a_file_is_nearer_to_the_release_than_to_the_base(nats: float, served: bool) -> None:
    """At most half the way: of 0.1 nats between release and base, 0.05 is the last to serve."""
    proof = Proof(
        engine="an engine",
        version="1",
        type="q4_0",
        positions=10,
        divergence=nats,
        worst=nats,
        base_divergence=0.1,
        answers=5,
        same_answers=5,
        ends=1,
        same_ends=1,
        texts=5,
        same_texts=5,
        template=True,
    )
    if served:
        judge(proof, Bound(1.0, None))
    else:
        with pytest.raises(Refused, match="the adapter cannot be told from none"):
            judge(proof, Bound(1.0, None))


def test_an_adapter_that_rounding_hides_is_refused(shelf: Shelf) -> None:
    """Its effect is smaller than what four bits cost: nobody could tell it from none."""
    shelf.publish("faint", 1, target_modules=["v_proj"], lora_alpha=1, r=64)
    with pytest.raises(Refused, match=r"cannot be told from none|other distributions"):
        export(shelf, "gguf", ref="faint@1", type_="q4_0")
    assert export(shelf, "gguf", ref="faint@1", type_="f32").proof is not None


def test_virtual_tokens_are_refused_before_anything_is_written(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shelf.folder / "soft" / "servable"
    folder.mkdir(parents=True)
    (folder / "prompt.safetensors").write_bytes(b"not read")
    servable = Servable(form="prompt", origin="native", virtual_tokens=4)
    shelf.publish_files("soft", shelf.base, servable)
    monkeypatch.setattr(writer, "write_model", None)
    for form in ("merged", "peft", "gguf", "gguf-lora"):
        with pytest.raises(Refused, match="virtual tokens have no weight delta"):
            export(shelf, form, ref="soft@1")
    assert left(shelf) == []


def test_what_is_there_already_stays(shelf: Shelf) -> None:
    place = shelf.folder / "mine.gguf"
    place.write_text("mine")
    with pytest.raises(InvalidInput, match="exists already"):
        export(shelf, "gguf", out=place)
    assert place.read_text() == "mine"


def test_a_type_that_a_form_has_not(shelf: Shelf) -> None:
    with pytest.raises(InvalidInput, match="no type `q4_0`") as refused:
        export(shelf, "gguf-lora", type_="q4_0")
    assert "f16, f32" in (refused.value.hint or "")


def test_without_its_engine_it_is_written_when_asked_and_says_so(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"llama\.cpp, which is not installed"):
        export(shelf, "gguf", out=shelf.folder / "one.gguf")
    done = export(shelf, "gguf", out=shelf.folder / "one.gguf", unproved=True)
    assert done.place.name == "one.unproved.gguf"
    assert done.proof is None
    (event,) = shelf.registry.log.events("one", version=1, facts=True)
    assert event.data["proof"] is None


def test_a_base_file_is_written_once_and_used_again(shelf: Shelf) -> None:
    base = shelf.folder / "base.gguf"
    export(shelf, "gguf-lora", type_="f32", base_file=base)
    written = base.stat()
    export(shelf, "gguf-lora", type_="f32", base_file=base, out=shelf.folder / "again.gguf")
    assert base.stat().st_mtime_ns == written.st_mtime_ns
    base.write_bytes(b"no gguf")
    with pytest.raises(Refused, match=r"llama\.cpp does not load the file"):
        export(shelf, "gguf-lora", type_="f32", base_file=base, out=shelf.folder / "third.gguf")


@pytest.mark.parametrize("form", ["gguf", "merged", "peft"])
def test_a_base_beside_a_whole_model_is_refused(shelf: Shelf, form: str) -> None:
    with pytest.raises(InvalidInput, match="no base is used beside it") as refused:
        export(shelf, form, base_file=shelf.folder / "base.gguf")
    assert "`gguf-lora`" in (refused.value.hint or "")


def test_a_base_file_is_kept_when_it_was_proved_or_says_that_it_was_not(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = shelf.folder / "bases-here" / "base.gguf"
    with monkeypatch.context() as patched:
        patched.setattr(families, "in_pairs", lambda rows, heads: rows)
        with pytest.raises(Refused, match="other distributions"):
            export(shelf, "gguf-lora", type_="f32", base_file=base)
    assert not base.exists()
    with monkeypatch.context() as patched:
        patched.setattr(run.importlib.util, "find_spec", lambda name: None)
        export(shelf, "gguf-lora", type_="f32", base_file=base, unproved=True)
    assert [path.name for path in base.parent.iterdir()] == ["base.unproved.gguf"]


def test_whoever_may_only_read_is_told_that_it_is_not_noted(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **data: Any) -> None:
        raise Refused("the token may read, and this takes a publisher")

    monkeypatch.setattr(type(shelf.registry.log), "note", refuse)
    said: list[str] = []
    done = export(shelf, "peft", out=shelf.folder / "peft", progress=said.append)
    assert done.place.is_dir()
    assert not done.noted
    assert said[-1].startswith("it is not noted in the log of one@1: the token may read")


def test_the_release_is_held_before_its_files_are_checked_out(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    hold, gather = type(shelf.registry).hold, run.gather

    def held(*arguments: Any, **options: Any) -> Any:
        order.append("hold")
        return hold(*arguments, **options)

    def gathered(*arguments: Any) -> Any:
        order.append("gather")
        return gather(*arguments)

    monkeypatch.setattr(type(shelf.registry), "hold", held)
    monkeypatch.setattr(run, "gather", gathered)
    export(shelf, "peft")
    assert order == ["hold", "gather"]


def test_tokens_that_no_embedding_has_are_left_out(tmp_path: Path) -> None:
    """A pad token that was added without resizing, as many fine-tuned bases have."""
    checkpoint = make_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<x{n}>" for n in range(9)]})
    tokenizer.pad_token = "<x8>"
    tokenizer.save_pretrained(checkpoint)
    shelf = make_shelf(tmp_path, checkpoint)
    shelf.publish("one", 1, **OPTIONS)
    done = export(shelf, "gguf", type_="f32")
    assert done.proof is not None
    assert done.proof.same_texts == done.proof.texts


def normalized(folder: Path, normalizer: dict[str, str]) -> Shelf:
    """A registry on a Qwen2 whose tokenizer normalizes first."""
    checkpoint = make_model(folder / "model", "qwen2")
    table = json.loads((checkpoint / "tokenizer.json").read_text())
    (checkpoint / "tokenizer.json").write_text(json.dumps(table | {"normalizer": normalizer}))
    shelf = make_shelf(folder, checkpoint)
    shelf.publish("one", 1, **OPTIONS)
    return shelf


def test_that_llama_cpp_composes_nothing_is_said(tmp_path: Path) -> None:
    """Qwen's tokenizer composes (NFC): the same ids for composed texts, others for decomposed."""
    shelf = normalized(tmp_path, {"type": "NFC"})
    done = export(shelf, "gguf", type_="f32")
    assert done.proof is not None
    assert done.proof.same_texts == done.proof.texts
    assert done.proof.composes is False
    assert any("does not compose characters" in line for line in done.remarks())
    merged = export(shelf, "merged", type_="f32")
    assert merged.proof is not None
    assert merged.proof.composes is True
    assert list(merged.remarks()) == []


def test_a_normalizer_that_changes_composed_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no name for how its tokenizer splits texts"):
        export(normalized(tmp_path, {"type": "NFD"}), "gguf", type_="f32")


def test_the_divergence_by_hand() -> None:
    """p = (.5, .3, rest .2), q = (.25, .5, rest .25)."""
    wanted = {1: math.log(0.5), 2: math.log(0.3)}
    given = {1: math.log(0.25), 2: math.log(0.5), 3: math.log(0.25)}
    by_hand = 0.5 * math.log(2) + 0.3 * math.log(0.6) + 0.2 * math.log(0.8)
    assert divergence(wanted, given) == pytest.approx(by_hand, abs=1e-12)
    assert divergence(wanted, wanted) == pytest.approx(0, abs=1e-12)
    # A token that is not given is nearly impossible, not left out.
    assert divergence({1: math.log(0.5)}, {2: 0.0}) > 5


def test_rows_go_from_halves_to_pairs() -> None:
    """Two heads of four: (0 1 | 2 3) becomes 0 2 1 3."""
    rows = torch.arange(8.0)[:, None]
    assert families.in_pairs(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert families.in_pairs(torch.arange(6.0), 1).tolist() == [0, 3, 1, 4, 2, 5]
    assert families.in_pairs(torch.arange(4.0), 1).tolist() == [0, 2, 1, 3]


def test_scales_as_peft_has_them() -> None:
    config = {"r": 16, "lora_alpha": 8, "use_rslora": True, "rank_pattern": {"q_proj": 4}}
    assert lora.module_scale(config, "model.layers.0.self_attn.q_proj") == 4.0
    assert lora.module_scale(config, "model.layers.0.self_attn.v_proj") == 2.0
    config = {"r": 16, "lora_alpha": 8, "alpha_pattern": {"layers.1.mlp.down_proj": 32}}
    assert lora.module_scale(config, "model.layers.1.mlp.down_proj") == 2.0
    assert lora.module_scale(config, "model.layers.11.mlp.down_proj") == 0.5
    config = {"r": 16, "lora_alpha": 8, "alpha_pattern": {"q_proj": 32}}
    assert lora.module_scale(config, "model.layers.0.self_attn.rq_proj") == 0.5


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "falcon"}, "type `falcon`"),
        ({"model_type": "llama", "rope_parameters": {"rope_type": "llama3"}}, "`llama3`"),
        ({"model_type": "mistral", "sliding_window": 4096}, "slides over 4096"),
        ({"model_type": "llama", "mlp_bias": True}, "biases"),
    ],
)
def test_bases_that_llama_cpp_would_compute_otherwise(config: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        families.family_of(config)


@pytest.mark.parametrize(
    "written",
    [{"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, {"rope_theta": 5e5}],
)
def test_positions_turn_as_fast_as_declared(tmp_path: Path, written: dict[str, Any]) -> None:
    """As transformers 5 writes it, and as older ones did."""
    checkpoint = make_model(tmp_path / "model", rope_parameters={"rope_theta": 5e5})
    config = json.loads((checkpoint / "config.json").read_text())
    del config["rope_parameters"]
    (checkpoint / "config.json").write_text(json.dumps(config | written))
    shelf = make_shelf(tmp_path, checkpoint)
    shelf.publish("one", 1, **OPTIONS)
    assert export(shelf, "gguf", type_="f32").proof is not None


def test_a_checkpoint_in_shards(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapterworks.builders.exports import merged

    monkeypatch.setattr(merged, "SHARD", 100_000)
    done = export(shelf, "merged", type_="f32")
    index = json.loads((done.place / "model.safetensors.index.json").read_text())
    files = set(index["weight_map"].values())
    assert len(files) > 2
    assert files == {path.name for path in done.place.glob("*.safetensors")}
    assert done.proof is not None
    assert done.proof.divergence < 1e-7
