"""Requests with virtual tokens, without an engine: found, admitted, counted, placed in blocks."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from vllm.config import SpeculativeConfig
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.request import Request

from adapterworks.gateway.engine_plugin import prefix_connector
from adapterworks.gateway.engine_plugin.front import admit, ask_for_positions, scores_prompts
from adapterworks.gateway.engine_plugin.positions import POSITIONS, positions_of
from adapterworks.gateway.engine_plugin.prefix_connector import Load, Loads, PrefixConnector
from adapterworks.gateway.engine_plugin.servables import (
    PARAMETER,
    ROOT,
    VirtualTokens,
    find,
    virtual_count,
)
from adapterworks.gateway.engine_plugin.virtual_requests import (
    OwnPrefillStats,
    prepend,
    virtual_tokens,
)
from adapterworks.gateway.engines import probing
from adapterworks.gateway.engines.launch import WITHOUT_CACHE

DIGEST = "a" * 64
TOKENS, HEADS, WIDTH = 6, 2, 3


@pytest.fixture
def servables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six virtual tokens of a model with two layers under `DIGEST`."""
    folder = tmp_path / DIGEST / "servable"
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(1)
    tensors = {
        f"layers.{layer}.{kind}": torch.randn(TOKENS, HEADS, WIDTH, generator=generator)
        for layer in (0, 1)
        for kind in ("key", "value")
    }
    save_file(tensors, folder / "prefix.safetensors")
    monkeypatch.setenv(ROOT, str(tmp_path))
    return tmp_path


def test_an_adapter_is_found_by_its_digest_alone(servables: Path) -> None:
    file = servables / DIGEST / "servable" / "prefix.safetensors"
    for digest in (DIGEST, f"sha256:{DIGEST}"):
        assert find(digest) == VirtualTokens(DIGEST, TOKENS, file)
    for bad in (f"{DIGEST}/..", f"../{DIGEST}", DIGEST[1:], DIGEST.upper(), 5, None, ["a"]):
        with pytest.raises(ValueError, match="not a sha256 digest"):
            find(bad)
    with pytest.raises(ValueError, match="no virtual tokens of adapter"):
        find("b" * 64)


def test_without_a_folder_nothing_is_found(
    servables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(servables)
    monkeypatch.setenv(ROOT, "")
    with pytest.raises(ValueError, match="no virtual tokens"):
        find(DIGEST)


def test_a_file_without_keys_of_the_first_layer_is_no_prefix(servables: Path) -> None:
    other = servables / ("c" * 64) / "servable"
    other.mkdir(parents=True)
    save_file({"layers.1.key": torch.zeros(1)}, other / "prefix.safetensors")
    with pytest.raises(ValueError, match="no keys of layer 0"):
        find("c" * 64)


def asked(prompt: int = 10, **changes: Any) -> Any:
    """A request as vLLM's front end makes it."""
    sampling = SimpleNamespace(
        extra_args={"kv_transfer_params": {"adapter_digest": DIGEST}},
        prompt_logprobs=None,
        logprobs=None,
        skip_reading_prefix_cache=None,
        max_tokens=None,
    )
    request = SimpleNamespace(
        sampling_params=sampling,
        prompt_token_ids=[5] * prompt,
        prompt_embeds=None,
        lora_request=None,
    )
    for name, value in changes.items():
        setattr(sampling if hasattr(sampling, name) else request, name, value)
    return request


@pytest.mark.parametrize(
    ("wanted", "given"),
    [(None, 100 - 10 - TOKENS), (5, 5), (84, 84), (85, 84), (1000, 84)],
)
def test_an_answer_is_held_to_the_room_that_is_left(
    servables: Path, wanted: int | None, given: int
) -> None:
    request = asked(max_tokens=wanted)
    admit(request, 100)
    assert request.sampling_params.max_tokens == given


def test_a_request_for_no_adapter_is_left_alone() -> None:
    for extra in (None, {}, {"kv_transfer_params": None}, {"kv_transfer_params": {"other": 1}}):
        request = asked(extra_args=extra, prompt=5000)
        admit(request, 100)
        assert request.sampling_params.max_tokens is None
    admit(cast("Any", SimpleNamespace(sampling_params=None)), 100)  # pooling


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": 94}, "leave no room in a context of 100"),
        ({"prompt_token_ids": None}, "prompt embeddings cannot follow"),
        ({"prompt_embeds": torch.zeros(1)}, "prompt embeddings cannot follow"),
        ({"lora_request": object()}, "cannot be combined"),
        ({"extra_args": {"kv_transfer_params": {"adapter_digest": "x"}}}, "not a sha256 digest"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    servables: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(VLLMValidationError, match=words):
        admit(asked(**changes), 100)


def test_one_token_of_room_is_enough(servables: Path) -> None:
    request = asked(prompt=93)
    admit(request, 100)
    assert request.sampling_params.max_tokens == 1


def test_only_the_clients_own_tokens_are_counted() -> None:
    stats = OwnPrefillStats(6)
    stats.set(16, 4, 5)
    assert (stats.num_prompt_tokens, stats.num_cached_tokens) == (10, 3)
    stats.set(16, 2, 3)
    assert stats.num_cached_tokens == 0


class Queued:
    """A request as the scheduler holds it."""

    def __init__(self, salt: str | None = None) -> None:
        self.request_id = "cmpl-1"
        self.sampling_params = SimpleNamespace(prompt_logprobs=None)
        self.kv_transfer_params = {"adapter_digest": DIGEST}
        self.prompt_token_ids = [7, 8, 9]
        self.mm_features: list[Any] = []
        self._all_token_ids = [7, 8, 9]
        self.num_prompt_tokens = 3
        self.prefill_stats: Any = None
        self.skip_reading_prefix_cache = True
        self.cache_salt = salt
        self.block_hashes = ["of the prompt alone"]
        self.hashed: list[tuple[str | None, list[int]]] = []

    def update_block_hashes(self) -> None:
        self.hashed.append((self.cache_salt, [*self._all_token_ids]))


@pytest.mark.parametrize("salt", [None, "tenant"])
def test_virtual_tokens_come_first_and_in_the_hash(servables: Path, salt: str | None) -> None:
    request: Any = Queued(salt)
    adapter = virtual_tokens(request)
    assert adapter is not None
    prepend(request, adapter)
    whole = [7] * TOKENS + [7, 8, 9]
    assert request.prompt_token_ids == whole
    assert request._all_token_ids == whole
    assert request.num_prompt_tokens == 3 + TOKENS
    assert isinstance(request.prefill_stats, OwnPrefillStats)
    assert request.skip_reading_prefix_cache is False
    assert request.block_hashes == []
    assert request.hashed == [(f"{DIGEST}:{salt or ''}", whole)]


@pytest.mark.parametrize(
    ("prompt", "first"), [([2, 50, 50, 7, 50], 2), ([50, 50, 7, 2, 50], 7), ([50, 50], 50)]
)
def test_pictures_move_with_the_prompt(servables: Path, prompt: list[int], first: int) -> None:
    """vLLM puts what it made of a picture where the request says; and a placeholder that stood for
    one would be counted as one. What the front end has, and shares among `n` answers, stays."""
    places = [range(at, end) for at, end in _runs(prompt, 50)]
    given = [
        MultiModalFeatureSpec(
            data=None,
            modality="image",
            identifier=f"picture {one}",
            mm_position=PlaceholderRange(offset=place.start, length=len(place)),
        )
        for one, place in enumerate(places)
    ]
    request: Any = Queued()
    request.prompt_token_ids, request._all_token_ids = [*prompt], [*prompt]
    request.mm_features = given
    adapter = virtual_tokens(request)
    assert adapter is not None
    prepend(request, adapter)
    assert request.prompt_token_ids == [first] * TOKENS + prompt
    for feature, own, place in zip(request.mm_features, given, places, strict=True):
        moved = feature.mm_position
        assert (moved.offset, moved.length) == (place.start + TOKENS, len(place))
        assert set(request.prompt_token_ids[moved.offset : moved.offset + moved.length]) == {50}
        assert feature.identifier == own.identifier
        assert own.mm_position.offset == place.start


def _runs(prompt: list[int], wanted: int) -> list[tuple[int, int]]:
    """Where a token stands, from … to, run by run."""
    found: list[tuple[int, int]] = []
    for at, token in enumerate(prompt):
        if token == wanted and found and found[-1][1] == at:
            found[-1] = (found[-1][0], at + 1)
        elif token == wanted:
            found.append((at, at + 1))
    return found


def test_vllm_hashes_a_picture_into_the_block_that_it_has_moved_to(servables: Path) -> None:
    """With vLLM's own request: the same picture in one place is the same block, another is not."""

    def blocks(picture: str) -> list[Any]:
        request = Request(
            request_id="one",
            prompt_token_ids=[2, 50, 50, 7],
            sampling_params=SamplingParams(
                extra_args={"kv_transfer_params": {"adapter_digest": DIGEST}}
            ),
            pooling_params=None,
            mm_features=[
                MultiModalFeatureSpec(None, "image", picture, PlaceholderRange(offset=1, length=2))
            ],
            block_hasher=get_request_block_hasher(4, sha256),
        )
        adapter = virtual_tokens(request)
        assert adapter is not None
        prepend(request, adapter)
        return [*request.block_hashes]

    # The first block is four virtual tokens; two, one of the prompt's own and the beginning of the
    # picture are the second one.
    init_none_hash(sha256)
    first, other, again = blocks("a"), blocks("b"), blocks("a")
    assert len(first) == 2
    assert first == again
    assert first[0] == other[0]
    assert first[1] != other[1]


def test_nothing_of_a_prompt_that_is_scored_comes_from_the_cache(servables: Path) -> None:
    """What is not computed is not scored; 0 asks for the scores too."""
    request: Any = Queued("tenant")
    request.sampling_params.prompt_logprobs = 0
    adapter = virtual_tokens(request)
    assert adapter is not None
    prepend(request, adapter)
    assert request.cache_salt == f"{DIGEST}:tenant:cmpl-1"


def scored(positions: Any, **changes: Any) -> Any:
    """A request that names positions of its ten tokens."""
    return asked(extra_args={POSITIONS: positions}, logprobs=20, **changes)


def test_a_request_that_names_positions_asks_for_the_prompts_scores() -> None:
    request = scored([1, 4, 9])
    ask_for_positions(request)
    assert request.sampling_params.prompt_logprobs == 20
    assert request.sampling_params.skip_reading_prefix_cache is True
    assert positions_of(request.sampling_params.extra_args) == (1, 4, 9)


@pytest.mark.parametrize("extra", [None, {}, {"kv_transfer_params": {"adapter_digest": DIGEST}}])
def test_one_that_names_none_asks_for_none(extra: Any) -> None:
    request = asked(extra_args=extra, prompt_logprobs=None)
    ask_for_positions(request)
    assert request.sampling_params.prompt_logprobs is None
    assert positions_of(extra) is None
    ask_for_positions(cast("Any", SimpleNamespace(sampling_params=None)))  # pooling


@pytest.mark.parametrize(
    "positions", [[], [0], [10], [1, 10], [4, 1], [4, 4], ["1"], [True], [1.0], "14", 4, {"1": 4}]
)
def test_positions_that_a_prompt_has_not_are_a_bad_request(positions: Any) -> None:
    request = scored(positions)
    with pytest.raises(VLLMValidationError, match="ascending indices from 1 to 9"):
        ask_for_positions(request)
    assert request.sampling_params.prompt_logprobs is None


def test_embeddings_have_no_tokens_to_score() -> None:
    with pytest.raises(VLLMValidationError, match="ascending indices"):
        ask_for_positions(scored([1], prompt_token_ids=None))


@pytest.mark.parametrize(
    ("lora", "newer", "scores"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_prompts_are_scored_where_the_worker_was_mended(
    lora: bool, newer: bool, scores: bool
) -> None:
    """On CPU beside LoRA, by the first model runner."""
    config = SimpleNamespace(lora_config=lora or None, use_v2_model_runner=newer)
    assert scores_prompts(cast("Any", config)) is scores


def test_the_gateway_calls_the_positions_what_the_plugin_does() -> None:
    assert probing.POSITIONS == POSITIONS


def test_virtual_tokens_are_counted_by_what_a_request_says(servables: Path) -> None:
    named = {"kv_transfer_params": {"adapter_digest": DIGEST}}
    assert virtual_count(named) == TOKENS
    for extra in (None, {}, {"kv_transfer_params": None}, {"kv_transfer_params": {"other": 1}}):
        assert virtual_count(extra) == 0


def connector() -> Any:
    """Without vLLM's own part, which needs an engine's whole configuration."""
    made: Any = PrefixConnector.__new__(PrefixConnector)
    made._block_size, made._dtype = 4, torch.float32
    made._pending, made._tensors, made._failed = [], OrderedDict(), set()
    return made


@pytest.mark.parametrize("why", ["switch", "version"])
def test_without_the_plugin_nothing_takes_virtual_tokens(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no front end has let in would end the scheduler's loop, and the engine."""
    if why == "switch":
        monkeypatch.setenv("ADAPTERS_ENGINE_PLUGIN", "0")
    else:
        monkeypatch.setattr("vllm.version.__version__", "0.33.1")
    made: Any = PrefixConnector
    with pytest.raises(ValueError, match="need the adapterworks engine plugin"):
        made(None, None, None)


def engine_config(method: str | None = None, groups: int = 1, devices: int = 1) -> tuple[Any, Any]:
    """What an engine says of itself to a connector."""
    drafts = None
    if method is not None:
        drafts = SpeculativeConfig.__new__(SpeculativeConfig)
        drafts.method = cast("Any", method)
    config = SimpleNamespace(
        parallel_config=SimpleNamespace(world_size=devices),
        speculative_config=drafts,
    )
    return config, SimpleNamespace(kv_cache_groups=[None] * groups)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (engine_config("eagle"), "speculative decoding by `eagle`: its draft has a cache"),
        (engine_config("eagle3"), "speculative decoding by `eagle3`"),
        (engine_config("mtp"), "speculative decoding by `mtp`"),
        (engine_config("draft_model"), "speculative decoding by `draft_model`"),
        (engine_config("custom_class"), "speculative decoding by `custom_class`"),
        (engine_config(groups=2), "share one kind of cache"),
        (engine_config(devices=2), "one device only"),
    ],
)
def test_an_engine_with_parts_that_no_prefix_stands_before_does_not_start(
    config: tuple[Any, Any], words: str
) -> None:
    made: Any = PrefixConnector
    with pytest.raises(ValueError, match=words):
        made(config[0], None, config[1])


@pytest.mark.parametrize("method", [None, *sorted(WITHOUT_CACHE)])
def test_a_draft_without_a_cache_is_no_obstacle(method: str | None) -> None:
    prefix_connector._require(*engine_config(method))


def test_what_the_engines_cache_lacks_of_the_prefix_is_loaded(servables: Path) -> None:
    scheduler, request = connector(), Queued()
    assert [scheduler.get_num_new_matched_tokens(request, n)[0] for n in (0, 4, 6, 9)] == [
        6, 2, 0, 0,
    ]  # fmt: skip
    assert scheduler.get_num_new_matched_tokens(request, 0)[1] is False
    blocks = SimpleNamespace(get_block_ids=lambda: ([3, 8, 5],))
    scheduler.update_state_after_alloc(request, blocks, 2)
    scheduler.update_state_after_alloc(request, blocks, 0)  # all of it was there
    scheduler.update_state_after_alloc(SimpleNamespace(kv_transfer_params=None), blocks, 2)
    # Six tokens need two blocks of four.
    assert scheduler.build_connector_meta(None).items == [Load(DIGEST, 4, 6, (3, 8))]
    assert scheduler.build_connector_meta(None).items == []


def test_an_adapter_that_goes_once_it_was_let_in_fails_its_own_request_alone(
    servables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler looks at no disk: an error there is the end of the engine."""
    extra: Any = {PARAMETER: {"adapter_digest": f"sha256:{DIGEST}", "adapter_tokens": 10**9}}
    admit(asked(extra_args=extra), 100)
    shutil.rmtree(servables / DIGEST)
    with pytest.raises(VLLMValidationError, match="no virtual tokens of adapter"):
        admit(asked(), 100)
    engine, request = connector(), Queued()
    request.kv_transfer_params = extra[PARAMETER]
    engine.on_new_request(request)
    assert request.num_prompt_tokens == 3 + TOKENS == 3 + virtual_count(extra)
    assert engine.get_num_new_matched_tokens(request, 0) == (TOKENS, False)
    blocks = SimpleNamespace(get_block_ids=lambda: ([3, 8, 5],))
    engine.update_state_after_alloc(request, blocks, TOKENS)
    loads = engine.build_connector_meta(None)
    monkeypatch.setattr(engine, "_get_connector_metadata", lambda: loads, raising=False)
    engine.start_load_kv(SimpleNamespace(no_compile_layers={}))
    assert engine.get_block_ids_with_load_errors() == {3, 8}


class Layer:
    """An attention layer that keeps what is written into it."""

    num_kv_heads, head_size = HEADS, WIDTH

    def __init__(self) -> None:
        self.kv_cache = torch.zeros(1)
        self.written: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.impl = self

    def do_kv_cache_update(
        self, layer: Any, key: torch.Tensor, value: torch.Tensor, cache: Any, slots: torch.Tensor
    ) -> None:
        for number, slot in enumerate(slots.tolist()):
            self.written[slot] = (key[number], value[number])


def test_each_token_is_written_into_its_own_place(
    servables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_connector, "Attention", Layer)
    layers = [Layer(), Layer()]
    named = {f"model.layers.{i}.self_attn.attn": layer for i, layer in enumerate(layers)}
    context = SimpleNamespace(no_compile_layers={**named, "model.layers.0.other": object()})
    worker = connector()
    # Tokens 2 to 5: of block 3 the places 2 and 3, of block 8 the places 0 and 1.
    load = Load(DIGEST, 2, 6, (3, 8))
    monkeypatch.setattr(worker, "_get_connector_metadata", lambda: Loads([load]), raising=False)
    worker.start_load_kv(context)
    tensors = worker._adapter(DIGEST)
    for index, layer in enumerate(layers):
        assert sorted(layer.written) == [14, 15, 32, 33]
        for token, slot in zip(range(2, 6), (14, 15, 32, 33), strict=True):
            key, value = layer.written[slot]
            assert torch.equal(key, tensors[f"layers.{index}.key"][token])
            assert torch.equal(value, tensors[f"layers.{index}.value"][token])
    assert worker.get_block_ids_with_load_errors() == set()


def test_what_cannot_be_loaded_fails_its_own_blocks_once(
    servables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_connector, "Attention", Layer)
    layer = Layer()
    layer.num_kv_heads = 7
    context = SimpleNamespace(no_compile_layers={"model.layers.0.attn": layer})
    worker = connector()
    loads = Loads([Load("b" * 64, 0, 6, (1, 2)), Load(DIGEST, 0, 6, (4, 5))])
    monkeypatch.setattr(worker, "_get_connector_metadata", lambda: loads, raising=False)
    worker.start_load_kv(context)
    assert not layer.written
    assert worker.get_block_ids_with_load_errors() == {1, 2, 4, 5}
    assert worker.get_block_ids_with_load_errors() == set()


@pytest.mark.parametrize(("room", "kept"), [(2.0, "ac"), (1.99, "c"), (0.5, "c"), (3.0, "bac")])
def test_the_adapters_used_last_are_kept_by_what_they_take(
    servables: Path, monkeypatch: pytest.MonkeyPatch, room: float, kept: str
) -> None:
    """In bytes as they are kept, half of the file's; the one that is being used always."""
    size = 2 * 2 * TOKENS * HEADS * WIDTH * 2
    monkeypatch.setattr(prefix_connector, "KEPT_BYTES", room * size)
    content = (servables / DIGEST / "servable" / "prefix.safetensors").read_bytes()
    digests = [letter * 64 for letter in "abc"]
    for digest in digests[1:]:
        (servables / digest / "servable").mkdir(parents=True)
        (servables / digest / "servable" / "prefix.safetensors").write_bytes(content)
    worker = connector()
    worker._dtype = torch.bfloat16
    for digest in (digests[0], digests[1], digests[0], digests[2]):
        assert worker._adapter(digest)["layers.0.key"].dtype == torch.bfloat16
    assert list(worker._tensors) == [letter * 64 for letter in kept]
