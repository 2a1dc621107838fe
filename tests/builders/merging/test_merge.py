"""A merge is a release like any other: named, verified, traced to its parents, made only once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.merging.merge import FINGERPRINT, _probes
from adapterworks.cli.main import cli
from adapterworks.manifests.errors import (
    AdapterworksError,
    IntegrityError,
    InvalidInput,
    NotFound,
    Refused,
)
from adapterworks.registry.imports.release import check_release
from adapterworks.registry.releases.release import Servable
from adapterworks.settings import Settings
from tests.builders.merging.conftest import IDS, Shelf, make_shelf

WEIGHTS_FILE = "servable/adapter_model.safetensors"


def test_a_merge_is_a_whole_release_and_made_only_once(shelf: Shelf) -> None:
    merged = shelf.merge("one@1", "two@1", weights=[0.7, 0.3], alias="prod")
    registry, published = shelf.registry, merged.published
    assert str(published) == "both@1"
    assert published.created
    assert registry.resolve("both").digest == published.digest
    assert registry.upkeep.verify("both").clean
    release = registry.release(published.digest)
    assert release.servable == Servable(
        form="lora",
        origin="exact",
        rank=16,
        target_modules=("down_proj", "q_proj", "v_proj"),
    )
    assert (release.method, release.license) == ("merge", "apache-2.0")
    assert {"adapter.lock", "report.json", "README.md", FINGERPRINT, WEIGHTS_FILE} <= set(
        release.files
    )
    check_release(_files(shelf, published.digest), release, shelf.base)  # what a pull will ask
    again = shelf.merge("one@1", "two@1", weights=[0.7, 0.3], alias="tried")
    assert again.published == published.__class__("both", 1, published.digest, created=False)
    assert again.report == merged.report
    assert registry.resolve("both:tried").version == 1
    assert shelf.merge("one@1", "two@1", weights=[0.3, 0.7]).published.version == 2


def _files(shelf: Shelf, digest: str) -> Path:
    """All files of a release in a folder."""
    folder = shelf.folder / "all"
    for path in shelf.registry.release(digest).files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(shelf.registry.read(digest, path))
    return folder


def test_lineage_names_both_parents_and_their_weights(shelf: Shelf) -> None:
    merged = shelf.merge("one@1", "two@1", method="dare_linear_svd", weights=[1.5, -0.5])
    found = shelf.registry.origins.lineage(str(merged.published))
    assert [parent.ref for parent in found.parents] == ["one@1", "two@1"]
    assert [parent.digest for parent in found.parents] == [
        shelf.registry.resolve(ref).digest for ref in ("one@1", "two@1")
    ]
    assert found.source == "merge (dare_linear_svd) of 1.5 × one@1 + -0.5 × two@1"
    assert found.seed == 42
    assert {"peft", "torch"} == set(found.packages)
    shelf.registry.delete("one", 1, who="tester")
    assert [p.deleted for p in shelf.registry.origins.lineage("both@1").parents] == [True, False]


def test_the_fingerprint_is_the_merged_adapters_on_the_parents_probes(shelf: Shelf) -> None:
    merged = shelf.merge("one@1", "two@1")
    document = json.loads(shelf.registry.read(merged.published.digest, FINGERPRINT))
    kinds = [probe["kind"] for probe in document["probes"]]
    assert kinds == ["validation"] * 2 + ["general"] * 4
    assert document["base_digest"] == shelf.base.digest
    probe = document["probes"][0]
    answers = shelf.answers(merged)
    for position, top in zip(probe["positions"], probe["adapter"], strict=True):
        token, value = top[0]
        assert value == pytest.approx(float(answers[position - 1, token]), abs=1e-5)
    assert probe["adapter"] != probe["base"]


def test_probes_of_others_are_of_any_kind_or_none(shelf: Shelf) -> None:
    """A record of another program's need not say what a probe is of; it is not taken for a row."""
    digest = shelf.registry.resolve("one@1").digest
    document = json.loads(shelf.registry.read(digest, FINGERPRINT))
    for probe in document["probes"]:
        del probe["kind"]
    (shelf.folder / "one" / FINGERPRINT).write_text(json.dumps(document))
    release = shelf.registry.release(digest)
    shelf.publish_files("one", shelf.base, release.servable)
    merged = shelf.merge("one@2", "two@1")
    document = json.loads(shelf.registry.read(merged.published.digest, FINGERPRINT))
    assert [probe["kind"] for probe in document["probes"]] == ["validation"] + ["general"] * 4


def test_only_the_rows_that_are_asked_for_are_projected(shelf: Shelf) -> None:
    """A stranger's probe is as long as a row may be: [length, vocabulary] would be gigabytes."""
    folder = shelf.registry.checkout(shelf.registry.resolve("one@1").digest, "servable")
    servable = Servable(form="lora", origin="native", rank=8)
    model = ServedModel(shelf.base.served, folder, servable)
    seen: list[int] = []
    head = model._model.get_base_model().get_output_embeddings()
    head.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[-2]))
    for adapter in (True, False):
        some = model.log_probabilities(IDS, [4, 1], adapter=adapter)
        whole = model.log_probabilities(IDS, adapter=adapter)
        torch.testing.assert_close(some, whole[[4, 1]])
    assert seen == [2, len(IDS)] * 2


def test_a_probe_of_another_base_is_an_error_that_says_so(shelf: Shelf) -> None:
    model = ServedModel(shelf.base.served)
    with pytest.raises(IntegrityError, match="has the token 99999"):
        model.log_probabilities([1, 99_999], [0])


def test_a_drawn_merge_is_the_same_for_the_same_seed(tmp_path: Path, tiny: Path) -> None:
    def merge(place: str, seed: int) -> bytes:
        shelf = make_shelf(tmp_path / place, tiny)
        shelf.publish("one", 1)
        shelf.publish("two", 2)
        torch.manual_seed(len(place))  # whatever was drawn before
        merged = shelf.merge("one@1", "two@1", method="dare_ties", seed=seed)
        return shelf.registry.read(merged.published.digest, WEIGHTS_FILE)

    for place in ("a", "bb", "ccc"):
        (tmp_path / place).mkdir()
    first = merge("a", 7)
    assert merge("bb", 7) == first
    assert merge("ccc", 8) != first


@pytest.mark.parametrize(
    ("refs", "options", "error", "words"),
    [
        (["one@1"], {}, InvalidInput, "at least two"),
        (["one@1", "one@1"], {}, InvalidInput, "named twice"),
        (["one@1", "none@1"], {}, NotFound, "none"),
        (["one@1", "two@1"], {"weights": [1.0]}, InvalidInput, "2 adapters, but 1 weights"),
        (["one@1", "two@1"], {"weights": [1.0, 0.0]}, InvalidInput, "weight is zero"),
        (["one@1", "two@1"], {"weights": [1.0, float("nan")]}, InvalidInput, "not a number"),
        (["one@1", "elsewhere@1"], {}, Refused, "different bases"),
        (["one@1", "soft@1"], {}, Refused, "served as prompt"),
        (["one@1", "bare@1"], {}, Refused, "no servable form"),
        (["one@1", "two@1"], {"method": "mean"}, InvalidInput, "not a way to merge"),
        (["one@1", "two@1"], {"rank": 8}, InvalidInput, "`cat` has no rank"),
        (["one@1", "two@1"], {"method": "svd", "rank": 12}, InvalidInput, "no rank 12"),
        (["one@1", "two@1"], {"method": "svd", "seed": 1}, InvalidInput, "has no seed"),
        (["one@1", "two@1"], {"method": "ties", "density": 1.5}, InvalidInput, "between 0 and 1"),
        (["one@1", "wide@1"], {}, Refused, "add up to 520"),
        (["one@1", "other-rank@1"], {"method": "linear"}, Refused, "factor by factor"),
        (["one@1", "twin@1"], {"weights": [1.0, -1.0]}, Refused, "cancel out"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_the_reason(
    shelf: Shelf,
    refs: list[str],
    options: dict[str, object],
    error: type[AdapterworksError],
    words: str,
) -> None:
    for name, servable in (
        ("soft", Servable(form="prompt", origin="exact", virtual_tokens=4)),
        ("bare", None),
        ("wide", Servable(form="lora", origin="native", rank=512)),
    ):
        (shelf.folder / name).mkdir()
        (shelf.folder / name / "README.md").write_text(name)
        shelf.publish_files(name, shelf.base, servable)
    if "elsewhere@1" in refs:
        shelf.publish(
            "elsewhere", 3, base=shelf.bases.ensure(str(shelf.base.checkpoint), quantization="nf4")
        )
    if "other-rank@1" in refs:
        shelf.publish("other-rank", 3, r=16)
    if "twin@1" in refs:
        shelf.publish("twin", 1)
    before = {row.name: row.versions for row in shelf.registry.names()}
    with pytest.raises(error, match=words):
        shelf.merge(*refs, **options)
    assert {row.name: row.versions for row in shelf.registry.names()} == before


def test_the_command(home: Path, tmp_path: Path, tiny: Path) -> None:
    shelf = make_shelf(tmp_path, tiny)
    shelf.publish("one", 1)
    shelf.publish("two", 2)
    environment = {
        "ADAPTERS_HOME": str(home),
        "ADAPTERS_DATABASE": f"sqlite:///{tmp_path / 'index.db'}",
        "ADAPTERS_BLOBS": str(tmp_path / "blobs"),
        "ADAPTERS_BASES": str(tmp_path / "bases"),
    }
    arguments = ["one@1", "two@1", "--name", "both", "--rule", "ties_svd", "--rank", "8"]

    def run(*more: str) -> str:
        result = CliRunner().invoke(
            cli, ["merge", *arguments, *more], standalone_mode=False, env=environment
        )
        if result.exception is not None:
            raise result.exception
        return result.stdout

    made = json.loads(run("--weights", "0.7,0.3", "--json"))
    assert (made["name"], made["version"], made["created"]) == ("both", 1, True)
    assert made["servable"]["rank"] == 8
    assert made["merge"]["density"] == 0.5
    assert 0 < made["merge"]["error"] < 1
    assert made["merge"]["from_sum"] > 0
    assert run("--weights", "0.7,0.3") == "both@1 is this merge already\n"
    assert run().startswith("merged both@2 = 0.5 × one@1 + 0.5 × two@1 by ties_svd\n")
    with pytest.raises(InvalidInput, match="not weights"):
        run("--weights", "a,b")
    app = App(Settings.from_environment(environment))
    assert app.registry.resolve("both@2").version == 2
    app.close()


def test_each_parents_probes_are_taken_in_turn_as_far_as_they_go() -> None:
    def probe(token: int, kind: str = "validation") -> dict[str, Any]:
        return {"kind": kind, "token_ids": [token, token + 1, token + 2], "positions": [1, 2]}

    kept = {
        "long": [probe(10), probe(99, "general"), probe(20), probe(30)],
        "none": None,  # it was imported
        "short": [probe(40)],
    }

    class Kept:
        def read_if_here(self, digest: str, path: str) -> bytes | None:
            probes = kept[digest]
            return None if probes is None else json.dumps({"probes": probes}).encode()

    parents: Any = [SimpleNamespace(release=SimpleNamespace(digest=digest)) for digest in kept]
    registry: Any = Kept()
    found = _probes(registry, parents)
    assert [sequence.input_ids[0] for sequence in found] == [10, 40, 20, 30]
    assert [sequence.row for sequence in found] == [0, 1, 2, 3]
    assert found[1].labels == [IGNORED, 41, 42]


def test_a_merge_says_whose_rows_its_parents_have_learnt(shelf: Shelf) -> None:
    servable = Servable(form="lora", origin="native", rank=8)
    shelf.publish_files("one", shelf.base, servable, details={"tenants": {"acme": "own"}})
    with pytest.raises(Refused, match="`one@2` has learnt rows of tenant `acme`"):
        shelf.merge("one@2", "two@1")
    merged = shelf.merge("one@2", "two@1", tenant="acme")
    details = shelf.registry.release(merged.published.digest).details
    assert details["tenants"] == {"acme": "own"}
    assert details["merge"]["method"] == "cat"
