"""One vLLM engine in this process, told what to run over its standard input: `bench.engine_lora`.

Invariant: one JSON line in, one JSON line out; everything vLLM prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

PROMPT_TOKENS = 850
DECODE_PROMPT_TOKENS = 8


class Worker:
    """The engine with its adapters loaded.

    Args:
        model: checkpoint folder.
        adapters: adapter folders; adapter k gets slot k.
        rank: the engine's limit.
        options: engine arguments that replace those below.
    """

    def __init__(
        self, model: str, adapters: list[str], rank: int, options: dict[str, Any] | None = None
    ) -> None:
        from vllm import LLM
        from vllm.lora.request import LoRARequest

        arguments: dict[str, Any] = {
            "dtype": "float32",
            "max_model_len": 2048,
            "enable_lora": True,
            "max_lora_rank": rank,
            "max_loras": len(adapters),
            "max_cpu_loras": len(adapters),
            "max_num_seqs": 16,
            "max_num_batched_tokens": 2048,
            "enable_prefix_caching": False,
            "disable_log_stats": True,
        }
        self.llm = LLM(model, **arguments | (options or {}))
        self.loras = [LoRARequest(f"a{k}", k + 1, path) for k, path in enumerate(adapters)]
        for lora in self.loras:
            self.llm.llm_engine.add_lora(lora)

    def prefill(self, adapters: list[int], tokens: int, seed: int) -> dict[str, Any]:
        """Seconds for one prompt of `PROMPT_TOKENS` tokens, on one adapter or the base."""
        return self._run([PROMPT_TOKENS], 1, adapters, seed)

    def decode(self, adapters: list[int], tokens: int, seed: int) -> dict[str, Any]:
        """Seconds for 8 short prompts at once with `tokens` new tokens each."""
        return self._run([DECODE_PROMPT_TOKENS] * 8, tokens, adapters, seed)

    def _run(
        self, lengths: list[int], tokens: int, adapters: list[int], seed: int
    ) -> dict[str, Any]:
        from vllm import SamplingParams

        draw = random.Random(seed)
        prompts = [
            {"prompt_token_ids": [draw.randrange(100, 40_000) for _ in range(length)]}
            for length in lengths
        ]
        used = (
            [self.loras[adapters[k % len(adapters)]] for k in range(len(prompts))]
            if adapters
            else None
        )
        parameters = SamplingParams(
            max_tokens=tokens, min_tokens=tokens, temperature=0.0, ignore_eos=True, logprobs=0
        )
        began = time.perf_counter()
        outputs = self.llm.generate(prompts, parameters, lora_request=used, use_tqdm=False)
        seconds = time.perf_counter() - began
        answers = [output.outputs[0] for output in outputs]
        return {
            "seconds": seconds,
            "tokens": [list(answer.token_ids) for answer in answers],
            "logprobs": [
                [step[token].logprob for step, token in zip(a.logprobs, a.token_ids, strict=True)]
                for a in answers
            ],
        }


def main() -> None:
    """Serve commands until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "HF_HUB_OFFLINE": "1"}
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    worker = Worker(**json.loads(sys.stdin.readline()))
    replies.write("{}\n")
    for line in sys.stdin:
        command = json.loads(line)
        call: Callable[..., dict[str, Any]] = getattr(worker, command.pop("do"))
        replies.write(json.dumps(call(**command)) + "\n")


if __name__ == "__main__":
    main()
