"""From what was captured by consent to a dataset: whose it is, who may learn it, where from."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.building.dataset_inputs import dataset_inputs
from adapterworks.builders.data.datasets import rows_of
from adapterworks.cli.feedback import export as exported
from adapterworks.cli.from_failures import command
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.consent import Consent
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.load import load_manifest
from adapterworks.registry.datasets.graph import graph
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.exchanges import feedback
from adapterworks.registry.exchanges.exchange import Share
from adapterworks.registry.exchanges.feedback import NewFeedback
from adapterworks.settings import Settings
from tests.registry.exchanges.test_exchanges import exchange
from tests.registry.releases import publish

MANIFEST = """
[adapter]
name = "medical"
{tenant}
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "dataset:medical-failures@1"
"""


class Ward:
    """A registry with two releases of `medical` and tenants whose answers were captured."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {"ADAPTERS_HOME": str(folder / "home"), "ADAPTERS_USER": "tester"}
        self.app = App(Settings.from_environment(environment))
        registry = self.app.registry
        self.releases = [
            publish(registry, folder, n, alias="prod" if n == 2 else None).digest for n in (1, 2)
        ]
        self.admin = TenantAdmin(registry.database, who="tester")

    def tenant(self, name: str, share: Share) -> str:
        self.admin.add(name, allow=("*",), limits=Limits())
        changes = {"capture": Consent(("medical",), share=share)}
        return self.admin.set(name, changes).id

    def keep(self, number: int, tenant: str, question: str, **fields: Any) -> None:
        messages = [{"role": "user", "content": question}]
        values = {"release": self.releases[1], "request": {"messages": messages}, **fields}
        correction = values.pop("correction", None)
        store = self.app.exchanges
        store.put([exchange(number, tenant=tenant, **values)])
        if correction is not None:
            subject = store.subject(tenant, f"req-{number}")
            assert subject is not None
            said = NewFeedback(thumb="down", correction=correction, reviewer="ann")
            feedback.add(store, tenant, subject, said, time.time())

    def run(self, *options: str) -> dict[str, Any]:
        arguments = ("medical", "--from", "capture", "--share", "1", *options, "--json")
        done = CliRunner().invoke(command, arguments, obj=self.app)
        if done.exception is not None:
            raise done.exception
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
        return found | {"stderr": done.stderr}


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


def test_corrections_become_a_dataset_of_the_tenant_with_their_lineage(ward: Ward) -> None:
    acme, shut = ward.tenant("acme", "own"), ward.tenant("shut", "none")
    ward.keep(0, acme, "which ward has bed nine", correction="B9", release=ward.releases[0])
    ward.keep(1, acme, "which ward has bed ten", correction="B10")
    ward.keep(2, acme, "which ward has bed two")
    ward.keep(3, shut, "which ward has bed one", correction="B1")
    turns = [{"role": "user", "content": None}]
    ward.keep(4, acme, "", request={"messages": turns})

    done = ward.run()
    assert "1 failures are of tenants who let nobody learn from them" in done["stderr"]
    assert "1 answers are to turns that are no texts" in done["stderr"]
    assert [(of["failures"], of["traffic"]) for of in done["clusters"]] == [(2, 4)]
    registry = ward.app.registry
    made = Datasets(registry).get("medical-failures")
    record = made.record
    assert (record.tenant, record.share) == ("acme", "own")
    assert "acme" in record.consent
    failed = [(parent.relation, parent.digest) for parent in record.parents]
    assert failed == [("failures", digest) for digest in reversed(ward.releases)]
    rows = rows_of(Datasets(registry), made)["train"]
    assert [(row.answer, row.meta["place"]) for row in rows] == [("B9", "req-0"), ("B10", "req-1")]
    drawn = "\n".join(graph(registry, "next", [record.parents[0]]))
    assert drawn == f"next\n└── failures: medical@2 {ward.releases[1][:19]}"

    # The plan holds who may learn it.
    place = ward.folder / "medical.toml"
    place.write_text(MANIFEST.format(tenant=""))
    with pytest.raises(Refused, match="only adapters of that tenant"):
        dataset_inputs(load_manifest(place), registry)
    place.write_text(MANIFEST.format(tenant='tenant = "acme"'))
    (parent,) = dataset_inputs(load_manifest(place), registry).datasets
    lines = graph(registry, "medical@3", [parent, parent])
    assert lines[1].startswith("├── dataset: dataset:medical-failures@1 sha256:")
    assert lines[1].endswith("(2 rows, acme's, share own)")
    assert lines[2].startswith("│   ├── failures: medical@2 ")
    assert lines[-1].endswith("(2 rows, acme's, share own; drawn above)")


@pytest.mark.parametrize("now", ["none", "withdrawn", "another"])
def test_what_a_tenant_does_not_allow_any_more_is_not_learnt(ward: Ward, now: str) -> None:
    acme = ward.tenant("acme", "all")
    ward.keep(0, acme, "which ward has bed nine", correction="B9", share="all")
    adapters = ("other",) if now == "another" else ("medical",)
    consent = (
        None if now == "withdrawn" else Consent(adapters, share=now if now == "none" else "all")
    )
    ward.admin.set("acme", {"capture": None if now == "withdrawn" else consent})
    assert "1 failures are of tenants who let nobody" in ward.run()["stderr"]
    assert Datasets(ward.app.registry).newest("medical-failures") is None


def test_what_was_shared_less_stays_so_and_two_tenants_stay_apart(ward: Ward) -> None:
    acme, other = ward.tenant("acme", "all"), ward.tenant("globex", "all")
    ward.keep(0, acme, "which ward has bed nine", correction="B9", share="own")
    ward.keep(1, other, "which ward has bed ten", correction="B10", share="all")
    with pytest.raises(InvalidInput, match="several tenants: acme, globex"):
        ward.run()
    ward.run("--tenant", "acme")
    ward.run("--tenant", "globex", "--dataset", "theirs")
    datasets = Datasets(ward.app.registry)
    assert datasets.get("medical-failures").record.share == "own"
    assert datasets.get("theirs").record.share == "all"
    with pytest.raises(InvalidInput, match="`--file` is of feedback"):
        ward.run("--file", str(ward.folder / "release-1" / "README.md"))


@pytest.mark.parametrize("now", ["none", "withdrawn", "another", "gone"])
def test_a_file_of_feedback_is_no_way_around_what_is_allowed_now(ward: Ward, now: str) -> None:
    ward.keep(
        0, ward.tenant("acme", "all"), "which ward has bed nine", correction="B9", share="all"
    )
    ward.tenant("globex", "own")

    def export(*options: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(exported, options, obj=ward.app, catch_exceptions=False)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def learnt(lines: list[dict[str, Any]]) -> Any:
        file = ward.folder / "reviewed.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        arguments = ["medical", "--from", "feedback", "--file", str(file), "--share", "1"]
        done = CliRunner().invoke(command, arguments, obj=ward.app, catch_exceptions=False)
        return "1 failures are of tenants who let nobody" not in done.stderr

    before = export()
    assert [line["share"] for line in before] == ["all"]
    if now == "gone":
        ward.admin.remove("acme")
    elif now == "withdrawn":
        ward.admin.set("acme", {"capture": None})
    else:
        adapters = ("other",) if now == "another" else ("medical",)
        consent = Consent(adapters, share="none" if now == "none" else "all")
        ward.admin.set("acme", {"capture": consent})
    after = export()
    assert [line["share"] for line in after] == ["none"]
    assert export("--share", "all") == []
    assert not learnt(after)
    assert not learnt(before)
    assert Datasets(ward.app.registry).newest("medical-failures") is None
