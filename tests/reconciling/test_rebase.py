"""`adapters rebase`: built on another base, judged against what answers, moved if it survives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate
from adapterworks.reconciling.rebase import judged_by
from tests.builders.build_support import make_tiny_base
from tests.reconciling.conftest import Ads

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with other weights."""
    from transformers import AutoModelForCausalLM

    folder = make_tiny_base(tmp_path_factory.mktemp("bases") / "other")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    model.save_pretrained(folder)
    return folder


def test_what_survives_is_promoted_and_what_does_not_is_said(
    ads: Ads, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("good", "bad"):
        ads.declare(name)
    ads.json("build")
    registry = ads.workshop.registry()
    for name in ("good", "bad"):
        registry.promote(name, 1, "prod", who="tester")
    monkeypatch.chdir(other.parent)  # where the path begins, wherever manifests lie
    on_other = ("--base", f"./{other.name}")
    planned = ads.json("rebase", *on_other, "--all", "--check", code=1)
    assert {row["name"]: row["result"] for row in planned} == {
        "bad": "to rebase",
        "good": "to rebase",
    }
    # Neither learns six codes in six steps; without a margin only a tie is no loss, and with a
    # margin of everything nothing is.
    (survived,) = ads.json("rebase", *on_other, "good", "--margin", "1.0")
    assert survived["result"] == "rebased"
    assert "`prod`, `candidate`: good@1 → @2" in survived["detail"]
    assert ads.aliases()["good"] == {"candidate": 2, "prod": 2}
    release = registry.release(registry.resolve("good:prod").digest)
    assert release.base.digest != registry.release(registry.resolve("good@1").digest).base.digest
    assert release.manifest is not None
    assert release.manifest["evaluate"]["gates"] == []  # its own manifest, but for the base
    again = ads.json("rebase", *on_other, "good")
    assert again[0]["detail"].endswith("already")
    assert registry.rollback("good", "prod", who="tester").version == 1

    # The same with a gate of its own that nothing passes: today's stays.
    gate = '\n[[evaluate.gates]]\nmetric = "exact_match"\nmin_gain = 0.99\n'
    ads.declare("bad", more=gate)
    (ads.folder / "good.toml").unlink()
    (kept,) = ads.json(
        "rebase", *on_other, "bad", "--manifests", str(ads.folder), "--margin", "1.0", code=1
    )
    assert kept["result"] == "did not survive"
    assert kept["ref"] == "bad@2"
    assert "`prod`, `candidate` stays bad@1: exact_match: gain over base" in kept["detail"]
    assert ads.aliases()["bad"] == {"candidate": 1, "prod": 1}

    (ads.folder / "twin.toml").write_text((ads.folder / "bad.toml").read_text())
    twice = ads.run("rebase", *on_other, "bad", "--manifests", str(ads.folder))
    assert isinstance(twice.exception, InvalidInput)
    assert "`bad.toml` and `twin.toml` both declare `bad`" in str(twice.exception)


def test_today_s_release_is_what_it_is_judged_against() -> None:
    table = EvaluateTable(
        metrics=("exact_match", "rouge_l"),
        gates=(QualityGate(metric="rouge_l", min_gain=0.5, confidence=0.9),),
    )
    (gate,) = judged_by(table, 0.02).gates
    assert (gate.metric, gate.against, gate.min_gain, gate.confidence) == (
        "rouge_l",
        "prod",
        -0.02,
        0.9,
    )
    (first,) = judged_by(EvaluateTable(metrics=("exact_match",)), 0.0).gates
    assert (first.metric, first.against, first.min_gain) == ("exact_match", "prod", 0.0)
