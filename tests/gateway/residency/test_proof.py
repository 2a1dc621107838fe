"""No adapter is answered with that does not do in the engine what it did when it was built.

Each sabotage is a real release on the real engine; each is refused with a message of its own, and
nothing of it stays loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import openai
import pytest
import torch
from safetensors.torch import load_file, save_file

from adapterworks.builders.merging.merge import run_merge
from adapterworks.builders.merging.rules.recipe import Recipe
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.http.status import describe
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.registry import Registry
from tests.gateway.adapters import Made, copy_of, make_lora, publish
from tests.gateway.conftest import ENGINE_CONFIG, open_registry
from tests.gateway.running import Launcher, Loop, Running

pytestmark = pytest.mark.engine
HELLO = [{"role": "user", "content": "Say hello."}]


@dataclass
class Bench:
    """A gateway with a registry for damaged releases."""

    running: Running
    registry: Registry
    base: Base
    refused: set[str] = field(default_factory=set)

    def refusal(self, made: Made, name: str) -> str:
        """Publish, ask, and return the message of the refusal."""
        self.refused.add(publish(self.registry, made, self.base, name).digest)
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            self.running.client().chat.completions.create(model=name, messages=HELLO)
        assert str(caught.value.code).startswith("adapter_")
        engine = describe(self.running.gateway, 0)["engines"][0]
        state = next(a for a in engine["adapters"] if a["name"] == name)
        assert state["state"] == "refused"
        assert state["error"]
        return caught.value.message


@pytest.fixture(scope="module")
def bench(
    loop: Loop, engine: Engine, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    launcher = Launcher(loop)
    registry = open_registry(tmp_path_factory.mktemp("sabotage"))
    spool = tmp_path_factory.mktemp("spool")
    running = launcher.gateway(registry, [engine], spool, ENGINE_CONFIG, start_engines=False)
    yield Bench(running, registry, base)
    launcher.close()


@pytest.fixture
def victim(made: dict[str, Made], tmp_path: Path) -> Made:
    """A copy of a good adapter, to be damaged."""
    return copy_of(made["medical"], tmp_path / "victim")


def _edit_weights(
    made: Made, edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    path = made.folder / "servable" / "adapter_model.safetensors"
    save_file(edit(load_file(path)), path, metadata={"format": "pt"})


def _edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_good_adapter_is_proved(bench: Bench, victim: Made) -> None:
    publish(bench.registry, victim, bench.base, "good")
    answer = bench.running.client().chat.completions.create(
        model="good", messages=HELLO, max_tokens=2
    )
    assert answer.usage.completion_tokens == 2
    entry = describe(bench.running.gateway, 0)["engines"][0]["adapters"][0]
    assert entry["proof"]["state"] == "proved"
    assert entry["proof"]["divergence"] < 0.01 * entry["proof"]["separation"]
    assert entry["proof"]["tokens"] > 100


def test_a_merge_of_two_adapters_is_proved(
    bench: Bench, bases: BaseStore, made: dict[str, Made], tmp_path: Path
) -> None:
    """PEFT's sum of two adapters is what the engine answers with the merged one."""
    for name in ("medical", "code"):
        publish(bench.registry, made[name], bench.base, f"{name}-part")
    merged = run_merge(
        ["medical-part", "code-part"],
        name="merged",
        registry=bench.registry,
        bases=bases,
        scratch=tmp_path,
        who="tester",
        recipe=Recipe("cat"),
        weights=[0.6, 0.4],
    )
    assert merged.servable.rank == 16
    bench.running.client().chat.completions.create(model="merged@1", messages=HELLO, max_tokens=1)
    entries = describe(bench.running.gateway, 0)["engines"][0]["adapters"]
    (proof,) = (entry["proof"] for entry in entries if entry["name"] == "merged")
    assert proof["state"] == "proved"
    assert proof["divergence"] < 0.01 * proof["separation"]


def test_vllm_34186_misnamed_modules_are_refused(bench: Bench, victim: Made) -> None:
    """200 OK and the base's answers: what vLLM does when no module name matches."""
    _edit_weights(
        victim,
        lambda weights: {
            name.replace("base_model.model.model.", "base_model.model.language_model.model."): value
            for name, value in weights.items()
        },
    )
    message = bench.refusal(victim, "misnamed")
    assert "does nothing in the engine" in message or "cannot load" in message


def test_zeroed_weights_do_nothing_and_are_refused(bench: Bench, victim: Made) -> None:
    _edit_weights(
        victim, lambda weights: {name: torch.zeros_like(value) for name, value in weights.items()}
    )
    assert "does nothing in the engine" in bench.refusal(victim, "zeroed")


def test_half_applied_is_refused(bench: Bench, victim: Made) -> None:
    def drop(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            name: torch.zeros_like(value) if "layers.1" in name else value
            for name, value in weights.items()
        }

    _edit_weights(victim, drop)
    message = bench.refusal(victim, "half-applied")
    assert "is only in part what was built" in message
    assert "or its scale is another" in message


def test_swapped_files_are_refused(bench: Bench, victim: Made, made: dict[str, Made]) -> None:
    other = made["code"].folder / "servable" / "adapter_model.safetensors"
    (victim.folder / "servable" / "adapter_model.safetensors").write_bytes(other.read_bytes())
    assert "is not what was built" in bench.refusal(victim, "swapped")


def test_another_scaling_is_refused(bench: Bench, victim: Made) -> None:
    _edit_json(victim.folder / "servable" / "adapter_config.json", lora_alpha=8)
    message = bench.refusal(victim, "rescaled")
    strength = float(message.partition(" acts ")[2].partition(" times as strongly")[0])
    assert 0.4 < strength < 0.6  # alpha was 16
    assert "its scale is another (`lora_alpha`" in message


def test_another_base_in_the_fingerprint_is_refused(bench: Bench, victim: Made) -> None:
    _edit_json(victim.folder / "fingerprint.json", base_digest="sha256:" + "0" * 64)
    assert "was built on base sha256:000000000000" in bench.refusal(victim, "other-base")


def test_wrong_quantization_is_refused(bench: Bench, nf4_base: Base, tmp_path: Path) -> None:
    """Anchor 5: trained on NF4 values, published as if on the dense ones."""
    made = make_lora(tmp_path / "nf4", nf4_base, seed=1)
    _edit_json(
        made.folder / "fingerprint.json",
        base_digest=bench.base.digest,
        template_digest=bench.base.template_digest,
    )
    assert "base is not the one it was built on" in bench.refusal(made, "quantized")


def test_wrong_template_is_refused(bench: Bench, victim: Made) -> None:
    _edit_json(victim.folder / "fingerprint.json", template_digest="sha256:" + "1" * 64)
    assert "another chat template" in bench.refusal(victim, "other-template")


def test_an_untrained_adapter_is_refused(bench: Bench, victim: Made) -> None:
    path = victim.folder / "fingerprint.json"
    probes = json.loads(path.read_text())["probes"]
    _edit_json(path, probes=[{**probe, "adapter": probe["base"]} for probe in probes])
    _edit_weights(
        victim, lambda weights: {name: torch.zeros_like(value) for name, value in weights.items()}
    )
    assert "cannot be told from its base" in bench.refusal(victim, "untrained")


def test_a_missing_fingerprint_is_refused(bench: Bench, victim: Made) -> None:
    (victim.folder / "fingerprint.json").unlink()
    assert "has no fingerprint" in bench.refusal(victim, "unprovable")


def test_a_malformed_fingerprint_is_refused(bench: Bench, victim: Made) -> None:
    _edit_json(victim.folder / "fingerprint.json", probes=[{"token_ids": [1]}])
    assert "not in its format" in bench.refusal(victim, "malformed")


def test_a_rank_above_the_engines_limit_is_refused(
    bench: Bench, base: Base, tmp_path: Path
) -> None:
    """Anchor 6: `max_lora_rank` surprises."""
    made = make_lora(tmp_path / "wide", base, seed=5, rank=64)
    assert "rank" in bench.refusal(made, "too-wide")


def test_damaged_bytes_are_refused(bench: Bench, victim: Made) -> None:
    published = publish(bench.registry, victim, bench.base, "damaged", description="damaged")
    release = bench.registry.release(published.digest)
    entry = release.files["fingerprint.json"]
    assert isinstance(bench.registry.blobs, LocalBlobs)
    blob = bench.registry.blobs.path(entry.digest)
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:-1] + b" ")
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        bench.running.client().chat.completions.create(model="damaged", messages=HELLO)
    assert caught.value.code == "adapter_damaged"
    # The file is for the log and `adapters verify`: a digest of ours is no business of a tenant.
    assert "blobs" not in caught.value.message
    assert entry.digest.partition(":")[2] not in caught.value.message


def test_nothing_refused_stays_in_the_engine(bench: Bench, engine: Engine, loop: Loop) -> None:
    loaded = {model["id"] for model in loop.run(engine.models())}  # type: ignore[attr-defined]
    assert len(bench.refused) >= 9
    assert not bench.refused & loaded
