"""Soft prompts: keys and values by hand, P-tuning v2's MLP by NumPy, starts, checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods import soft_prompts as module
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.methods.prompt_cache import has_soft_prompt, prompt_cache
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.soft_prompts import initial_tokens
from adapterworks.manifests.models import ServeTable
from bench.architectures import make_base
from tests.builders.build_support import manifest_for
from tests.builders.methods.made import SMALL, convert, draw, manifest_of, write_adapter

KINDS = ("prompt-tuning", "prefix-tuning", "p-tuning-v2")


def test_keys_and_values_lie_by_token_layer_head_and_dimension(tmp_path: Path) -> None:
    """PEFT's flat numbers of a token: for each layer its keys, then its values, head by head."""
    shape = BaseShape(2, 12, 24, 4, 2, 3, 10, 64, (), 0)
    tokens, layers, heads, width = 3, 2, 2, 3
    flat = torch.arange(float(tokens * layers * 2 * heads * width)).reshape(tokens, -1)
    adapter = write_adapter(tmp_path / "adapter", {}, {})
    from safetensors.torch import save_file

    save_file({"prompt_embeddings": flat}, adapter / "adapter_model.safetensors")
    manifest = manifest_of("prefix-tuning", virtual_tokens=tokens)
    done = convert(Source(adapter, tmp_path, shape, manifest), tmp_path / "deep" / "servable")
    assert (done.servable.form, done.servable.origin) == ("prefix", "exact")
    assert (done.servable.virtual_tokens, done.servable.error) == (tokens, 0.0)
    written = load_file(tmp_path / "deep" / "servable" / "prefix.safetensors")
    assert set(written) == {f"layers.{i}.{kind}" for i in (0, 1) for kind in ("key", "value")}
    for layer in range(layers):
        for part, name in enumerate(("key", "value")):
            tensor = written[f"layers.{layer}.{name}"]
            assert (tensor.shape, tensor.dtype) == ((tokens, heads, width), torch.float32)
            for token in range(tokens):
                for head in range(heads):
                    for dimension in range(width):
                        place = ((2 * layer + part) * heads + head) * width + dimension
                        wanted = float(flat[token, place])
                        assert float(tensor[token, head, dimension]) == wanted


def test_the_mlp_of_p_tuning_v2_is_folded_into_keys_and_values(tiny: Path, tmp_path: Path) -> None:
    drawn = draw("p-tuning-v2", tiny, tmp_path, virtual_tokens=5, encoder_hidden_size=7)
    encoder = drawn.model.prompt_encoder["default"]
    given = {name: tensor.double().numpy() for name, tensor in encoder.state_dict().items()}
    # embedding → linear → tanh → linear; 2 layers × (key, value) × 2 heads × 16.
    hidden = np.tanh(
        given["embedding.weight"] @ given["transform.0.weight"].T + given["transform.0.bias"]
    )
    assert hidden.shape == (5, 7)
    flat = hidden @ given["transform.2.weight"].T + given["transform.2.bias"]
    wanted = flat.reshape(5, 2, 2, 2, 16)
    done = convert(drawn.source, tmp_path / "servable")
    assert done.servable.virtual_tokens == 5
    written = load_file(tmp_path / "servable" / "prefix.safetensors")
    for layer in (0, 1):
        for part, name in enumerate(("key", "value")):
            tensor = written[f"layers.{layer}.{name}"]
            np.testing.assert_allclose(tensor.numpy(), wanted[:, layer, part], atol=1e-5)


def test_a_soft_prompt_is_served_as_it_is_and_as_what_the_base_makes_of_it(
    tiny: Path, tmp_path: Path
) -> None:
    drawn = draw("prompt-tuning", tiny, tmp_path, virtual_tokens=5)
    done = convert(drawn.source, tmp_path / "servable")
    assert (done.servable.form, done.servable.virtual_tokens) == ("prompt", 5)
    assert sorted(path.name for path in (tmp_path / "servable").iterdir()) == [
        "prefix.safetensors",
        "prompt.safetensors",
    ]
    embeddings = drawn.model.prompt_encoder["default"].embedding.weight.detach()
    written = load_file(tmp_path / "servable" / "prompt.safetensors")
    assert torch.equal(written["embeddings"], embeddings)
    keys = load_file(tmp_path / "servable" / "prefix.safetensors")
    base: Any = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    with torch.no_grad():
        cache = base(inputs_embeds=embeddings[None], use_cache=True).past_key_values
    assert len(keys) == 4
    for index, layer in enumerate(cache.layers):
        for name, tensor in (("key", layer.keys), ("value", layer.values)):
            found = keys[f"layers.{index}.{name}"]
            assert found.shape == (5, 2, 16)
            for head in (0, 1):
                torch.testing.assert_close(found[:, head], tensor[0, head])


@pytest.mark.parametrize("kind", KINDS)
def test_the_cache_of_a_batch_is_what_is_served(tiny: Path, tmp_path: Path, kind: str) -> None:
    drawn = draw(kind, tiny, tmp_path, virtual_tokens=4)
    convert(drawn.source, tmp_path / "servable")
    served = load_file(tmp_path / "servable" / "prefix.safetensors")
    assert has_soft_prompt(drawn.model)
    with torch.no_grad():
        cache, count = prompt_cache(drawn.model, rows=3)
    assert count == 4
    for index, layer in enumerate(cache.layers):
        for name, tensor in (("key", layer.keys), ("value", layer.values)):
            assert tensor.shape == (3, 2, 4, 16)
            for row in range(3):
                wanted = served[f"layers.{index}.{name}"].transpose(0, 1)
                torch.testing.assert_close(tensor[row], wanted, rtol=0, atol=1e-5)


def test_what_is_no_soft_prompt_has_no_cache(tiny: Path, tmp_path: Path) -> None:
    assert not has_soft_prompt(draw("lora", tiny, tmp_path, rank=2).model)
    assert not has_soft_prompt(AutoModelForCausalLM.from_pretrained(tiny))


def base_of(tiny: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)


def test_a_prompt_starts_from_its_text_repeated(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    ids = tokenizer("abc", add_special_tokens=False)["input_ids"]
    assert len(ids) == 3
    for count in (2, 3, 7):
        table = manifest_of("prompt-tuning", virtual_tokens=count, init_text="abc").method
        model = base_of(tiny)
        assert initial_tokens(model, table).tolist() == (ids * 3)[:count]
        adapted: Any = METHODS["prompt-tuning"].attach(model, table, 1)
        soft = adapted.prompt_encoder["default"].embedding.weight
        embeddings = base_of(tiny).get_input_embeddings().weight
        assert torch.equal(soft.detach(), embeddings[(ids * 3)[:count]].detach())
        assert soft.requires_grad


@pytest.mark.parametrize("name", ["Gemma", "Gemma2", "Gemma3", "Cohere2"])
def test_before_any_step_it_is_to_the_base_what_its_text_is(name: str, tmp_path: Path) -> None:
    """Gemma's embedding multiplies its rows by √hidden, and what comes as an embedding is not
    multiplied: its keys and values, and what PEFT starts from, are those of the text's tokens."""
    folder = make_base(name, tmp_path)
    table = manifest_of("prompt-tuning", virtual_tokens=3, init_text="abc").method
    model, base = base_of(folder), base_of(folder)
    ids = initial_tokens(model, table)
    adapted: Any = METHODS["prompt-tuning"].attach(model, table, 1)
    theirs: Any = get_peft_model(
        base_of(folder),
        PromptTuningConfig(
            num_virtual_tokens=3,
            prompt_tuning_init="TEXT",
            prompt_tuning_init_text="abc",
            tokenizer_name_or_path=str(folder),
            task_type="CAUSAL_LM",
        ),
    )
    soft, of_peft = (
        one.prompt_encoder["default"].embedding.weight.detach() for one in (adapted, theirs)
    )
    text = AutoTokenizer.from_pretrained(folder)("abc")["input_ids"]
    if text == ids.tolist():  # PEFT's may begin with special tokens
        torch.testing.assert_close(soft, of_peft)
    rest = torch.tensor([[40, 50, 60]])
    with torch.no_grad():
        behind = adapted.eval()(input_ids=rest, attention_mask=torch.ones(1, 3)).logits[:, -3:]
        whole = base(input_ids=torch.cat([ids[None], rest], 1)).logits[:, -3:]
    torch.testing.assert_close(behind, whole, rtol=0, atol=1e-4)


def test_without_text_it_starts_from_frequent_tokens(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module._FREQUENT == 5000
    model = base_of(tiny)
    table = manifest_of("prompt-tuning", virtual_tokens=300).method
    drawn = initial_tokens(model, table)
    assert drawn.shape == (300,)
    # This vocabulary is smaller: all of it is drawn from, and nothing above it.
    vocabulary = len(model.get_input_embeddings().weight)
    assert 0 <= int(drawn.min()) < vocabulary // 10
    assert vocabulary * 9 // 10 < int(drawn.max()) < vocabulary
    monkeypatch.setattr(module, "_FREQUENT", 4)
    assert set(initial_tokens(model, table).tolist()) == {0, 1, 2, 3}


def test_a_prefix_starts_from_what_the_base_computes_for_tokens(tiny: Path) -> None:
    table = manifest_of("prefix-tuning", virtual_tokens=3, init_text="abc").method
    adapted: Any = METHODS["prefix-tuning"].attach(base_of(tiny), table, 1)
    base = base_of(tiny)
    ids = AutoTokenizer.from_pretrained(tiny)("abc", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        cache = base(input_ids=torch.tensor([ids]), use_cache=True).past_key_values
    weight = adapted.prompt_encoder["default"].embedding.weight.detach().view(3, 2, 2, 2, 16)
    for index, layer in enumerate(cache.layers):
        for part, tensor in enumerate((layer.keys, layer.values)):
            for head in (0, 1):
                torch.testing.assert_close(weight[:, index, part, head], tensor[0, head])
    # So that, before any step, a prompt behind it is answered as behind these tokens.
    rest = torch.tensor([[40, 50, 60]])
    with torch.no_grad():
        behind = adapted.eval()(
            input_ids=rest, attention_mask=torch.ones(1, 3), use_cache=False
        ).logits
        whole = base(input_ids=torch.cat([torch.tensor([ids]), rest], 1)).logits[:, -3:]
    torch.testing.assert_close(behind, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_planned_parameters_are_those_attached(tiny: Path, tmp_path: Path, kind: str) -> None:
    drawn = draw(kind, tiny, tmp_path, virtual_tokens=6)
    trained = sum(p.numel() for p in drawn.model.parameters() if p.requires_grad)
    manifest = drawn.source.manifest
    assert METHODS[kind].trainable(drawn.source.shape, manifest.method) == trained
    assert METHODS[kind].virtual_tokens(manifest.method) == 6
    assert METHODS[kind].embedded_tokens(manifest.method) == 6 * (kind == "prompt-tuning")
    assert METHODS[kind].soft_prompt
    if kind == "p-tuning-v2":  # the MLP is as wide as the base, if nothing else is said
        assert drawn.model.peft_config["default"].encoder_hidden_size == 64


def test_parameters_and_memory_by_hand() -> None:
    def of(kind: str, **method: Any) -> tuple[Any, Any]:
        return METHODS[kind], manifest_of(kind, virtual_tokens=5, **method).method

    prompt, table = of("prompt-tuning")
    assert prompt.trainable(SMALL, table) == 5 * 4
    assert prompt.kept(SMALL, table, 4) == METHODS["prompt-tuning"].kept(SMALL, table, 2)
    assert prompt.kept(SMALL, table, 4).layer == 0
    prefix, table = of("prefix-tuning")
    # One key-value head of 2: keys and values of 2 numbers in each of 2 layers.
    assert prefix.trainable(SMALL, table) == 5 * 2 * 2 * 2
    # Keys and values, and twice the queries' 2 heads of 2, in each layer, 2 bytes each.
    assert prefix.kept(SMALL, table, 2).prompt == 5 * 2 * (2 * 2 + 2 * 4) * 2
    assert not prefix.gradient_checkpointing
    deep, table = of("p-tuning-v2", encoder_hidden_size=3)
    # Embeddings 5 × 2, 2 → 3, 3 → 8, with biases.
    assert deep.trainable(SMALL, table) == 5 * 2 + (2 + 1) * 3 + (3 + 1) * 8
    _, table = of("p-tuning-v2")  # as wide as the base: 4
    assert deep.trainable(SMALL, table) == 5 * 2 + (2 + 1) * 4 + (4 + 1) * 8


@pytest.mark.parametrize(
    ("kind", "form"), list(zip(KINDS, ("prompt", "prefix", "prefix"), strict=True))
)
def test_a_plan_knows_the_served_form(kind: str, form: str) -> None:
    table = manifest_of(kind, virtual_tokens=9).method
    found = METHODS[kind].servable(SMALL, table, ServeTable())
    assert (found.form, found.origin, found.virtual_tokens) == (form, "exact", 9)
    assert found.rank is None


@pytest.mark.parametrize("kind", KINDS)
def test_long_prompts_are_said_and_sizes_are_all_lengths(kind: str) -> None:
    def table(count: int) -> Any:
        return manifest_of(kind, virtual_tokens=count).method

    assert METHODS[kind].lints(SMALL, table(150)) == []
    assert [lint.key for lint in METHODS[kind].lints(SMALL, table(151))] == [
        "method.virtual_tokens"
    ]
    sizes = [METHODS[kind].virtual_tokens(size) for size in METHODS[kind].sizes(table(3))]
    assert sizes == list(range(1, 513))


def problems(kind: str, *, max_length: int = 64, **method: Any) -> list[tuple[Any, str]]:
    manifest = manifest_for(kind, method=method, max_length=max_length)
    return [
        (problem.key, problem.hint)
        for check in METHODS[kind].checks
        for problem in check.find(manifest, {})
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_need_room_behind_the_prompt(kind: str) -> None:
    assert problems(kind, virtual_tokens=48) == []  # 16 of 64 are left
    ((key, hint),) = problems(kind, virtual_tokens=49)
    assert key == ("method", "virtual_tokens")
    assert "at most 48 " in hint
    ((_, hint),) = problems(kind, virtual_tokens=9, max_length=16)
    assert "at most 1 " in hint


def test_keys_of_other_soft_prompts_are_refused() -> None:
    for kind in KINDS:
        width = [("method", "encoder_hidden_size")] if kind != "p-tuning-v2" else []
        text = [("method", "init_text")] if kind == "p-tuning-v2" else []
        assert [key for key, _ in problems(kind, encoder_hidden_size=8)] == width
        assert [key for key, _ in problems(kind, init_text="hello")] == text
