"""What schedulers and autoscalers read of a vLLM, said of a gateway with all of its engines.

Gateway API's inference extension, llm-d and AIBrix send requests by what a model's servers wait for
and which LoRAs they have, and scale by it; KEDA's recipes name the same series. In front of a
gateway they see one server of each base: what all of its engines do, under vLLM's names.

Invariant: names of adapters are as many as engines hold, and only those that are there now.
`vllm:kv_cache_usage_perc` is each engine's own; a gateway has none.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Doing:
    """What the engines of one base do now.

    Attributes:
        running: requests that they work on; `waiting`: that wait for a turn.
        slots: adapters that a batch can mix, in all engines together.
        there: adapters that are loaded; `coming`: that are being loaded. By name.
    """

    running: int = 0
    waiting: int = 0
    slots: int = 0
    there: frozenset[str] = frozenset()
    coming: frozenset[str] = frozenset()

    def __add__(self, other: Doing) -> Doing:
        """Of two engines."""
        return Doing(
            self.running + other.running,
            self.waiting + other.waiting,
            self.slots + other.slots,
            self.there | other.there,
            self.coming | other.coming,
        )


class AsVllm(Collector):
    """The series; `now` is what was last said, by the name of the base."""

    def __init__(self) -> None:
        self.now: Mapping[str, Doing] = {}

    def collect(self) -> Iterable[Metric]:
        """As Prometheus is shown them."""
        running = GaugeMetricFamily(
            "vllm:num_requests_running", "Requests that engines work on.", labels=["model_name"]
        )
        waiting = GaugeMetricFamily(
            "vllm:num_requests_waiting", "Requests that wait for a turn.", labels=["model_name"]
        )
        # As vLLM has it: the labels say what is so, the value since when.
        loras = GaugeMetricFamily(
            "vllm:lora_requests_info",
            "Adapters that are loaded (running) and being loaded (waiting), of a base.",
            labels=["model_name", "max_lora", "running_lora_adapters", "waiting_lora_adapters"],
        )
        for name, doing in self.now.items():
            running.add_metric([name], doing.running)
            waiting.add_metric([name], doing.waiting)
            there, coming = (",".join(sorted(names)) for names in (doing.there, doing.coming))
            loras.add_metric([name, str(doing.slots), there, coming], time.time())
        return running, waiting, loras
