"""A gateway says of its engines what a scheduler reads of a vLLM, under the same names."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from adapterworks.gateway.observe.as_vllm import Doing
from adapterworks.gateway.observe.metrics import Metrics


def _shown(metrics: Metrics) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        if family.name.startswith("vllm:"):
            found[family.name] = [(sample.labels, sample.value) for sample in family.samples]
    return found


def test_the_engines_of_a_base_are_one_server() -> None:
    metrics = Metrics()
    one = Doing(3, 1, 4, frozenset({"medical", "code"}), frozenset({"law"}))
    other = Doing(2, 0, 4, frozenset({"medical"}))
    metrics.as_vllm.now = {"llama": one + other, "qwen": Doing()}
    shown = _shown(metrics)
    assert shown["vllm:num_requests_running"] == [
        ({"model_name": "llama"}, 5), ({"model_name": "qwen"}, 0)
    ]  # fmt: skip
    assert shown["vllm:num_requests_waiting"][0] == ({"model_name": "llama"}, 1)
    (labels, since), (_, _) = shown["vllm:lora_requests_info"]
    assert since > 1_700_000_000
    assert labels == {
        "model_name": "llama",
        "max_lora": "8",
        "running_lora_adapters": "code,medical",
        "waiting_lora_adapters": "law",
    }


def test_only_what_is_there_now_has_a_series() -> None:
    metrics = Metrics()
    for name in ("a", "b", "c"):
        metrics.as_vllm.now = {"llama": Doing(there=frozenset({name}))}
        ((labels, _),) = _shown(metrics)["vllm:lora_requests_info"]
        assert labels["running_lora_adapters"] == name


def test_names_and_labels_are_vllms() -> None:
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.origin is not None
    text = (Path(found.origin).parent / "v1/metrics/loggers.py").read_text(encoding="utf-8")
    sources = text + (Path(found.origin).parent / "v1/metrics/stats.py").read_text("utf-8")
    metrics = Metrics()
    metrics.as_vllm.now = {"llama": Doing()}
    for name, samples in _shown(metrics).items():
        assert f'name="{name}"' in sources, name
        for label in samples[0][0]:
            assert re.search(rf'"{label}"', sources), label
