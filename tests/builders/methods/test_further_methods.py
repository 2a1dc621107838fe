"""VeRA, VB-LoRA, IA3, patterns and inits: what is served is what PEFT's own model answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.inits import INITS
from adapterworks.builders.methods.shape import BaseShape, read_shape
from adapterworks.builders.plan.plan import make_plan
from adapterworks.builders.training.fake_quantization import round_weights
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.load import check_manifest
from adapterworks.registry.bases.causal_lm import load_causal_lm
from tests.builders.build_support import (
    ENVIRONMENT,
    MACHINE,
    encoded_rows,
    facts_of,
    identity,
    manifest_for,
)
from tests.builders.methods.made import SMALL, convert, draw, manifest_of

IDS = [1, 5, 9, 33, 2, 4]
WIDE = {"conversion_rank": 64}


def served_answers(base: Path, folder: Path) -> torch.Tensor:
    """Log-probabilities of the base with the served LoRA, as PEFT loads it."""
    from transformers import AutoModelForCausalLM

    base_model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model: Any = PeftModel.from_pretrained(base_model, folder).eval()
    with torch.inference_mode():
        return torch.log_softmax(model(input_ids=torch.tensor([IDS])).logits[0], dim=-1)


TRANSPOSED = replace(SMALL, linears=tuple(replace(x, transposed=True) for x in SMALL.linears))
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("lora", {"rank": 4, "init": "pissa"}, "exact"),
    ("lora", {"rank": 4, "alpha": 4, "init": "olora", "rslora": True}, "exact"),
    ("lora", {"rank": 4, "init": "pissa", "rank_pattern": {"down_proj": 6}}, "exact"),
    ("lora", {"rank": 8, "init": "orthogonal"}, "native"),
    (
        "lora",
        {
            "rank": 4,
            "rank_pattern": {"down_proj": 6, r"layers\.0\.self_attn\.q_proj": 2},
            "alpha_pattern": {"q_proj": 3},
        },
        "exact",
    ),
    ("lora", {"rank": 8, "target_modules": ".*self_attn[.](q|v)_proj"}, "native"),
    ("lora", {"rank": 8, "exclude_modules": ["mlp.down_proj"], "layers_to_transform": [1]},
     "native"),
    ("dora", {"rank": 4, "rank_pattern": {"down_proj": 6}, "layers_to_transform": [0]},
     "approximate"),
    ("adalora", {"layers_to_transform": [0]}, "exact"),
    ("vera", {"rank": 8}, "exact"),
    ("vera", {"rank": 8, "target_modules": ["q_proj", "up_proj"], "projection_seed": 3}, "exact"),
    ("vblora", {"vector_length": 16, "vectors": 20, "rank": 2}, "exact"),
    ("ia3", {}, "approximate"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "method", "origin"), CASES)
def test_what_is_served_answers_as_what_was_trained(
    tiny: Path, tmp_path: Path, kind: str, method: dict[str, Any], origin: str
) -> None:
    serve = WIDE if origin == "approximate" else None
    drawn = draw(kind, tiny, tmp_path, spread=0.05, serve=serve, **method)
    technique, table = METHODS[kind], drawn.source.manifest.method
    done = convert(drawn.source, tmp_path / "served")
    counted = sum(p.numel() for p in drawn.model.parameters() if p.requires_grad)
    assert technique.trainable(read_shape(tiny), table) == counted
    planned = technique.servable(read_shape(tiny), table, drawn.source.manifest.serve)
    assert (planned.origin, done.servable.origin) == (origin, origin)
    assert done.servable.rank == planned.rank
    expected = drawn.answers(IDS)
    torch.testing.assert_close(
        served_answers(tiny, tmp_path / "served"), expected, atol=5e-5, rtol=0
    )
    with drawn.model.disable_adapter():
        assert (drawn.answers(IDS) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_what_was_taken_out_of_the_base_is_served_in_half_precision_too(
    tiny: Path, tmp_path: Path, init: str
) -> None:
    """An engine on a GPU holds factors in bfloat16. As the difference of two products that are a
    hundred times larger than what was learnt, most of it would be rounding."""
    drawn = draw("lora", tiny, tmp_path, spread=1e-4, rank=4, init=init)
    convert(drawn.source, tmp_path / "served")
    tensors = load_file(tmp_path / "served" / "adapter_model.safetensors")
    names = [name for name in tensors if ".lora_A." in name]
    assert names
    for name in names:
        a, b = tensors[name], tensors[name.replace(".lora_A.", ".lora_B.")]
        rounded = b.bfloat16().float() @ a.bfloat16().float()
        assert (rounded - b @ a).norm() < 0.01 * (b @ a).norm(), name


def test_a_bias_that_ia3_rescales_is_part_of_what_is_lost(tmp_path: Path) -> None:
    """Qwen2's keys and values have biases; an output is rescaled with its own."""
    base = tmp_path / "qwen2"
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=64, hidden_size=64, intermediate_size=128, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    attention = model.model.layers[0].self_attn
    with torch.no_grad():
        attention.k_proj.bias.fill_(10.0)
        attention.v_proj.bias.zero_()
    model.save_pretrained(base)
    drawn = draw("ia3", base, tmp_path, spread=0.05, serve=WIDE)
    done = convert(drawn.source, tmp_path / "served")
    vectors = load_file(drawn.source.adapter / "adapter_model.safetensors")
    weights = load_file(base / "model.safetensors")
    matrices = lost = 0.0
    for name, vector in vectors.items():
        module = name.removeprefix("base_model.model.").removesuffix(".ia3_l")
        matrices += float(((vector - 1) * weights[f"{module}.weight"]).square().sum())
        if module.endswith("k_proj"):
            lost += float(((vector.flatten() - 1) * 10.0).square().sum())
    expected = (lost / (matrices + lost)) ** 0.5
    (bias,) = done.left_out
    assert bias == "model.layers.0.self_attn.k_proj.bias"
    assert done.left_out[bias] == pytest.approx(expected, rel=1e-4)
    assert done.servable.error == pytest.approx(expected, rel=1e-3)
    assert expected > 0.5


def test_an_init_leaves_the_base_as_it_answers_and_is_as_peft_has_it(tiny: Path) -> None:
    """Before the first step, whatever the factors start from; PiSSA's are the largest triplets."""
    from transformers import AutoModelForCausalLM

    plain: Any = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    weight = plain.model.layers[0].self_attn.q_proj.weight.detach().clone()
    with torch.inference_mode():
        before = plain(input_ids=torch.tensor([IDS])).logits
    for init in ("gaussian", "orthogonal", "pissa", "olora"):
        torch.manual_seed(0)
        base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
        table = manifest_of("lora", rank=4, init=init).method
        model: Any = METHODS["lora"].attach(base, table, steps=1).eval()
        with torch.inference_mode():
            after = model(input_ids=torch.tensor([IDS])).logits
        torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
        layer = model.base_model.model.model.layers[0].self_attn.q_proj
        assert torch.equal(layer.get_base_layer().weight, weight)
        if INITS[init].part_of_base:
            assert torch.equal(after, before)
            assert not layer.get_delta_weight("default").any()
        product = layer.scaling["default"] * (
            layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        )
        assert bool(product.abs().max() > 1e-3) is INITS[init].part_of_base
        if init == "pissa":
            # A random matrix has no gap between its values; the randomized SVD finds their energy.
            largest = torch.linalg.svdvals(weight)[:4].square().sum()
            assert product.square().sum() > 0.99 * largest
        config = model.peft_config["default"]
        assert config.init_lora_weights is True  # a reader of the folder starts from the base


@pytest.mark.parametrize("init", ["pissa", "olora"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_start_in_the_base_is_exact_in_half_precision(
    tiny: Path, tmp_path: Path, init: str, precision: str
) -> None:
    """What is left of rounded weights is rounded once more: it was another matrix than the one that
    is served, by a good part of what is learnt, and the model was not the base to begin with."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    technique, table = METHODS["lora"], manifest_of("lora", rank=4, init=init).method
    ids = torch.tensor([IDS])

    def answers(model: Any) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", dtype):
            logits: torch.Tensor = model.eval()(input_ids=ids).logits[0].float()
        return logits

    def base() -> Any:
        return load_causal_lm(tiny, dtype=dtype)

    model: Any = technique.attach(base(), table, steps=1)
    plain = answers(base())
    assert torch.equal(answers(model), plain)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.add_(0.02 * torch.randn_like(parameter))
    trained = answers(model)
    technique.save(model, tmp_path / "adapter", "tiny")
    served = answers(PeftModel.from_pretrained(base(), str(tmp_path / "adapter")))
    moved = (trained - plain).norm()
    # Each product is rounded where it is computed, and nothing else is.
    assert (trained - served).norm() < 0.05 * moved
    # The change of each weight is the one that was trained, whatever the base's precision.
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    factors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    prefix = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    written = factors[f"{prefix}B.weight"] @ factors[f"{prefix}A.weight"]
    torch.testing.assert_close(
        written, layer.get_delta_weight("default").float(), atol=1e-5, rtol=0
    )
    with model.disable_adapter():
        assert torch.equal(answers(model), plain)


def test_a_start_in_the_base_is_rounded_with_it(tiny: Path) -> None:
    """`train.quantization_aware` rounds what will be exported: the weight and its change."""
    table = manifest_of("lora", rank=4, init="pissa").method
    plain: Any = load_causal_lm(tiny, dtype=torch.float32).eval()
    model: Any = METHODS["lora"].attach(load_causal_lm(tiny, dtype=torch.float32), table, steps=1)
    found = []
    for one in (plain, model.eval()):
        round_weights(one, "int8")
        with torch.inference_mode():
            found.append(one(input_ids=torch.tensor([IDS])).logits)
    assert torch.equal(*found)


def test_a_training_that_began_on_what_was_left_does_not_go_on(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its factors were learnt beside another start; every other training keeps its digest."""
    facts = facts_of(encoded_rows(8), encoded_rows(2))

    def digest(init: str) -> str:
        manifest = manifest_for("lora", method={"init": init})
        shape = read_shape(tiny)
        plan = make_plan(manifest, identity("lora"), shape, MACHINE, facts, ENVIRONMENT)
        return plan.digests.train

    now = {init: digest(init) for init in ("kaiming", "pissa", "olora")}
    monkeypatch.setattr(type(METHODS["lora"]), "semantics", lambda self, table: 0)
    assert {init: digest(init) == now[init] for init in now} == {
        "kaiming": True,
        "pissa": False,
        "olora": False,
    }


def test_eva_takes_the_directions_of_the_rows(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    technique, table = METHODS["lora"], manifest_of("lora", rank=2, init="eva").method
    assert technique.needs_rows(table)
    assert not technique.needs_rows(technique.unset(table))
    torch.manual_seed(0)
    model: Any = technique.attach(base, table, steps=1)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    ids = torch.randint(0, 60, (4, 12))
    batches = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}]
    technique.begin(model, table, batches * 3)
    handle.remove()
    given = seen[0].reshape(-1, seen[0].shape[-1])
    directions = torch.linalg.svd(given, full_matrices=False)[2][:2]
    a = torch.nn.functional.normalize(layer.lora_A["default"].weight.detach(), dim=1)
    # The same plane, whichever way its axes point.
    torch.testing.assert_close(a.T @ a, directions.T @ directions, atol=0.05, rtol=0)
    assert not layer.lora_B["default"].weight.any()


def test_b_learns_faster_where_it_is_said(tiny: Path) -> None:
    from peft.optimizers import create_loraplus_optimizer
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    table = manifest_of("lora", rank=2, learning_rate_ratio=8.0).method
    model: Any = METHODS["lora"].attach(base, table, steps=1)
    rates = METHODS["lora"].rates(model, table)
    theirs = create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=8.0
    ).param_groups
    fast = {id(p) for group in theirs if group["lr"] == 8e-3 for p in group["params"]}
    named = dict(model.named_parameters())
    assert {id(named[name]) for name in rates} == fast
    assert set(rates.values()) == {8.0}
    assert METHODS["lora"].rates(model, manifest_of("lora", rank=2).method) == {}


@pytest.mark.parametrize(
    ("kind", "method", "reason"),
    [
        ("lora", {"exclude_modules": ["o_proj"]}, "`method.exclude_modules` names `o_proj`"),
        ("lora", {"layers_to_transform": [2]}, "has 2, and this base has 2 layers"),
        ("lora", {"target_modules": ".*v_proj"}, "names `.*v_proj`"),
        ("lora", {"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]}, "selects no"),
        ("lora", {"rank_pattern": {"up_proj": 3}}, "`method.rank_pattern` names `up_proj`"),
        ("lora", {"alpha_pattern": {"q": 3}}, "`method.alpha_pattern` names `q`"),
        ("ia3", {"outputs": ["c_attn"]}, "`method.outputs` names `c_attn`"),
    ],
)
def test_what_names_nothing_is_refused(kind: str, method: dict[str, Any], reason: str) -> None:
    table = manifest_of(kind, **method).method
    with pytest.raises(InvalidInput) as caught:
        METHODS[kind].trainable(SMALL, table)
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("kind", "method", "shape", "reason"),
    [
        ("lora", {"rank": 5, "init": "orthogonal"}, SMALL, "needs an even rank, not 5"),
        ("lora", {"rank": 257, "init": "pissa"}, SMALL, "at twice its rank"),
        ("vblora", {"vector_length": 4}, SMALL, "does not divide the width 2"),
        ("lora", {"rank": 4, "init": "olora"}, TRANSPOSED, "stores its matrices transposed"),
        ("qlora", {"rank": 4}, TRANSPOSED, "4-bit kernels read them in another order"),
    ],
)
def test_what_a_base_cannot_have_is_refused(
    kind: str, method: dict[str, Any], shape: BaseShape, reason: str
) -> None:
    with pytest.raises(InvalidInput, match=reason):
        METHODS[kind].require(shape, manifest_of(kind, **method).method)


@pytest.mark.parametrize(
    ("kind", "keys", "reason"),
    [
        ("lora", 'init = "loftq"', "`loftq` is no init of `lora`"),
        ("qlora", 'init = "pissa"', "`pissa` is no init of `qlora`"),
        ("dora", 'init = "eva"', "`eva` is no init of `dora`"),
        ("lora", 'modules_to_save = ["embed_tokens"]', "cannot be trained whole beside"),
        ("lora", 'target_modules = "q_proj"', "the letters of a name alone"),
        ("lora", 'target_modules = ".*(q"', "is no regular expression"),
        ("lora", "layers_to_transform = []", "no layer would get an adapter"),
        ("lora", 'rank_pattern = {"(q" = 3}', "is no regular expression"),
        ("vblora", "vectors = 2\nchosen = 3", "cannot be chosen out of 2"),
        (
            "lora",
            'init = "pissa"\n[objective]\nkind = "dpo"\nreference = "other@1"',
            "another release's factors would be read without it",
        ),
        ("lora", 'init = "olora"\n[start]\nfrom = "other@1"', "as the release that `[start]`"),
    ],
)
def test_what_cannot_be_declared(tmp_path: Path, kind: str, keys: str, reason: str) -> None:
    quantized = 'quantization = "nf4"' if kind == "qlora" else ""
    path = tmp_path / "one.toml"
    path.write_text(
        f'[adapter]\nname = "one"\n[base]\nmodel = "smollm2-135m-instruct"\n{quantized}\n'
        f'[data]\ntrain = "icd-10-cm:train"\n[method]\nkind = "{kind}"\n{keys}\n'
    )
    _, faults = check_manifest(str(path))
    assert any(reason in fault.message for fault in faults), [f.message for f in faults]


def test_unusual_choices_of_the_new_keys_are_said() -> None:
    def said(kind: str, **method: Any) -> list[str]:
        return [lint.key for lint in METHODS[kind].lints(SMALL, manifest_of(kind, **method).method)]

    assert said("lora", rank=1, learning_rate_ratio=64.0) == ["method.learning_rate_ratio"]
    assert said("lora", rank=1, learning_rate_ratio=16.0) == []
    assert said("lora", rank=1, exclude_modules=["down_proj"]) == ["method.target_modules"]
    assert said("vera", rank=8) == ["method.rank"]
    assert said("vblora", chosen=5) == ["method.chosen"]
