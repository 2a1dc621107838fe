"""Hostile adapter_config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.registry.imports.hostile.cases import CASES, CONFIG, Case, case
from tests.registry.imports.hostile.good import CONFIG as GOOD


def text(folder: Path, content: str) -> None:
    (folder / CONFIG).write_text(content)


def keys(name: str, says: str, **changes: Any) -> None:
    """Register a case that only changes keys of the config."""
    CASES.append(
        Case(name, CONFIG, says, lambda folder: text(folder, json.dumps({**GOOD, **changes})))
    )


@case(CONFIG, "not JSON")
def config_is_not_json(folder: Path) -> None:
    text(folder, "r: 16")


@case(CONFIG, "not a table")
def config_is_a_list(folder: Path) -> None:
    text(folder, "[1, 2, 3]")


@case(CONFIG, "`NaN` is not a JSON value")
def alpha_is_nan(folder: Path) -> None:
    text(folder, json.dumps({**GOOD, "lora_alpha": float("nan")}))


@case(CONFIG, "the key `r` appears twice")
def rank_twice(folder: Path) -> None:
    text(folder, json.dumps(GOOD)[:-1] + ', "r": 512}')


@case(CONFIG, "nested deeper than 6 levels")
def config_nested_100000_deep(folder: Path) -> None:
    text(folder, '{"r":' + "[" * 100_000 + "]" * 100_000 + "}")


@case(CONFIG, "bytes, 1048576 are the limit")
def config_of_two_megabytes(folder: Path) -> None:
    text(folder, json.dumps({**GOOD, "note": "x" * (2 << 20)}))


keys("remote-code", "`auto_map` must not be set: it names code", auto_map={"AutoModel": "m.Evil"})
keys(
    "library-to-import",
    "`auto_mapping` must not be set: it names a library",
    auto_mapping={"base_model_class": "Popen", "parent_library": "subprocess"},
)
keys(
    "library-that-looks-like-transformers",
    "`auto_mapping` must not be set",
    auto_mapping={"base_model_class": "Llama", "parent_library": "transformers_evil.models"},
)
keys("layers-to-replace", "`modules_to_save` must not be set", modules_to_save=["lm_head"])
keys("trained-biases", "`bias` is 'all'", bias="all")
keys("lora-bias", "`lora_bias` must not be set", lora_bias=True)
keys("rank-100000", "`r` is 100000: input should be less than or equal to 512", r=100_000)
keys("rank-zero", "`r` is 0: input should be greater than 0", r=0)
keys("rank-is-text", "`r` is '4': input should be a valid integer", r="4")
keys("rank-is-true", "`r` is True: input should be a valid integer", r=True)
keys("alpha-infinite-scale", "`lora_alpha` is 1e+300", lora_alpha=1e300)
keys("unknown-key", "the key `trust_remote_code` is not one", trust_remote_code=True)
keys("unknown-number", "the key `use_newthing` is not one", use_newthing=0)
for init in ("pissa", "pissa_niter_4", "olora", "corda", "lora_ga", "LoRA_GA", "loftq", "new"):
    way = "" if init in ("loftq", "new") else "; save it with PEFT's `path_initial_model_for"
    keys(
        f"init-rewrites-the-base-{init}",
        f"`{init}`: it was trained on a base whose weights that changes{way}",
        init_lora_weights=init,
    )
keys("soft-prompt", "`peft_type` is `PROMPT_TUNING`", peft_type="PROMPT_TUNING")
keys("unknown-method", "`peft_type` is `EVIL`: only LORA", peft_type="EVIL")
keys("method-is-a-list", "only LORA is imported", peft_type=["LORA"])
keys("task-of-no-model", "`task_type` is 'EVIL'", task_type="EVIL")
keys("dead-key-that-is-on", "`enable_lora` must not be set", enable_lora=[True, False])
keys("regex-bomb-in-rank-pattern", "`rank_pattern.", rank_pattern={"(a+)+$": 4})
keys("rank-pattern-of-9999", "`rank_pattern.q_proj` is 9999", rank_pattern={"q_proj": 9999})
keys("layers-replicated", "`layer_replication` must not be set", layer_replication=[[0, 2], [1, 2]])
keys("tokens-retrained", "`trainable_token_indices` must not be set", trainable_token_indices=[1])
keys("activated-by-tokens", "`alora_invocation_tokens` must not", alora_invocation_tokens=[5, 6])
keys("targets-empty", "`target_modules` is []", target_modules=[])
keys("targets-with-a-path", "`target_modules", target_modules=["../q_proj"])
