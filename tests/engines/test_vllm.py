"""Our own vLLM does what every engine must, and answers what Hugging Face answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pytest
from transformers import AutoTokenizer

from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.render import render_prompts
from adapterworks.builders.engines.engine import Adapter, Given, Model, Sampling
from adapterworks.builders.engines.huggingface import HuggingFace
from adapterworks.engines.vllm import Vllm, VllmEngine
from adapterworks.manifests.errors import NotFound, Refused
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.releases.release import Servable
from tests.builders.engines.conformance import TOLERANCE, exercise
from tests.gateway.adapters import make_lora
from tests.small_base import MODEL
from tests.warm.family import behind, family
from tests.warm.python import warm

DIGEST = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def base(either_bases: BaseStore) -> Base:
    return either_bases.ensure(MODEL)


@pytest.fixture(scope="module")
def model(base: Base) -> Model:
    return Model(base.digest, base.name, base.served)


@pytest.fixture(scope="module")
def adapter(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    made = make_lora(tmp_path_factory.mktemp("made") / "lora", base, seed=1)
    servable = Servable(form="lora", origin="native", rank=made.rank)
    return Adapter(DIGEST, made.folder / "servable", servable, made.folder / "servable")


@pytest.fixture(scope="module")
def prompts(base: Base) -> list[list[int]]:
    rows = load_source("icd-10-cm:test", "messages").rows[:6]
    return render_prompts(AutoTokenizer.from_pretrained(base.served), [row.prompt for row in rows])


@pytest.fixture(scope="module")
def vllm(
    model: Model, adapter: Adapter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmEngine]:
    with warm("engine"):
        others = psutil.Process().children()  # the session's engine may run beside it
        engine = Vllm(tmp_path_factory.mktemp("run")).open(model, [adapter], longest=256)
    started = [one for one in psutil.Process().children() if one not in others]
    all_of_it = [member for one in started for member in family(one)]
    assert len(all_of_it) > 3  # a guard, an API server, a core, a worker
    yield engine
    engine.close()
    engine.close()
    _, alive = psutil.wait_procs(all_of_it, timeout=60)
    assert not alive, "it left processes behind"


@pytest.mark.engine
def test_it_does_what_every_engine_must(
    vllm: VllmEngine, adapter: Adapter, prompts: list[list[int]]
) -> None:
    exercise(vllm, adapter.digest, prompts)


@pytest.mark.engine
def test_it_answers_what_hugging_face_answers(
    vllm: VllmEngine, model: Model, adapter: Adapter, prompts: list[list[int]]
) -> None:
    """Token by token, base and adapter; and what is given has the same numbers."""
    reference = HuggingFace().open(model, [adapter], longest=256)
    for subject in (None, adapter.digest):
        asked = Sampling(12, stop=(2,))
        expected = reference.complete(prompts, asked, adapter=subject)
        got = vllm.complete(prompts, asked, adapter=subject)
        for (one,), (other,) in zip(expected, got, strict=True):
            assert other.token_ids == one.token_ids
            assert other.stop == one.stop
            np.testing.assert_allclose(other.logprobs, one.logprobs, atol=TOLERANCE)
        given = [Given(tuple(prompt), len(prompt) - 9) for prompt in prompts]
        for mine, theirs in zip(
            vllm.score(given, adapter=subject),
            reference.score(given, adapter=subject),
            strict=True,
        ):
            np.testing.assert_allclose(mine, theirs, atol=TOLERANCE)


@pytest.mark.engine
def test_a_prompt_beyond_its_room_is_refused_and_it_goes_on(
    vllm: VllmEngine, prompts: list[list[int]]
) -> None:
    with pytest.raises(Refused, match="400"):
        vllm.complete([[5] * (vllm.longest + 1)], Sampling(1))
    assert vllm.complete(prompts[:1], Sampling(1))


@pytest.mark.engine
def test_seeded_prompts_that_fill_more_than_a_step_are_answered(vllm: VllmEngine) -> None:
    """Twelve of 240 tokens: the last ones are computed in parts, which ended vLLM 0.32 on a CPU."""
    prompts = [[5 + number, *range(10, 249)] for number in range(12)]
    sampling = Sampling(2, temperature=1.0, seeds=tuple(range(12)))
    answers = vllm.complete(prompts, sampling)
    assert [len(one.token_ids) for (one,) in answers] == [2] * 12


def test_a_question_longer_than_the_model_starts_nothing(model: Model, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="was made for"):
        Vllm(tmp_path).open(model, [], longest=1 << 20)
    assert not list(tmp_path.iterdir())


def test_long_given_text_is_left_to_the_reference_on_a_cpu(model: Model, tmp_path: Path) -> None:
    """256 prefixes of a paragraph would be computed anew, of an answer's few tokens it is few."""
    vllm = Vllm(tmp_path)
    assert vllm.can_score([Given((5,) * 60, 54)])
    assert not vllm.can_score([Given((5,) * 120, 1)])
    assert vllm.refuses(model, Adapter(DIGEST, tmp_path)) is not None
    assert vllm.refuses(Model(DIGEST, "full", tmp_path, trained=True), None) is not None
    assert vllm.refuses(model, None) is None


@pytest.mark.engine
def test_it_takes_a_new_adapter_each_step_and_forgets_the_last(
    vllm: VllmEngine,
    model: Model,
    base: Base,
    adapter: Adapter,
    prompts: list[list[int]],
    tmp_path: Path,
) -> None:
    """As a training that learns from its answers asks: one adapter after the other in one slot,
    drawn with the shares that the trainer computes, and the first one's answers when it is back."""
    asked = Sampling(8, stop=(2,), temperature=1.0, n=4, seed=11)
    before = vllm.complete(prompts[:2], asked, adapter=adapter.digest)
    made = make_lora(tmp_path / "lora", base, seed=2)
    served = made.folder / "servable"
    second = Adapter(
        "sha256:" + "b" * 64,
        served,
        Servable(form="lora", origin="native", rank=made.rank),
        served,
    )
    vllm.forget(adapter.digest)
    with pytest.raises(NotFound):
        vllm.complete(prompts[:1], asked, adapter=adapter.digest)
    vllm.know(second)
    drawn = vllm.complete(prompts[:2], asked, adapter=second.digest)
    reference = HuggingFace().open(model, [second], longest=256)
    for prompt, group in zip(prompts[:2], drawn, strict=True):
        assert len({one.token_ids for one in group}) > 1, "four draws of one seed were one"
        given = [Given((*prompt, *one.token_ids), len(prompt)) for one in group]
        scored = reference.score(given, adapter=second.digest)
        for one, expected in zip(group, scored, strict=True):
            np.testing.assert_allclose(one.logprobs, expected, atol=TOLERANCE)
    vllm.forget(second.digest)
    vllm.forget(second.digest)
    vllm.know(adapter)
    again = vllm.complete(prompts[:2], asked, adapter=adapter.digest)
    assert [[one.token_ids for one in group] for group in again] == [
        [one.token_ids for one in group] for group in before
    ]


@pytest.mark.engine
def test_a_process_that_is_killed_is_followed_by_one_with_its_adapters(
    vllm: VllmEngine, adapter: Adapter, prompts: list[list[int]]
) -> None:
    """What computes dies in the middle of an answer, and the same answer comes."""
    asked = Sampling(8, stop=(2,), temperature=1.0, n=2, seed=5)
    before = vllm.complete(prompts[:2], asked, adapter=adapter.digest)
    running = vllm._running()
    (server,) = behind(psutil.Process(running.pid)).children()
    computing = family(behind(server))[1:]
    for one in computing:
        one.suspend()  # so that the answer cannot be there before

    def kill() -> None:
        while not running.inflight:
            time.sleep(0.01)
        for one in computing:
            one.kill()

    with ThreadPoolExecutor(1) as beside, warm("engine"):
        killed = beside.submit(kill)
        again = vllm.complete(prompts[:2], asked, adapter=adapter.digest)
        killed.result()
    assert running.health.generation == 2
    for one, other in zip(chain(*again), chain(*before), strict=True):
        assert (one.token_ids, one.stop) == (other.token_ids, other.stop)
        # What else was in a step's batch moves the last digits.
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
