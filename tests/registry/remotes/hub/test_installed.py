"""The registry's commands as a user starts them: each in a Python that has imported nothing yet.

Elsewhere they are forked from one that has (`tests/forked.py`), where an import that a command
forgot would go unseen.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.registry.lifecycle.test_signing import make_key
from tests.registry.remotes.hub.machine import REPOSITORY, Machine, Prepared


@pytest.mark.slow
def test_from_a_release_to_its_copy_elsewhere_and_its_end(
    prepared: Prepared, new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    ours, theirs = new_machine("ours"), new_machine("theirs")
    shutil.copytree(prepared.home, ours.home)
    private, _ = make_key(tmp_path, "ours")
    ours.installed = theirs.installed = True
    digest = prepared.published.digest
    for command in (
        ("list",),
        ("search", "medical"),
        ("show", "medical@2"),
        ("diff", "medical@1", "medical@2"),
        ("lineage", "medical@2"),
        ("promote", "medical@1", "prod", "--why", "first"),
        ("promote", "medical@2", "prod", "--why", "better"),
        ("rollback", "medical:prod", "--why", "worse"),
        ("tag", "medical@2", "+checked"),
        ("deprecate", "medical@1", "--why", "old", "--yes"),
        ("log", "medical"),
        ("sign", "medical@2", "--key", private),
        ("push", "medical@2"),
        ("tenant", "add", "acme", "--allow", "medical"),
        ("usage",),
        ("registry", "backup", tmp_path / "index.db"),
    ):
        ours.ok(*command)
    assert theirs.ok("pull", f"{REPOSITORY}@v2", "--json").json["digest"] == digest
    assert "clean" in theirs.ok("verify", "--all").out
    ours.ok("erase", "medical@2", "predictions.jsonl", "--why", "consent withdrawn", "--yes")
    ours.ok("promote", "medical@2", "prod", "--why", "on again")
    ours.ok("delete", "medical@1", "--why", "old", "--yes")
    ours.ok("gc", "--yes", "--grace", "0")
    assert "clean" in ours.ok("verify", "--all").out
