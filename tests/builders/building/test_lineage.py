"""A training that goes on: what the ancestors learnt is replayed, what they were tested on is asked
again, and what that costs is in the report, the gates and the card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapterworks.builders.building import prepare
from adapterworks.builders.data.ancestry import Known, ancestors, learnt_by_lineage
from adapterworks.builders.data.assemble import rows_of_build
from adapterworks.builders.data.gates.as_of import AsOf
from adapterworks.builders.data.load import Splits
from adapterworks.builders.data.rows import rows_digest
from adapterworks.builders.evaluation.transfer import AncestorTest
from adapterworks.cli.plan import command as plan
from adapterworks.manifests.errors import IntegrityError, Refused
from adapterworks.manifests.load import check_manifest
from adapterworks.manifests.models import Manifest
from tests.builders.workshop import Workshop

CONTINUED = """
[start]
from = "{start}"
[data.replay]
source = "lineage"
share = 0.5
"""


def rows(folder: Path, name: str, start: int, count: int = 8) -> None:
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"which ward has bed {start + number}?"},
                {"role": "assistant", "content": f"B{number % 3}"},
            ]
        }
        for number in range(count)
    ]
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.slow
@pytest.mark.train
def test_three_releases_in_sequence(workshop: Workshop) -> None:
    folder = workshop.folder
    path = workshop.manifest(epochs=1)
    declared = (folder / "lora.toml").read_text()
    first = workshop.json(path)
    registry, cache = workshop.registry(), workshop.home / "cache"

    def continued(number: int, budget: float) -> Path:
        rows(folder, f"train{number}.jsonl", 1000 * number)
        rows(folder, f"test{number}.jsonl", 1000 * number + 500, 4)
        text = declared.replace("train.jsonl", f"train{number}.jsonl").replace(
            '"test.jsonl"', f'"test{number}.jsonl"'
        )
        text = text.replace(
            "[serve]", f"retention = {{ ancestors = true, max_ancestor_loss = {budget} }}\n[serve]"
        )
        made = folder / f"continued{number}.toml"
        made.write_text(text + CONTINUED.format(start=f"tiny@{number - 1}"))
        return made

    second = workshop.json(str(continued(2, 1.0)))
    third = workshop.json(str(continued(3, 1.0)))
    releases = [registry.release(built["digest"]) for built in (first, second, third)]
    assert [a.release.digest for a in ancestors(registry, "tiny@3", cache=cache)] == [
        release.digest for release in reversed(releases)
    ]

    # The rows: all new ones and half as many of the ancestors', which are those of their records.
    def derive(manifest: Manifest, as_of: AsOf, known: Known) -> Splits:
        return rows_of_build(manifest, cache=cache, registry=registry, as_of=as_of, known=known)

    learnt = learnt_by_lineage(registry, "tiny@2", derive, cache=cache)
    assert learnt.datasheet.counts["learnt"] == 8 + 24
    own = ancestors(registry, "tiny@3", cache=cache)[0]
    trained = rows_of_build(own.manifest, cache=cache, registry=registry).train
    assert rows_digest(trained) == releases[2].provenance.data["train"]
    replayed = [row for row in trained if row.meta.get("replay")]
    assert (len(trained), len(replayed)) == (12, 4)
    assert {row.digest for row in replayed} <= {row.digest for row in learnt.rows}

    # The scores: then is what the ancestor's own evaluation said.
    report = json.loads(registry.read(releases[2].digest, "report.json"))
    assert [entry["ref"] for entry in report["ancestors"]] == ["tiny@2", "tiny@1"]
    for entry, release in zip(report["ancestors"], (releases[1], releases[0]), strict=True):
        then = json.loads(registry.read(release.digest, "report.json"))
        assert entry["digest"] == release.digest
        assert entry["then"] == pytest.approx(then["metrics"]["exact_match"]["values"]["candidate"])
        assert entry["change"] == pytest.approx(entry["now"] - entry["then"])
        assert entry["low"] <= entry["change"] <= entry["high"]
    before = json.loads(registry.read(releases[1].digest, "report.json"))["ancestors"][0]
    assert report["ancestors"][0]["earlier"] == {"tiny@1": before["now"]}
    gates = {gate["name"]: gate["passed"] for gate in report["gates"]}
    assert gates == {"tiny@2": True, "tiny@1": True}
    card = registry.read(releases[2].digest, "README.md").decode()
    assert "| release | tiny@1 | tiny@2 |" in card
    assert f"| tiny@2 | {before['now']:.3f} | " in card

    # Another budget is judged without asking anybody again; rows that changed are not replayed.
    judged = workshop.json(str(continued(3, 0.9)))
    assert judged["reused"]
    rows(folder, "train2.jsonl", 7000)
    with pytest.raises(IntegrityError, match="is not the file that `tiny@2` was built from"):
        learnt_by_lineage(registry, "tiny@2", derive, cache=cache)


def test_what_a_lineage_needs_is_said_with_its_line(workshop: Workshop) -> None:
    path = Path(workshop.manifest(more='[data.replay]\nsource = "lineage"\n'))
    (fault,) = check_manifest(path)[1]
    assert fault.key == "data.replay.source"
    assert "no lineage to replay" in fault.message
    text = path.read_text().replace('"train.jsonl"', '"lineage"') + '[start]\nfrom = "tiny@1"\n'
    path.write_text(text)
    assert [fault.key for fault in check_manifest(path)[1]] == ["data.train"]
    path = Path(workshop.manifest())
    path.write_text(
        path.read_text().replace("[serve]", "retention = { max_ancestor_loss = 0.1 }\n[serve]")
    )
    assert "no ancestor's test rows are asked" in check_manifest(path)[1][0].message
    path.write_text(path.read_text().replace("max_ancestor_loss = 0.1", "ancestors = true"))
    assert "has no ancestors" in check_manifest(path)[1][0].message


def test_what_ancestors_need_is_asked_for_before_the_training(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test file that has moved was found missing when the training was done."""

    def gone(*_: object) -> list[AncestorTest]:
        raise Refused("what `tiny@1` was tested on is not here as it was then")

    path = str(workshop.manifest())
    assert workshop.invoke(plan, path).exit_code == 0
    monkeypatch.setattr(prepare, "ancestor_tests", gone)
    refused = workshop.invoke(plan, path)
    assert refused.exit_code != 0
    assert "is not here as it was then" in str(refused.exception)
