"""A tenant's rows, and what was learnt from them, go where their owner lets them: by every way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.building.dataset_inputs import dataset_inputs
from adapterworks.builders.data.adding import About, add_dataset
from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.failures.lineage import owners_of_training
from adapterworks.builders.merging.merge import run_merge
from adapterworks.builders.merging.rules.recipe import Recipe
from adapterworks.builders.synthesis.owned import require_own
from adapterworks.cli.main import cli
from adapterworks.errors import exit_code
from adapterworks.gateway.storage.schema import tenants
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.erasing import learnt
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.manifests.errors import AdapterworksError, NotFound, Refused
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.datasets.listed import Dataset
from adapterworks.registry.datasets.owners import Claim
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent
from adapterworks.settings import Settings
from tests.registry.releases import publish

ID = "0123456789abcdef"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "home"))
    return App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path / "home")}))


@pytest.fixture
def registry(app: App) -> Registry:
    return app.registry


def rows(kind: str, count: int = 3) -> list[Row]:
    return [chat(f"what is the {kind} number {n} of house {n}", f"{n}") for n in range(count)]


def add(registry: Registry, name: str, kind: str, **about: Any) -> Dataset:
    said = About(**about)
    return add_dataset(registry, name, {"train": rows(kind)}, said, who="me").dataset


def manifest(tenant: str | None = None, takes: tuple[str, ...] = (), **tables: Any) -> Manifest:
    values = {
        "adapter": {"name": tables.pop("name", "tiny"), "tenant": tenant},
        "base": {"model": "smollm2"},
        "method": {"kind": "lora"},
        "data": {"train": "dataset:free@1", "tenants": takes},
        **tables,
    }
    return Manifest.model_validate_json(json.dumps(values))


def command(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, list(arguments))
    if isinstance(done.exception, AdapterworksError):
        return exit_code(done.exception), done.exception.message
    return done.exit_code, done.output


@pytest.mark.parametrize(("share", "kept"), [("none", "none"), ("own", "own"), ("all", "all")])
def test_rows_of_a_dataset_stay_whose_they_are(registry: Registry, share: Any, kept: str) -> None:
    source = add(registry, "acme-rows", "a", tenant="acme", share=share)
    assert command("dataset", "add", "mine", "dataset:acme-rows@1")[0] == 0
    mine = Datasets(registry).get("mine")
    assert (mine.record.tenant, mine.record.share) == ("acme", kept)
    assert mine.record.parents == (Parent(relation="rows", digest=source.digest, ref=source.ref),)
    assert command("dataset", "split", "mine", "--test", "0.4")[0] == 0
    assert Datasets(registry).get("mine", "2").record.tenant == "acme"
    wanted = manifest(data={"train": "dataset:mine@1"})
    with pytest.raises(Refused, match="of tenant `acme`"):
        dataset_inputs(wanted, registry)
    named, _ = learnt(registry, "tn_0", "acme")
    assert {*named} == {f"dataset:{ref}" for ref in ("acme-rows@1", "mine@1", "mine@2")}


def test_rows_are_shared_with_no_more_than_their_owner_lets_them_be(registry: Registry) -> None:
    add(registry, "acme-rows", "a", tenant="acme", share="own")
    add(registry, "globex-rows", "b", tenant="globex", share="all")
    add(registry, "free", "c")
    for options, words in (
        (("dataset:acme-rows@1", "--share", "all"), "more than `acme` allows"),
        (("dataset:acme-rows@1", "--tenant", "globex"), "several tenants: acme, globex"),
        (("dataset:acme-rows@1", "dataset:globex-rows@1"), "several tenants: acme, globex"),
        (("dataset:acme-rows@1", "--validation", "dataset:globex-rows@1#train"), "several"),
    ):
        code, said = command("dataset", "add", "mine", *options)
        assert (code, words in said) == (6, True), said
    assert Datasets(registry).newest("mine") is None
    code, _ = command("dataset", "add", "mine", "dataset:free@1", "dataset:globex-rows@1",
                      "--share", "none")  # fmt: skip
    record = Datasets(registry).get("mine").record
    assert (code, record.tenant, record.share) == (0, "globex", "none")
    assert [parent.ref for parent in record.parents] == ["dataset:free@1", "dataset:globex-rows@1"]


def test_rows_that_were_read_are_known_wherever_they_went(registry: Registry) -> None:
    """As `from-failures` does: taken from a pool, with a column more, and added under a name."""
    add(registry, "acme-rows", "a", tenant="acme")
    read = load_source("dataset:acme-rows@1", "messages", registry=registry).rows
    taken = [row.with_meta(cluster=1) for row in read[:1]]
    made = add_dataset(registry, "tiny-failures", {"train": taken}, About(), who="me").dataset
    assert (made.record.tenant, made.record.share) == ("acme", "own")
    column = [chat("a", "b", source="dataset:acme-rows"), chat("c", "d", source="dataset:none@7")]
    free = add_dataset(registry, "columns", {"train": column}, About(), who="me").dataset
    assert free.record.tenant is None


def test_the_files_of_a_tenants_own_release_are_the_tenants(app: App, tmp_path: Path) -> None:
    registry = app.registry
    of_files = {"adapter": {"tenant": "acme"}, "data": {"train": "rows.jsonl"}}
    of_datasets = {"adapter": {"tenant": "acme"}, "data": {"train": "dataset:free@1"}}
    publish(registry, tmp_path, 1, name=f"ft.{ID}.mine")
    publish(registry, tmp_path, 2, name="files", manifest=of_files)
    publish(registry, tmp_path, 3, name="datasets", manifest=of_datasets)
    whose = [
        [claim.tenant for claim in owners_of_training(registry, registry.resolve(f"{name}@1"))]
        for name in (f"ft.{ID}.mine", "files", "datasets")
    ]
    assert whose == [[f"tn_{ID}"], ["acme"], []]


def test_a_tenant_is_one_by_its_name_and_by_its_id(registry: Registry, tmp_path: Path) -> None:
    """What its jobs made says its id, its datasets and manifests say its name."""
    admin = TenantAdmin(registry.database, who="me")
    acme, _ = admin.add("acme", allow=("*",), limits=Limits())
    admin.add("globex", allow=("*",), limits=Limits())
    mine = f"{acme.prefix}mine"
    publish(registry, tmp_path, 1, name=mine)
    add(registry, "acme-rows", "a", tenant="acme")
    tables = {"start": {"from": f"{mine}@1"}, "data": {"train": "dataset:acme-rows@1"}}
    for tenant in ("acme", acme.id):
        assert {*dataset_inputs(manifest(tenant, **tables), registry).tenants} == {"acme", acme.id}
    dataset_inputs(manifest(name=f"{acme.prefix}next", **tables), registry)
    for tenant in ("globex", None, "tn_0"):
        with pytest.raises(Refused, match="of tenant `acme`, which only") as told:
            dataset_inputs(manifest(tenant, **tables), registry)
        assert 'set `adapter.tenant = "acme"`' in (told.value.hint or "")
    # Rows of both are one tenant's, and are written from for it by either word.
    claims = [Claim(acme.id, "own", f"{mine}@1", learnt=True)]
    read = load_source("dataset:acme-rows@1", "messages", registry=registry).rows
    made = add_dataset(registry, "both", {"train": read}, About(), claims=claims, who="me").dataset
    assert made.record.tenant == "acme"
    for word in ("acme", acme.id):
        require_own(["dataset:acme-rows@1"], registry, word)
    # Whoever has the name later is another.
    admin.remove("acme")
    dataset_inputs(manifest("acme", **tables), registry)
    old = {"start": {"from": f"{mine}@1"}}
    add(registry, "free", "c")
    with registry.database.write() as connection:
        connection.execute(sa.update(tenants).values(name="emca"))
    admin.add("acme", allow=("*",), limits=Limits())
    with registry.database.write() as connection:
        connection.execute(sa.update(tenants).where(tenants.c.id == acme.id).values(name="acme"))
    with pytest.raises(Refused, match=f"of tenant `{acme.id}`"):
        dataset_inputs(manifest("acme", **old), registry)


class Family:
    """`one@1` has learnt acme's rows; `two@1` continued it and `both@1` was merged from that."""

    def __init__(self, registry: Registry, folder: Path, share: Any = "own") -> None:
        add(registry, "free", "c")
        self.rows = add(registry, "acme-rows", "a", tenant="acme", share=share)
        self.digest = self.made(registry, folder, 1, "one", "dataset", self.rows.digest)
        second = self.made(registry, folder, 2, "two", "start", self.digest)
        self.made(registry, folder, 3, "both", "merge", second)
        self.made(registry, folder, 4, "judged", "test", self.rows.digest)

    def made(self, registry: Registry, folder: Path, n: int, name: str, how: str, of: str) -> str:
        parents = (Parent(relation=how, digest=of),)
        return publish(registry, folder, n, name=name, parents=parents).digest


def begun(ref: str, way: str) -> dict[str, Any]:
    return {
        "start": {"start": {"from": ref}},
        "reference": {"objective": {"kind": "dpo", "reference": ref}},
        "reward": {"objective": {"kind": "grpo", "reward_release": ref}},
        "teacher": {"objective": {"kind": "distill", "teacher": ref}},
    }[way]


@pytest.mark.parametrize("way", ["start", "reference", "reward", "teacher"])
@pytest.mark.parametrize("ref", ["one@1", "two@1", "both@1"])
def test_what_a_release_has_learnt_goes_where_its_rows_may(
    registry: Registry, tmp_path: Path, way: str, ref: str
) -> None:
    Family(registry, tmp_path)
    for tenant in (None, "globex"):
        with pytest.raises(Refused, match=r"rows of tenant `acme`, which only adapters of that"):
            dataset_inputs(manifest(tenant, ("acme",), **begun(ref, way)), registry)
    assert dataset_inputs(manifest("acme", **begun(ref, way)), registry).tenants == {"acme": "own"}
    # What was only tested on is in nobody's weights.
    assert dataset_inputs(manifest(**begun("judged@1", way)), registry).tenants == {}


def test_shared_rows_are_taken_through_releases_by_who_says_so(
    registry: Registry, tmp_path: Path
) -> None:
    Family(registry, tmp_path, share="all")
    with pytest.raises(Refused, match="does not say that it takes them"):
        dataset_inputs(manifest(**begun("two@1", "start")), registry)
    found = dataset_inputs(manifest(None, ("acme",), **begun("two@1", "start")), registry)
    assert found.tenants == {"acme": "all"}


def test_a_deleted_or_foreign_ancestor_is_asked_too(registry: Registry, tmp_path: Path) -> None:
    family = Family(registry, tmp_path)
    registry.delete("one", 1, who="me", why="cleared")
    with pytest.raises(Refused, match="of tenant `acme`"):
        dataset_inputs(manifest(**begun("two@1", "start")), registry)
    named, releases = learnt(registry, "tn_0", "acme")
    assert [str(release) for release in releases] == ["judged@1", "two@1", "both@1"]
    assert named == [family.rows.ref]
    # Of one that came from elsewhere, only its record is here.
    publish(registry, tmp_path, 7, name="pulled", details={"tenants": {"initech": "own", "x": 1}})
    with pytest.raises(Refused, match="`pulled@1` has learnt rows of tenant `initech`"):
        dataset_inputs(manifest(**begun("pulled@1", "start")), registry)


def test_a_tenants_own_jobs_made_what_is_the_tenants(registry: Registry, tmp_path: Path) -> None:
    add(registry, "free", "c")
    publish(registry, tmp_path, 1, name=f"ft.{ID}.mine")
    begin = begun(f"ft.{ID}.mine@1", "start")
    with pytest.raises(Refused, match=f"of tenant `tn_{ID}`"):
        dataset_inputs(manifest("acme", **begin), registry)
    for wanted in (manifest(f"tn_{ID}", **begin), manifest(name=f"ft.{ID}.next", **begin)):
        assert dataset_inputs(wanted, registry).tenants == {f"tn_{ID}": "own"}
    with pytest.raises(Refused, match="of tenant"):
        dataset_inputs(manifest(name="ft.fedcba9876543210.next", **begin), registry)


def test_a_merge_asks_whose_rows_its_parents_have_learnt(
    registry: Registry, tmp_path: Path
) -> None:
    Family(registry, tmp_path)
    publish(registry, tmp_path, 8, name="free")

    class Empty(BaseStore):
        def ensure(self, *_: Any, **__: Any) -> Any:
            raise NotFound("this base is not here")

    def merge(**options: Any) -> None:
        run_merge(
            ["two@1", "free@1"], name="merged", registry=registry,
            bases=Empty(tmp_path / "bases"), scratch=tmp_path, who="me",
            recipe=Recipe("cat"), **options,
        )  # fmt: skip

    with pytest.raises(Refused, match="of tenant `acme`") as refused:
        merge(tenants=("acme",))
    assert "add `--tenant acme`" in (refused.value.hint or "")
    with pytest.raises(NotFound, match="this base is not here"):  # later than that
        merge(tenant="acme")


@pytest.mark.parametrize(
    ("share", "tenant", "why"),
    [
        ("own", None, "would be nobody's"),
        ("all", None, "would be nobody's"),
        ("own", "other", "would be nobody's"),
        ("none", "acme", "lets nobody be trained on them"),
        ("own", "acme", None),
        ("all", "acme", None),
    ],
)
def test_a_tenants_rows_are_written_from_for_it_alone(
    registry: Registry, share: str, tenant: str | None, why: str | None
) -> None:
    """Before anything is sent: what is written of them would have lost its owner."""
    add(registry, "seeds", "hotel", tenant="acme", share=share)
    add(registry, "more", "garage")
    sources = ("dataset:more@1", "dataset:seeds@1", "rows.jsonl")
    if why is None:
        require_own(sources, registry, tenant)
        return
    with pytest.raises(Refused, match=why):
        require_own(sources, registry, tenant)
    asked = ["data", "synth", *sources, "--strategy", "paraphrase", "--generator"]
    asked += ["http://127.0.0.1:9/v1#m", *(("--tenant", tenant) if tenant else ())]
    code, said = command(*asked)
    assert (code, why in said) == (exit_code(Refused("")), True)
