"""Log-probabilities of a prompt's own tokens, for every adapter of a batch, at the positions asked.

vLLM 0.32 maps adapters to rows of its logits layer by request, and hands the rows of a whole prompt
to it: with LoRA the batch ends in an error as soon as it holds two requests, and before that the
wrong adapter's logits are added. Here each row is given its own request's adapter first. Only
positions that were asked for are multiplied with the vocabulary, in pieces of `PIECE` rows.

Invariant: row k of a request's table belongs to its k-th position, an index into the client's own
tokens; virtual tokens in front of them are counted by nobody. What prefills in chunks, is preempted
or resumed fills the same table.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from vllm.v1.outputs import LogprobsTensors
from vllm.v1.sample import sampler
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from adapterworks.gateway.engine_plugin.positions import positions_of
from adapterworks.gateway.engine_plugin.servables import virtual_count

PIECE = 256
"""Rows of logits at once: of a vocabulary of 50,000 they are 50 MB, of 150,000 three times that."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One position to be scored in this step.

    Attributes:
        state: its row in the step's hidden states.
        lora: id of its request's adapter, 0 for the base.
        target: the token that stands there.
        top: how many likeliest tokens are wanted.
        table: where the answer goes, at `place`.
    """

    state: int
    lora: int
    target: int
    top: int
    table: LogprobsTensors
    place: int


def score_prompts(
    runner: GPUModelRunner, hidden_states: torch.Tensor, num_scheduled_tokens: dict[str, int]
) -> dict[str, LogprobsTensors | None]:
    """What `GPUModelRunner._get_prompt_logprobs_dict` is to give: tables of prompts that ended.

    Args:
        hidden_states: of the step's tokens, [tokens, hidden size].
        num_scheduled_tokens: of each request in the step.
    """
    if not runner.num_prompt_logprobs:
        return {}
    ended: dict[str, LogprobsTensors | None] = {}
    rows: list[_Row] = []
    for name, top in runner.num_prompt_logprobs.items():
        scheduled, request = num_scheduled_tokens.get(name), runner.requests[name]
        # Preempted meanwhile; or embeddings, which have no tokens to score.
        if scheduled is None or request.prompt_token_ids is None:
            continue
        rows += _rows(runner, name, request, top, scheduled)
        if request.num_computed_tokens + scheduled >= len(request.prompt_token_ids):
            ended[name] = request.in_progress_prompt_logprobs_cpu
    left = iter(rows)
    while piece := list(islice(left, PIECE)):
        _score(runner, hidden_states, piece)
    for name in ended:
        del runner.num_prompt_logprobs[name]
        runner.requests[name].in_progress_prompt_logprobs_cpu = None
    if ended:
        runner._sync_device()
    return ended


def _rows(
    runner: GPUModelRunner, name: str, request: Any, top: int, scheduled: int
) -> Iterator[_Row]:
    """The positions of one request that this step predicts; makes its table at the first step."""
    extra = request.sampling_params.extra_args
    virtual, ids = virtual_count(extra), request.prompt_token_ids
    positions: Sequence[int] = positions_of(extra) or range(1, len(ids) - virtual)
    table = request.in_progress_prompt_logprobs_cpu
    if table is None:
        table = LogprobsTensors.empty_cpu(len(positions), top + 1)
        request.in_progress_prompt_logprobs_cpu = table
    index = runner.input_batch.req_id_to_index[name]
    lora = int(runner.input_batch.request_lora_mapping[index])
    start = int(runner.query_start_loc.np[index])
    # The state of the token at i says what stands at i + 1.
    first = request.num_computed_tokens + 1 - virtual
    for place in range(bisect_left(positions, first), bisect_left(positions, first + scheduled)):
        position = positions[place]
        state = start + position - first
        yield _Row(state, lora, ids[position + virtual], top, table, place)


def _score(runner: GPUModelRunner, hidden_states: torch.Tensor, rows: list[_Row]) -> None:
    """Fill the tables of these rows."""
    if runner.lora_config:
        # vLLM sets the step's own mapping before each forward pass; nothing reads it in between.
        loras = tuple(row.lora for row in rows)
        active = set(runner.input_batch.lora_id_to_lora_request.values())
        runner._set_active_loras(loras, loras, active)
    states = torch.tensor([row.state for row in rows], device=hidden_states.device)
    logits = runner.model.compute_logits(hidden_states[states])
    if runner.model_config.logprobs_mode in ("raw_logits", "processed_logits"):
        scores = logits.to(torch.float32)
    else:
        scores = runner.sampler.compute_logprobs(logits)
    targets = torch.tensor([row.target for row in rows], device=scores.device)
    found = runner.sampler.gather_logprobs(scores, max(row.top for row in rows), targets)
    ids, values = found.logprob_token_ids.cpu(), found.logprobs.cpu()
    ranks = found.selected_token_ranks.cpu()
    for number, row in enumerate(rows):
        row.table.logprob_token_ids[row.place] = ids[number, : row.top + 1]
        row.table.logprobs[row.place] = values[number, : row.top + 1]
        row.table.selected_token_ranks[row.place] = ranks[number]


def count_at_least(scores: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The ranks of `values` [rows, 1] among `scores` [rows, vocabulary]: int64 [rows]."""
    return (scores >= values).sum(-1)


def install() -> None:
    """Score prompts so in this process; harmless when repeated.

    vLLM compiles its count of ranks when the first log-probabilities are asked for, in C++: seconds
    on a quiet machine, half a minute on a busy one, in the middle of somebody's request.
    """
    GPUModelRunner._get_prompt_logprobs_dict = score_prompts
    sampler.batched_count_greater_than = count_at_least
