"""Architecture × method, on tiny random bases: trains and serves what was trained, or is refused.

For each of `ARCHITECTURES` a base of two layers is drawn, and for each of `METHODS` a training of a
few steps is planned, run and converted. Checked are, in float32:

- the parameters that the plan counted are those that are trained;
- rows side by side, end to end and behind what they share have the losses they have one by one, or
  the training finds out and does without (rows are longer than any window);
- the form that an engine loads answers what PEFT's own adapter answers.

A cell says `exact`, the error that the conversion states, or why the plan refuses. Ends with 1 if
anything differs without being said.

    python -m bench.architectures [NAME …]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adapterworks.builders.methods import METHODS as TECHNIQUES
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.objectives.batch import TokenSequence, behind_shared, packed, padded
from adapterworks.builders.objectives.scoring import score, score_behind_shared
from adapterworks.builders.plan.attached import check_attached
from adapterworks.builders.plan.sharing import can_share
from adapterworks.builders.training.shared_prefix import computes_alike
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.bases.causal_lm import load_causal_lm
from adapterworks.registry.bases.nf4 import write_dequantized
from tests.builders.build_support import make_tiny_base, manifest_for, tiny_job

METHODS = ("lora", "qlora", "full", "prefix-tuning")
TOLERANCE = 1e-5  # nats, over 1 + the loss of a token
SERVED = 1e-3  # of a log-probability: NF4 kernels against dense values
WINDOW = 40

_ENDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
_PLAIN = {
    "vocab_size": 258,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    **_ENDS,
}
_GROUPED = {**_PLAIN, "num_key_value_heads": 2}
_HEADS = {**_GROUPED, "head_dim": 16}
_WINDOW = {"sliding_window": WINDOW}
_OLD = {"vocab_size": 258, "hidden_size": 64, **_ENDS}
_IMAGES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("LlamaConfig", _GROUPED),
    "Mistral": ("MistralConfig", {**_GROUPED, **_WINDOW}),
    "Qwen2": ("Qwen2Config", _GROUPED),
    "Qwen3": ("Qwen3Config", {**_GROUPED, "head_dim": 32}),
    "Gemma": ("GemmaConfig", _HEADS),
    # A cap that random weights' scores meet, as those of Gemma 2 meet 50.
    "Gemma2": (
        "Gemma2Config",
        {**_HEADS, **_WINDOW, "attn_logit_softcapping": 0.5, "query_pre_attn_scalar": 1},
    ),
    "Gemma3": ("Gemma3TextConfig", {**_HEADS, **_WINDOW}),
    "Gemma3-images": (
        "Gemma3Config",
        {
            "text_config": {**_HEADS, **_WINDOW},
            "vision_config": _IMAGES,
            "mm_tokens_per_image": 1,
            **_ENDS,
        },
    ),
    "Phi": ("PhiConfig", _PLAIN),
    "Phi3": ("Phi3Config", _GROUPED),
    "OLMo": ("OlmoConfig", _PLAIN),
    "OLMo2": ("Olmo2Config", _GROUPED),
    "OLMo3": ("Olmo3Config", {**_GROUPED, **_WINDOW}),
    "Granite": ("GraniteConfig", _GROUPED),
    "SmolLM3": ("SmolLM3Config", _GROUPED),
    "Cohere": ("CohereConfig", _GROUPED),
    "Cohere2": ("Cohere2Config", {**_GROUPED, **_WINDOW}),
    "StableLM": ("StableLmConfig", _PLAIN),
    "Starcoder2": ("Starcoder2Config", _GROUPED),
    "GLM4": ("Glm4Config", _HEADS),
    "Nemotron": ("NemotronConfig", _GROUPED),
    "Helium": ("HeliumConfig", _HEADS),
    "GPT-NeoX": ("GPTNeoXConfig", _PLAIN),
    "GPT-2": ("GPT2Config", {"vocab_size": 258, "n_embd": 64, "n_layer": 2, "n_head": 4, **_ENDS}),
    "OPT": (
        "OPTConfig",
        {**_PLAIN, "ffn_dim": 128, "word_embed_proj_dim": 64},
    ),
    "Bloom": ("BloomConfig", {**_OLD, "n_layer": 2, "n_head": 4}),
    "Falcon": (
        "FalconConfig",
        {**_OLD, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": True},
    ),
    "Mixtral": ("MixtralConfig", {**_GROUPED, **_EXPERTS}),
    "Qwen3-MoE": (
        "Qwen3MoeConfig",
        {**_HEADS, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
    "GPT-OSS": ("GptOssConfig", {**_HEADS, **_EXPERTS, **_WINDOW}),
    "DeepSeek-V3": (
        "DeepseekV3Config",
        {
            **_PLAIN,
            "moe_intermediate_size": 32,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 16,
            "q_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 16,
        },
    ),
    "Mamba": ("MambaConfig", {**_OLD, "num_hidden_layers": 2, "state_size": 8}),
    "LFM2": ("Lfm2Config", {**_GROUPED, "layer_types": ["conv", "full_attention"]}),
}


@dataclass(frozen=True, slots=True)
class Layouts:
    """Largest difference of a token's log-probability from that of its row alone, and whether the
    training would use the layout."""

    padded: float
    packed: float | None
    packs: bool
    shared: float | None
    shares: bool

    @property
    def fault(self) -> str | None:
        """What is used although it differs."""
        for name, used, value in (
            ("padded", True, self.padded),
            ("packed", self.packs, self.packed),
            ("shared", self.shares, self.shared),
        ):
            if used and (value is None or value > TOLERANCE):
                return f"{name} rows differ by {value}"
        return None


def make_base(name: str, folder: Path, **changes: Any) -> Path:
    """A random base of this architecture, with weights so large that answers depend on all."""
    import transformers

    make_tiny_base(folder)
    config, values = ARCHITECTURES[name]
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        getattr(transformers, config)(**{**values, **changes})
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4.0)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    return folder


def rows(lengths: Iterable[int] = (40, 52, 60)) -> list[TokenSequence]:
    """Rows of one beginning; all but their first ten tokens are learnt."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for length in lengths:
        own = torch.randint(2, 250, (length,), generator=generator)
        ids = torch.cat((torch.tensor([0, 7, 8, 9]), own))
        labels = ids.clone()
        labels[:10] = -100
        made.append(TokenSequence(ids, labels))
    return made


def layouts(base: Path, precision: str = "fp32") -> Layouts:
    """The three layouts of one base, against its rows one by one."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    model = load_causal_lm(base, dtype=dtype).eval()
    given = rows()
    with torch.no_grad():
        alone = torch.cat([score(model, padded([row], 1)).logprobs for row in given])

        def apart(found: Any) -> float | None:
            try:
                scores = found()
            except (TypeError, ValueError, RuntimeError):
                return None
            values = scores.logprobs[torch.argsort(scores.owners, stable=True)]
            return float(((values - alone).abs() / (1 + alone.abs())).max())

        found = apart(lambda: score(model, padded(given, 1)))
        ends = apart(lambda: score(model, packed(given)))
        behind = apart(lambda: score_behind_shared(model, behind_shared(given)))
    shape = read_shape(base)
    asked: dict[str, Any] = {"pad": 1, "precision": precision}
    # What the plan leaves out before the model is asked (`builders/plan/sharing.py`).
    longest = max(len(row.input_ids) for row in given)
    plans = can_share(manifest_for("lora"), TECHNIQUES["lora"], shape, longest)
    return Layouts(
        padded=-1.0 if found is None else found,
        packed=ends,
        packs=not shape.mixes and computes_alike(model, given, packing=True, **asked),
        shared=behind,
        shares=plans and computes_alike(model, given, **asked),
    )


def trained(base: Path, folder: Path, kind: str) -> str:
    """One cell: plan, train, convert, and compare what an engine loads with what was trained.

    Raises:
        AssertionError: planned is not trained, or served is not what was trained.
    """
    from adapterworks.builders.evaluation.served_model import ServedModel

    try:
        job = tiny_job(base, folder / kind, kind, rows=16, epochs=1.0, learning_rate=1e-2)
        check_attached(job.plan.manifest, base, planned=job.plan.trainable, steps=job.plan.steps)
    except InvalidInput as error:
        return f"refused: {error.message}"
    trainer = job.trainer()
    counted = sum(p.numel() for p in trainer.bare.parameters() if p.requires_grad)
    assert counted == job.plan.trainable, (counted, job.plan.trainable)
    trainer.run()
    served = base
    if kind == "qlora":
        served = folder / "served"
        write_dequantized(base, served, double_quantization=True)
    source = Source(job.folder / "adapter", served, read_shape(base), job.plan.manifest)
    done = TECHNIQUES[kind].convert(source, folder / kind / "servable")
    form = ServedModel(served, folder / kind / "servable", done.servable)
    ids = rows((24,))[0].input_ids
    trainer.bare.eval()
    with torch.no_grad():
        own = torch.log_softmax(trainer.bare(input_ids=ids[None]).logits[0].float(), dim=-1)
    said = form.log_probabilities(ids.tolist())
    moved = float((said - form.log_probabilities(ids.tolist(), adapter=False)).abs().max())
    assert moved > SERVED, "the training changed nothing"
    difference = float(((said - own).abs() / (1 + own.abs())).max())
    if done.left_out or done.servable.error:
        return f"served, error {done.servable.error:.1e}, {len(done.left_out)} left out"
    assert difference < SERVED, f"the served form is off by {difference:.1e}"
    return "exact"


def main() -> int:
    """Print the matrix."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("names", nargs="*", help="only these architectures")
    names = parser.parse_args().names or [*ARCHITECTURES]
    table, failed = [], 0
    for name in names:
        row: dict[str, Any] = {"architecture": name}
        with tempfile.TemporaryDirectory() as scratch:
            base = make_base(name, Path(scratch) / "base")
            try:
                found = layouts(base)
                row["packed"] = "equal" if found.packs else "refused"
                row["shared"] = "equal" if found.shares else "left out"
                if found.fault:
                    row["packed"], failed = f"FAULT: {found.fault}", failed + 1
            except InvalidInput as error:
                row["packed"] = row["shared"] = f"refused: {error.message}"
            for kind in METHODS:
                try:
                    row[kind] = trained(base, Path(scratch), kind)
                except AssertionError as error:
                    row[kind], failed = f"FAULT: {error}", failed + 1
        print(" | ".join(str(value) for value in row.values()), file=sys.stderr, flush=True)
        table.append(row)
    columns = ["architecture", "packed", "shared", *METHODS]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in table:
        print("| " + " | ".join(str(row[column]) for column in columns) + " |")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
