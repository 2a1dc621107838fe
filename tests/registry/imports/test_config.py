"""What an `adapter_config.json` may say besides what we know, when that is nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapterworks.registry.imports.config import parse_config
from adapterworks.registry.imports.errors import ImportRefused

KNOWN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}


def parsed(**keys: Any) -> Any:
    return parse_config(json.dumps(KNOWN | keys).encode())


@pytest.mark.parametrize("off", [None, False, "", [], {}])
def test_keys_of_a_newer_peft_that_are_off_change_nothing(off: Any) -> None:
    assert parsed(use_newthing=off) == parsed()


@pytest.mark.parametrize("on", [True, 0, 1, "all", [0], {"a": None}])
def test_keys_of_a_newer_peft_that_are_on_are_refused(on: Any) -> None:
    with pytest.raises(ImportRefused, match="the key `use_newthing` is not one of a LoRA config"):
        parsed(use_newthing=on)


@pytest.mark.parametrize("key", ["use_rslora", "use_dora", "bias", "rank_pattern"])
def test_null_is_the_default(key: str) -> None:
    assert parsed(**{key: None}) == parsed()


def test_null_is_no_rank() -> None:
    with pytest.raises(ImportRefused, match="`r` is None"):
        parsed(r=None)


def test_a_mark_of_byte_order_is_passed_over() -> None:
    assert parse_config(b"\xef\xbb\xbf" + json.dumps(KNOWN).encode()) == parsed()


def test_what_peft_converted_is_a_lora_on_the_base_as_it_was() -> None:
    """`path_initial_model_for_weight_conversion` sets the start to true and leaves the rest."""
    told = {"cache_file": None, "covariance_file": None, "corda_method": "ipm", "verbose": False}
    assert parsed(init_lora_weights=True, corda_config=told) == parsed()
    with pytest.raises(ImportRefused, match="`init_lora_weights` is `corda`"):
        parsed(init_lora_weights="corda", corda_config=told)
