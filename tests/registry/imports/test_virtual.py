"""A stranger's prefix or prompt is as large as its record claims and fits the base."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from adapterworks.registry.bases.base import Base
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.release import check_named, check_release
from adapterworks.registry.lifecycle.publish import scan
from adapterworks.registry.releases.forms import Form
from adapterworks.registry.releases.release import Release, Servable
from tests.registry.imports.hostile.good import HIDDEN, LAYERS, VOCAB, write_base
from tests.registry.releases import draft

COUNT, HEADS, SIZE = 5, 2, HIDDEN // 4
PREFIX, PROMPT = "servable/prefix.safetensors", "servable/prompt.safetensors"

Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    checkpoint = write_base(tmp_path_factory.mktemp("base") / "tiny")
    return cast(Base, SimpleNamespace(checkpoint=checkpoint))


def tensors(count: int = COUNT, layers: int = LAYERS, heads: int = HEADS) -> Tensors:
    random = np.random.default_rng(2)
    return {
        f"layers.{layer}.{part}": random.normal(size=(count, heads, SIZE)).astype(np.float32)
        for layer in range(layers)
        for part in ("key", "value")
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good prompt's files, which are a good prefix's as well."""
    (tmp_path / "release" / "servable").mkdir(parents=True)
    save_file(tensors(), tmp_path / "release" / PREFIX)
    embeddings = np.ones((COUNT, HIDDEN), np.float32)
    save_file({"embeddings": embeddings}, tmp_path / "release" / PROMPT)
    return tmp_path / "release"


def check(folder: Path, base: Base | None, form: str = "prompt", count: int | None = COUNT) -> None:
    servable = Servable(form=cast(Form, form), origin="exact", virtual_tokens=count)
    release = Release.from_draft(draft(servable=servable), scan(folder))
    check_release(folder, release, base)


@pytest.mark.parametrize("form", ["prompt", "prefix"])
def test_a_good_one_passes_with_its_base_and_without(folder: Path, base: Base, form: str) -> None:
    check(folder, base, form)
    check(folder, None, form)


@pytest.mark.parametrize("count", [None, 0, -1, 1025, 10**12])
def test_an_impossible_number_of_tokens_is_refused_before_anything_is_fetched(
    count: int | None,
) -> None:
    servable = Servable(form="prefix", origin="exact", virtual_tokens=count)
    with pytest.raises(ImportRefused, match="virtual tokens"):
        check_named(Release.from_draft(draft(servable=servable), {}))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: tensors(count=COUNT + 1), f"its record has {COUNT} virtual tokens"),
        (lambda t: {k: v for k, v in t.items() if k != "layers.1.value"}, "not `layers.N.key`"),
        (lambda t: {k.replace("layers.1", "layers.7"): v for k, v in t.items()}, "not `layers.N"),
        (lambda t: {**t, "layers.1.value": t["layers.1.value"][:3]}, "keys and values are"),
        (lambda t: {k: v[..., 0] for k, v in t.items()}, "keys and values are"),
        (lambda t: {k: v * 0 for k, v in t.items()}, "every number is zero"),
        (lambda t: {k: v * np.nan for k, v in t.items()}, "NaN"),
        (lambda t: {k: v.astype(np.int64) for k, v in t.items()}, "I64"),
        (lambda t: {"extra": t["layers.0.key"], **t}, "not `layers.N.key`"),
    ],
)
def test_what_the_engine_could_not_write_is_refused_without_the_base(
    folder: Path, change: Callable[[Tensors], Tensors], why: str
) -> None:
    changed = {k: np.ascontiguousarray(v) for k, v in change(load_file(folder / PREFIX)).items()}
    save_file(changed, folder / PREFIX)
    with pytest.raises(ImportRefused, match=why) as refused:
        check(folder, None, "prefix")
    assert refused.value.file == PREFIX


@pytest.mark.parametrize("changed", [{"layers": LAYERS + 1}, {"heads": HEADS + 1}])
def test_a_prefix_of_another_base_is_refused_where_its_base_is_here(
    folder: Path, base: Base, changed: dict[str, int]
) -> None:
    save_file(tensors(**changed), folder / PREFIX)
    check(folder, None, "prefix")  # nothing to compare with
    with pytest.raises(ImportRefused, match="the base has 2 of"):
        check(folder, base, "prefix")


@pytest.mark.parametrize(
    "embeddings",
    [
        {"embeddings": np.ones((COUNT, HIDDEN + 1), np.float32)},
        {"embeddings": np.ones((COUNT + 1, HIDDEN), np.float32)},
        {"embeddings": np.ones((COUNT,), np.float32)},
        {"others": np.ones((COUNT, HIDDEN), np.float32)},
    ],
)
def test_embeddings_are_of_the_bases_size(folder: Path, base: Base, embeddings: Tensors) -> None:
    save_file(embeddings, folder / PROMPT)
    with pytest.raises(ImportRefused) as refused:
        check(folder, base)
    assert refused.value.file == PROMPT
    check(folder, base, "prefix")  # which does not read them


@pytest.mark.parametrize("path", [PREFIX, PROMPT])
def test_a_file_that_lacks_is_named(folder: Path, base: Base, path: str) -> None:
    (folder / path).unlink()
    with pytest.raises(ImportRefused, match="it is missing") as refused:
        check(folder, base)
    assert refused.value.file == path


TOPS = [[[3, -0.5], [4, -1]]]


def good() -> dict[str, Any]:
    probe = {"kind": "x", "token_ids": [1, 2, 3], "positions": [2], "adapter": TOPS, "base": TOPS}
    digests = {"base_digest": "sha256:0", "template_digest": "sha256:0"}
    return {"schema_version": 1, **digests, "probes": [probe]}


def probe(**changed: Any) -> dict[str, Any]:
    return {**good(), "probes": [{**good()["probes"][0], **changed}]}


def test_a_good_fingerprint_passes(folder: Path) -> None:
    (folder / "fingerprint.json").write_text(json.dumps(good()))
    check(folder, None)


@pytest.mark.parametrize(
    "fingerprint",
    [
        {},
        {**good(), "schema_version": 2},
        {**good(), "probes": []},
        {**good(), "probes": {"0": good()["probes"][0]}},
        {**good(), "probes": good()["probes"] * 65},
        probe(token_ids=[1, 2.5, 3]),
        probe(token_ids=[1, -2, 3]),
        probe(token_ids="123"),
        probe(token_ids=[1] * ((1 << 15) + 1)),
        probe(token_ids=[1] * (1 << 15), positions=[2] * 33, adapter=TOPS * 33, base=TOPS * 33),
        probe(positions=[0]),
        probe(positions=[3]),
        probe(positions=[1, 2]),
        probe(adapter=[]),
        probe(base=[[]]),
        probe(adapter=[[[3, "NaN"]]]),
        probe(adapter=[[[True, -1]]]),
    ],
)
def test_a_fingerprint_that_a_proof_cannot_read_or_pay_is_refused(
    folder: Path, fingerprint: dict[str, Any]
) -> None:
    (folder / "fingerprint.json").write_text(json.dumps(fingerprint))
    with pytest.raises(ImportRefused) as refused:
        check(folder, None)
    assert refused.value.file == "fingerprint.json"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"token_ids": [1, 2, VOCAB]}, f"has the token {VOCAB}, its base has {VOCAB}"),
        ({"token_ids": [1] * 9}, "has 9 tokens, its base reads 8"),
    ],
)
def test_a_probe_that_its_base_cannot_read_is_refused_where_its_base_is_here(
    folder: Path, tmp_path: Path, changed: dict[str, Any], why: str
) -> None:
    checkpoint = write_base(tmp_path / "short")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8}))
    base = cast(Base, SimpleNamespace(checkpoint=checkpoint))
    good = probe(token_ids=[1] * 7 + [VOCAB - 1])
    (folder / "fingerprint.json").write_text(json.dumps(good))
    check(folder, base)
    (folder / "fingerprint.json").write_text(json.dumps(probe(**changed)))
    check(folder, None)  # nothing to compare with
    with pytest.raises(ImportRefused, match=why):
        check(folder, base)
