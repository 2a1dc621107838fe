"""Half-done builds that no plan made now can go on with."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.builders.building.record import left_behind

CODE, PACKAGES = {"version": "1", "digest": "sha256:a"}, {"torch": "2"}
PLAN: Any = SimpleNamespace(
    manifest=SimpleNamespace(adapter=SimpleNamespace(name="tickets")), code=CODE, packages=PACKAGES
)
OTHER_CODE = CODE | {"digest": "sha256:b"}
OTHER_PACKAGES = PACKAGES | {"torch": "3"}


@pytest.mark.parametrize(
    ("name", "done", "code", "packages", "what"),
    [
        ("tickets", (), CODE, PACKAGES, None),
        ("tickets", (), OTHER_CODE, PACKAGES, "another version of adapterworks"),
        ("tickets", (), CODE, OTHER_PACKAGES, "other versions of the packages it needs"),
        ("tickets", ("train", "publish"), OTHER_CODE, PACKAGES, None),
        ("tickets-eu", (), OTHER_CODE, PACKAGES, None),
    ],
    ids=["ours", "other code", "other packages", "published", "of another adapter"],
)
def test_it_is_found_where_it_cannot_go_on(
    tmp_path: Path,
    name: str,
    done: tuple[str, ...],
    code: dict[str, str],
    packages: dict[str, str],
    what: str | None,
) -> None:
    folder = tmp_path / f"{name}-0123456789ab"
    folder.mkdir()
    plan = {"manifest": {"adapter": {"name": name}}, "code": code, "packages": packages}
    record = {"plan": plan, "created": "", "done": {stage: {} for stage in done}}
    (folder / "build.json").write_text(json.dumps(record))
    (tmp_path / "tickets-empty").mkdir()
    assert left_behind(tmp_path, PLAN) == ([] if what is None else [(folder, what)])
