"""What a new user gets wrong is said before a base is downloaded, unpacked or quantized."""

from __future__ import annotations

import json

import pytest
from click import Command

from adapterworks.cli.build import command as build
from adapterworks.cli.compare import command as compare
from adapterworks.cli.data import gates, inspect
from adapterworks.cli.plan import command as plan
from adapterworks.cli.try_ import command as try_
from adapterworks.manifests.errors import InvalidInput, NotFound
from tests.builders.workshop import Workshop

_EQUAL = ("--methods", "lora,qlora", "--equal-parameters", "--manifest")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        pytest.param(plan, (), id="plan"),
        pytest.param(build, (), id="build"),
        pytest.param(try_, (), id="try"),
        pytest.param(compare, _EQUAL, id="compare"),
        pytest.param(inspect, (), id="data inspect"),
        pytest.param(gates, (), id="data gates"),
    ],
)
@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param(json.dumps({"question": "q", "answer": "a"}), "not in format", id="columns"),
        pytest.param("", "`train.jsonl` has no rows", id="empty"),
    ],
)
def test_rows_of_another_form_are_refused_before_a_base_is_prepared(
    command: Command, options: tuple[str, ...], rows: str, said: str, workshop: Workshop
) -> None:
    path = workshop.manifest()
    (workshop.folder / "train.jsonl").write_text(rows)
    told = workshop.invoke(command, *options, path)
    assert isinstance(told.exception, InvalidInput), told.output
    assert said in told.exception.message
    assert workshop.app.bases.list() == []


def test_rows_that_are_in_form_have_a_base_prepared(workshop: Workshop) -> None:
    assert workshop.invoke(plan, workshop.manifest()).exit_code == 0
    assert len(workshop.app.bases.list()) == 1


def test_a_base_that_nobody_knows_is_refused_before_rows_are_read(workshop: Workshop) -> None:
    workshop.base = "nobody-knows-it"
    (workshop.folder / "train.jsonl").write_text("no record")
    told = workshop.invoke(plan, workshop.manifest())
    assert isinstance(told.exception, NotFound)
    assert "no base `nobody-knows-it`" in told.exception.message
