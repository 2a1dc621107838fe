"""Decoding's own cache and attention give what transformers' give."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, MistralConfig
from transformers.cache_utils import DynamicSlidingWindowLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from adapterworks.builders.generation.grouped_query_attention import grouped_query_attention
from adapterworks.builders.generation.kv_cache import PreallocatedLayer, preallocated_cache

ROWS, HEADS, WIDTH = 3, 2, 4


def states(tokens: int, rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.randn(2, rows, HEADS, tokens, WIDTH)
    return drawn[0], drawn[1]


def both() -> tuple[DynamicCache, DynamicCache]:
    ours, theirs = DynamicCache(), DynamicCache()
    ours.layers = [PreallocatedLayer()]
    return ours, theirs


def add(tokens: int, *caches: DynamicCache, rows: int = ROWS) -> list[tuple[Any, Any]]:
    key, value = states(tokens, rows)
    return [cache.update(key, value, 0) for cache in caches]


def same(given: list[tuple[Any, Any]]) -> None:
    for ours, theirs in zip(*given, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_tokens_are_added_within_the_room_and_beyond_it() -> None:
    ours, theirs = both()
    for tokens in (7, *[1] * 130, 70):
        same(add(tokens, ours, theirs))
    assert ours.get_seq_length() == theirs.get_seq_length() == 207


def test_rows_are_chosen_tokens_cut_and_it_goes_on() -> None:
    ours, theirs = both()
    add(5, ours, theirs)
    for cache in (ours, theirs):
        cache.batch_select_indices(torch.tensor([0, 2]))
    same(add(1, ours, theirs, rows=2))
    for cache in (ours, theirs):
        cache.crop(-3)
    same(add(2, ours, theirs, rows=2))
    for cache in (ours, theirs):
        cache.reset()
    same(add(4, ours, theirs))


def test_what_was_read_before_stays_as_it_was() -> None:
    ours, _ = both()
    (read,) = add(5, ours)
    before = read[0].clone()
    ours.batch_select_indices(torch.tensor([2, 1, 0]))
    add(1, ours)
    torch.testing.assert_close(read[0], before, rtol=0, atol=0)


def test_keys_and_values_are_not_copied_for_each_token() -> None:
    ours, _ = both()
    places = {add(tokens, ours)[0][0].data_ptr() for tokens in (7, *[1] * 64)}
    assert len(places) == 1


def test_layers_with_a_window_are_transformers_own() -> None:
    model = LlamaForCausalLM(tiny(LlamaConfig))
    model.config = tiny(MistralConfig, sliding_window=8)
    assert {type(layer) for layer in preallocated_cache(model).layers} == {
        DynamicSlidingWindowLayer
    }
    model.config = tiny(LlamaConfig)
    assert {type(layer) for layer in preallocated_cache(model).layers} == {PreallocatedLayer}


def tiny(config: Any, heads: int = 4, shared: int = 2, **given: Any) -> Any:
    return config(
        vocab_size=64, hidden_size=48, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=heads, num_key_value_heads=shared, attn_implementation="sdpa", **given
    )  # fmt: skip


@pytest.mark.parametrize(("heads", "shared"), [(4, 2), (6, 2), (4, 1), (4, 4)])
def test_heads_of_a_group_see_what_they_see_alone(heads: int, shared: int) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(tiny(LlamaConfig, heads, shared)).eval()
    ids = torch.randint(64, (3, 9))
    mask = torch.ones_like(ids)
    mask[1, :4] = mask[2, :1] = 0
    found = []
    for attention in (nullcontext(), grouped_query_attention()):
        with torch.no_grad(), attention:
            cache = model(ids, attention_mask=mask, use_cache=True).past_key_values
            further = torch.cat((mask, mask[:, :1] * 0 + 1), dim=1)
            found.append(
                model(ids[:, :1], attention_mask=further, past_key_values=cache).logits[:, -1]
            )
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5)


def test_heads_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def noted(query: torch.Tensor, key: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
        seen.append(tuple(key.shape[:3]))
        return attend(query, key, *given, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    model = LlamaForCausalLM(tiny(LlamaConfig)).eval()
    ids, mask = torch.randint(64, (2, 5)), torch.tensor([[0, 1, 1, 1, 1, 1], [1] * 6])
    with torch.no_grad(), grouped_query_attention():
        cache = model(ids, attention_mask=mask[:, :5], use_cache=True).past_key_values
        seen.clear()
        model(ids[:, :1], attention_mask=mask, past_key_values=cache)
    assert seen == [(2, 2, 6)] * 2


def test_transformers_attention_is_as_it_was_afterwards() -> None:
    own = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def fail() -> None:
        with grouped_query_attention():
            assert ALL_ATTENTION_FUNCTIONS["sdpa"] is not own
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is own
    assert "sdpa" not in ALL_ATTENTION_FUNCTIONS._local_mapping
