"""Scores of prompts by vLLM's own logits layer with LoRA, its own mapping and both its wrappers.

What is right is worked out row by row: the base's logits, and the request's own adapter's product.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from vllm.config.lora import LoRAConfig
from vllm.lora.layers import LoRAMapping
from vllm.lora.layers.logits_processor import LogitsProcessorWithLoRA
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.v1.sample import sampler
from vllm.v1.sample.sampler import Sampler

from adapterworks.gateway.engine_plugin import prompt_scores
from adapterworks.gateway.engine_plugin.cpu_lora import GroupedPunicaWrapper
from adapterworks.gateway.engine_plugin.positions import POSITIONS
from adapterworks.gateway.engine_plugin.prompt_scores import count_at_least, score_prompts

VOCABULARY, HIDDEN, SLOTS, RANK, TOP = 40, 12, 3, 8, 3


class Runner:
    """As much of vLLM's model runner as scoring reads, around its real logits layer."""

    def __init__(self, wrapper: type[PunicaWrapperCPU], vllm_cpu: Any) -> None:
        draw = torch.Generator().manual_seed(5)
        self.head = torch.randn(VOCABULARY, HIDDEN, generator=draw)
        self.draw = draw
        base: Any = LogitsProcessor(VOCABULARY)
        base._apply_head = lambda head, states, bias: states @ self.head.t()
        base._gather_logits = lambda logits: logits
        layer = LogitsProcessorWithLoRA(base, HIDDEN, torch.float32, torch.device("cpu"), None)
        layer.create_lora_weights(
            SLOTS, LoRAConfig(max_lora_rank=RANK, max_loras=SLOTS, lora_dtype=torch.float32)
        )
        self.wrapper = wrapper(64, 8, torch.device("cpu"), lora_config=None)
        layer.set_mapping(self.wrapper)
        adopt = getattr(self.wrapper, "adopt", None)
        if adopt is not None:
            adopt(layer)
        self.deltas: dict[int, torch.Tensor] = {0: torch.zeros(VOCABULARY, HIDDEN)}
        for lora in range(1, SLOTS + 1):
            a = torch.randn(RANK, HIDDEN, generator=draw)
            b = torch.randn(VOCABULARY, RANK, generator=draw)
            layer.set_lora(lora - 1, a, b)
            self.deltas[lora] = b @ a
        self.model = SimpleNamespace(
            compute_logits=lambda states: layer._get_logits(states, SimpleNamespace(), None)
        )
        self.model_config = SimpleNamespace(logprobs_mode="raw_logprobs")
        self.sampler, self.lora_config = Sampler, object()
        self.num_prompt_logprobs: dict[str, int] = {}
        self.requests: dict[str, Any] = {}
        self.input_batch: Any = None
        self.query_start_loc: Any = None
        self.mapped: list[int] = []

    def _set_active_loras(self, prompts: Any, tokens: Any, requests: Any) -> None:
        self.mapped.append(len(prompts))
        mapping = LoRAMapping(tokens, prompts, is_prefill=True)
        self.wrapper.update_metadata(mapping, [1, 2, 3], SLOTS, VOCABULARY)

    def _sync_device(self) -> None:
        pass

    def add(self, name: str, lora: int, ids: list[int], **extra: Any) -> None:
        """A request for the scores of its prompt."""
        self.num_prompt_logprobs[name] = TOP
        self.requests[name] = SimpleNamespace(
            prompt_token_ids=ids, num_computed_tokens=0, in_progress_prompt_logprobs_cpu=None,
            sampling_params=SimpleNamespace(extra_args=extra), lora=lora,
        )  # fmt: skip

    def step(self, scheduled: dict[str, int], states: dict[str, torch.Tensor]) -> Any:
        """One forward pass of so many tokens of each; states are those of whole prompts."""
        starts = np.cumsum([0, *scheduled.values()])
        self.query_start_loc = SimpleNamespace(np=starts)
        self.input_batch = SimpleNamespace(
            req_id_to_index={name: index for index, name in enumerate(scheduled)},
            request_lora_mapping=np.array([self.requests[name].lora for name in scheduled]),
            lora_id_to_lora_request={},
        )
        rows = []
        for name, count in scheduled.items():
            begin = self.requests[name].num_computed_tokens
            rows.append(states[name][begin : begin + count])
        found = score_prompts(self, torch.cat(rows), scheduled)  # type: ignore[arg-type]
        for name, count in scheduled.items():
            self.requests[name].num_computed_tokens += count
        return found

    def states(self) -> dict[str, torch.Tensor]:
        """Hidden states of every request's prompt."""
        return {
            name: torch.randn(len(request.prompt_token_ids), HIDDEN, generator=self.draw)
            for name, request in self.requests.items()
        }

    def right(self, name: str, states: torch.Tensor) -> torch.Tensor:
        """The log-probabilities that the state of each token predicts."""
        logits = states @ (self.head + self.deltas[self.requests[name].lora]).t()
        return logits.log_softmax(-1)


@pytest.fixture(params=[PunicaWrapperCPU, GroupedPunicaWrapper], ids=["stock", "ours"])
def runner(
    request: pytest.FixtureRequest, vllm_cpu: Any, monkeypatch: pytest.MonkeyPatch
) -> Runner:
    monkeypatch.setattr(sampler, "batched_count_greater_than", count_at_least)
    return Runner(request.param, vllm_cpu)


def check(table: Any, right: torch.Tensor, ids: list[int], positions: list[int]) -> None:
    """Every row: the token itself with its rank, then the likeliest."""
    assert table.logprobs.shape == (len(positions), TOP + 1)
    for row, position in enumerate(positions):
        at = right[position - 1]
        best = at.topk(TOP)
        want = torch.cat([at[ids[position]].reshape(1), best.values])
        torch.testing.assert_close(table.logprobs[row], want, atol=1e-4, rtol=0)
        assert table.logprob_token_ids[row].tolist() == [ids[position], *best.indices.tolist()]
        assert table.selected_token_ranks[row] == int((at >= at[ids[position]]).sum())


def test_every_request_is_scored_with_its_own_adapter(runner: Runner) -> None:
    """Of one batch: three adapters, the base, and one that only answers."""
    prompts = {"a": [1, 2, 3, 4], "base": [5, 6, 7], "b": [8, 9, 10, 11, 12], "c": [13, 14]}
    for lora, (name, ids) in zip((1, 0, 2, 3), prompts.items(), strict=True):
        runner.add(name, lora, ids)
    runner.add("answers", 2, [15, 16, 17])
    del runner.num_prompt_logprobs["answers"]
    states = runner.states()
    found = runner.step({"answers": 3, **{name: len(ids) for name, ids in prompts.items()}}, states)
    assert found.keys() == prompts.keys()
    if not isinstance(runner.wrapper, GroupedPunicaWrapper):
        del prompts["base"]  # vLLM #48421: stock gives rows of the base the last slot's adapter
    for name, ids in prompts.items():
        check(found[name], runner.right(name, states[name]), ids, list(range(1, len(ids))))
    assert runner.num_prompt_logprobs == {}
    assert runner.mapped == [3 + 2 + 4 + 1]


@pytest.mark.parametrize("chunks", [[1, 1, 1, 1, 1, 1], [4, 2], [5, 1], [2, 3, 1], [6]])
def test_chunks_fill_one_table_which_is_given_when_the_prompt_has_ended(
    runner: Runner, chunks: list[int]
) -> None:
    ids = [1, 2, 3, 4, 5, 6]
    runner.add("all", 1, ids)
    runner.add("some", 2, ids, **{POSITIONS: [1, 4, 5]})
    states = runner.states()
    for number, count in enumerate(chunks, 1):
        found = runner.step({"all": count, "some": count}, states)
        assert bool(found) is (number == len(chunks))
    check(found["all"], runner.right("all", states["all"]), ids, [1, 2, 3, 4, 5])
    check(found["some"], runner.right("some", states["some"]), ids, [1, 4, 5])


def test_what_was_preempted_is_scored_from_its_beginning(runner: Runner) -> None:
    ids = [1, 2, 3, 4]
    runner.add("a", 1, ids)
    states = runner.states()
    assert runner.step({"a": 2}, states) == {}
    runner.add("b", 2, [5, 6])
    both = runner.states()
    assert runner.step({"b": 2}, both).keys() == {"b"}  # `a` waits meanwhile
    runner.requests["a"].num_computed_tokens = 0
    found = runner.step({"a": 4}, {"a": both["a"]})
    check(found["a"], runner.right("a", both["a"]), ids, [1, 2, 3])


def test_positions_are_the_clients_where_virtual_tokens_stand_in_front(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of them, loaded and not computed: the first step begins behind them."""
    monkeypatch.setattr(prompt_scores, "virtual_count", lambda extra: extra["virtual"])
    ids = [1, 2, 3, 4]
    runner.add("a", 1, [1, 1, 1, *ids], virtual=3)
    runner.add("some", 2, [1, 1, 1, *ids], virtual=3, **{POSITIONS: [3]})
    states = runner.states()
    for name in states:
        runner.requests[name].num_computed_tokens = 3
    found = runner.step({"a": 4, "some": 4}, states)
    check(found["a"], runner.right("a", states["a"])[3:], ids, [1, 2, 3])
    check(found["some"], runner.right("some", states["some"])[3:], ids, [3])


def test_many_rows_are_scored_in_pieces(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_scores, "PIECE", 4)
    prompts = {"a": [1, 2, 3, 4, 5, 6], "b": [8, 9, 10, 11, 12, 13]}
    for lora, (name, ids) in enumerate(prompts.items(), 1):
        runner.add(name, lora, ids)
    states = runner.states()
    found = runner.step({"a": 6, "b": 6}, states)
    assert runner.mapped == [4, 4, 2]
    for name, ids in prompts.items():
        check(found[name], runner.right(name, states[name]), ids, [1, 2, 3, 4, 5])


def test_a_prompt_of_one_token_has_nothing_to_score(runner: Runner) -> None:
    runner.add("a", 1, [7])
    found = runner.step({"a": 1}, runner.states())
    assert found["a"].logprobs.shape == (0, TOP + 1)
    assert runner.mapped == []
