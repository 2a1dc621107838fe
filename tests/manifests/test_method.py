"""`[method]` is the table of the method that it names; what a method gets wrong is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.builtin import BUILTIN
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.load import check_manifest, load_manifest
from adapterworks.manifests.method import MethodTable, method_table, method_tables
from adapterworks.manifests.models import Manifest

MODULE = """
from typing import Literal
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.values import Frozen

class Part(Frozen):
    size: int = 1

class OddTable(MethodTable):
    kind: Literal["odd"]
    sides: tuple[str, ...] = ()
    part: Part = Part()

class Method:
    checks, cut, table = (), False, OddTable

ODD = Method()
WRONG_NAME = ODD
NO_TABLE = type("NoTable", (), {"checks": (), "cut": False, "table": Part})()
NOTHING = 7
"""
Add = Callable[[str, str], None]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Add:
    """Adds a line to the table of methods."""
    (tmp_path / "odd_methods.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)

    def add(kind: str, attribute: str) -> None:
        monkeypatch.setitem(BUILTIN["methods"], kind, f"odd_methods:{attribute}")

    return add


def test_every_built_in_method_has_a_table_of_its_name() -> None:
    tables = method_tables()
    assert tables.keys() == BUILTIN["methods"].keys()
    assert all(table.__doc__ and issubclass(table, MethodTable) for table in tables.values())


def test_a_manifest_is_validated_into_the_table_it_names(add: Add, write: Any) -> None:
    add("odd", "ODD")
    changes = 'kind = "odd"\nsides = ["left"]\npart.size = 3'
    manifest = load_manifest(write(('kind = "qlora"\nrank = 16', changes)))
    assert type(manifest.method) is method_table("odd")
    values = manifest.method.model_dump()
    assert values == {"kind": "odd", "sides": ("left",), "part": {"size": 3}}
    # Records hold it as JSON, where an array stands for the tuple.
    assert Manifest.model_validate_json(manifest.model_dump_json()).method == manifest.method


def test_faults_of_a_table_within_it_are_placed_and_explained(add: Add, write: Any) -> None:
    add("odd", "ODD")
    changes = 'kind = "odd"\nsides = [3]\nside = 1\npart.sizes = 3'
    _, faults = check_manifest(write(('kind = "qlora"\nrank = 16', changes)))
    found = {fault.key: (fault.message, fault.hint) for fault in faults}
    assert found["method.sides[0]"] == ("expected a string, got 3", None)
    assert found["method.side"] == ("unknown key `side`", "did you mean `sides`?")
    assert found["method.part.sizes"] == ("unknown key `sizes`", "did you mean `size`?")


@pytest.mark.parametrize(
    ("kind", "attribute", "message"),
    [
        ("other", "WRONG_NAME", "the table of the method `other` .* is for `odd`"),
        ("bare", "NO_TABLE", "the method `bare` .* has no table"),
        ("seven", "NOTHING", "the method `seven` .* has no `table`"),
    ],
)
def test_what_is_no_method_is_refused_where_it_is_named(
    add: Add, write: Any, kind: str, attribute: str, message: str
) -> None:
    add(kind, attribute)
    with pytest.raises(InvalidInput, match=message):
        method_table(kind)
    assert kind not in method_tables()
    _, faults = check_manifest(write(('kind = "qlora"\nrank = 16', f'kind = "{kind}"')))
    (fault,) = {fault.key: fault for fault in faults}.values()
    assert fault.key == "method.kind"
    assert f"`{kind}`" in fault.message
    assert fault.hint


@pytest.mark.parametrize("kind", ["houlsby", "Bottleneck"])
def test_adapter_tuning_is_refused_with_the_reason_and_what_to_use(write: Any, kind: str) -> None:
    _, faults = check_manifest(write(('kind = "qlora"\nrank = 16', f'kind = "{kind}"')))
    (fault,) = [fault for fault in faults if fault.key == "method.kind"]
    assert "Houlsby et al. 2019" in fault.message
    assert "could not be served" in fault.message
    assert '`method.kind = "lora"`' in str(fault.hint)
