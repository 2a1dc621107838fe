"""Integrations of fine-tuning jobs: what may be sent where, as whoever runs the gateway says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import ValidationError

from adapterworks.gateway.config.jobs import IntegrationTable
from adapterworks.gateway.jobs.integrating import allowed
from adapterworks.gateway.jobs.objects import AskedIntegration
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.tracking_table import TrackingTable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.jobs import events, lookup
from adapterworks.registry.registry import Registry
from adapterworks.workers.fine_tuning import manifest_text
from tests.gateway.jobs_support import House, house, move_in, strict
from tests.gateway.running import Launcher

__all__ = ["house"]
ROWS = b"".join(
    json.dumps({"messages": [{"role": "user", "content": f"q{n}"},
                             {"role": "assistant", "content": "a"}]}).encode() + b"\n"
    for n in range(10)
)  # fmt: skip
WANDB = {"project": "acme@icd", "name": "first", "tags": ["a", "b"]}
OURS = IntegrationTable(
    type="wandb", tenants=("acme",), projects=("{tenant}@*",), entity="our-team"
)


@pytest.fixture
def tracked(launcher: Launcher, registry: Registry, base: Base, tmp_path: Path) -> House:
    """A gateway that lets one tenant send metrics to W&B, and everybody to MLflow."""
    tables = (OURS, IntegrationTable(type="mlflow", tenants=("*",)))
    return move_in(launcher, registry, base, tmp_path, integrations=tables)


def create(house: House, integrations: Any, tenant: str = "acme") -> Any:
    client = house.client(tenant)
    file = client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
    return client.fine_tuning.jobs.create(
        model=house.standin.base, training_file=file.id, integrations=integrations, seed=1
    )


def test_what_is_allowed_is_in_the_job_and_in_its_manifest(tracked: House, tmp_path: Path) -> None:
    made = create(tracked, [{"type": "wandb", "wandb": WANDB}])
    strict(made)
    found = tracked.client().fine_tuning.jobs.retrieve(made.id)
    (one,) = found.integrations or []
    assert one.to_dict() == {
        "type": "wandb",
        "wandb": {"project": "acme@icd", "entity": "our-team", "name": "first", "tags": ["a", "b"]},
    }
    with tracked.registry.database.read() as connection:
        job = lookup.get(connection, made.id)
        told = [event.message for event in events.since(connection, job.id, 0)]
    assert "its metrics are sent to `wandb`" in told
    path = tmp_path / "manifest.toml"
    path.write_text(manifest_text(job))
    (table,) = load_manifest(path).train.tracking
    assert table == TrackingTable(
        tracker="wandb", project="acme@icd", run="first", entity="our-team", tags=("a", "b")
    )


def test_both_kinds_at_once_and_mlflow_in_its_own_words(tracked: House, tmp_path: Path) -> None:
    asked = [
        {"type": "wandb", "wandb": {"project": "acme@x"}},
        {"type": "mlflow", "mlflow": {"experiment": "anything"}},
    ]
    made = create(tracked, asked)
    with tracked.registry.database.read() as connection:
        job = lookup.get(connection, made.id)
    path = tmp_path / "manifest.toml"
    path.write_text(manifest_text(job))
    assert load_manifest(path).train.tracking == (
        TrackingTable(tracker="wandb", project="acme@x", entity="our-team"),
        TrackingTable(tracker="mlflow", project="anything"),
    )
    with tracked.running.http(tracked.keys["acme"]) as http:
        shown = http.get(f"/v1/fine_tuning/jobs/{made.id}").json()["integrations"]
    assert shown[1] == {
        "type": "mlflow",
        "mlflow": {"experiment": "anything", "name": None, "tags": None},
    }


@pytest.mark.parametrize(
    ("tenant", "asked", "words"),
    [
        ("globex", {"type": "wandb", "wandb": WANDB}, "may not be sent to `wandb`"),
        ("acme", {"type": "wandb", "wandb": {"project": "acme-eu@x"}}, "no project of yours"),
        ("acme", {"type": "wandb", "wandb": {**WANDB, "entity": "mine"}}, "may not be named"),
        ("acme", {"type": "mlflow", "mlflow": {"experiment": "x", "tags": ["MLflow.user"]}}, "own"),
        ("acme", {"type": "wandb", "mlflow": {"experiment": "x"}}, "has a table `wandb`"),
        ("acme", {"type": "wandb"}, "has a table `wandb`"),
    ],
)
def test_what_is_not_allowed_is_refused_with_whom_to_ask(
    tracked: House, tenant: str, asked: Any, words: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as caught:
        create(tracked, [asked], tenant)
    assert caught.value.param == "integrations"
    assert list(tracked.client(tenant).fine_tuning.jobs.list()) == []


def test_nothing_is_allowed_unless_it_is_said(house: House) -> None:
    with pytest.raises(openai.BadRequestError, match="ask whoever runs the gateway") as caught:
        create(house, [{"type": "wandb", "wandb": WANDB}])
    assert '`[[jobs.integrations]]` with `type = "wandb"`' in str(caught.value)
    assert list(house.client().fine_tuning.jobs.list()) == []
    assert create(house, []).integrations == []


def asked(kind: str = "wandb", **given: Any) -> AskedIntegration:
    return AskedIntegration.model_validate({"type": kind, kind: given})


def test_a_tenants_name_in_a_pattern_is_no_pattern() -> None:
    wild = IntegrationTable(type="wandb", tenants=("a*",), projects=("{tenant}-x",))
    assert allowed((wild,), "a*", [asked(project="a*-x")])
    with pytest.raises(InvalidField, match="no project of yours"):
        allowed((wild,), "a*", [asked(project="abc-x")])
    with pytest.raises(InvalidField, match="may not be sent"):
        allowed((wild,), "abc", [asked(project="abc-x")])


def test_the_first_table_that_names_the_tenant_holds_and_each_type_comes_once() -> None:
    everybody = IntegrationTable(type="wandb", tenants=("*",), entity="all")
    (one,) = allowed((OURS, everybody), "acme", [asked(project="acme@1")])
    assert one["wandb"]["entity"] == "our-team"
    (one,) = allowed((OURS, everybody), "globex", [asked(project="acme@1", entity="all")])
    assert one["wandb"]["entity"] == "all"
    with pytest.raises(InvalidField, match="twice"):
        allowed((everybody,), "acme", [asked(project="a"), asked(project="b")])


@pytest.mark.parametrize(
    "pattern", ["{tenant}-*", "{tenant}*", "{tenant}.x-?", "*{tenant}", "[ab]-{tenant}@*"]
)
def test_a_pattern_that_matches_a_neighbours_projects_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="and what varies"):
        IntegrationTable(type="wandb", tenants=("*",), projects=(pattern,))


def test_patterns_with_one_tenants_projects_are_taken() -> None:
    for pattern in ("{tenant}", "team-{tenant}-x", "{tenant}@*", "*@{tenant}", "x-*"):
        IntegrationTable(type="wandb", tenants=("*",), projects=(pattern,))
