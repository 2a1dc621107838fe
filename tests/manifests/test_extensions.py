"""Names of what can be added: built in, of installed distributions, claimed twice, broken."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import ValidationError

from adapterworks.builders.data.recipes.recipe import Recipe
from adapterworks.manifests import entry_points, extensions
from adapterworks.manifests.builtin import BUILTIN, KINDS
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import Table
from adapterworks.manifests.models import Frozen
from adapterworks.manifests.named import Named

RECIPE = """
from adapterworks.builders.data.recipes.recipe import Derived, Recipe

WARDS = Recipe("wards", "Wards of a hospital", "CC0", lambda cache: Derived({}, "here", {}))
OTHER = 7
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Makes a distribution of one module that claims recipes by entry points."""

    def install(distribution: str, module: str, source: str, **recipes: str) -> None:
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2")
        points = "".join(f"{name} = {target}\n" for name, target in recipes.items())
        (info / "entry_points.txt").write_text(f"[adapterworks.recipes]\n{points}")
        (tmp_path / f"{module}.py").write_text(source)

    monkeypatch.syspath_prepend(tmp_path)
    entry_points.forget()
    before = set(sys.modules)
    yield install
    entry_points.forget()
    for name in set(sys.modules) - before:
        del sys.modules[name]


def table() -> Table[Recipe]:
    return Table("recipes", Recipe)


def test_an_installed_recipe_is_found_by_its_name(install: Install, tmp_path: Path) -> None:
    install("acme-data", "acme_data", RECIPE, wards="acme_data:WARDS")
    recipes = table()
    assert [*recipes] == [*BUILTIN["recipes"], "wards"]
    assert recipes["wards"].description == "Wards of a hospital"
    assert str(extensions.origin("recipes", "wards")) == "acme-data 1.2"
    assert str(extensions.origin("recipes", "general")) == "built in"
    digest = extensions.source_digest("recipes", "wards")
    assert digest == digest_bytes(RECIPE.encode())


def test_names_are_known_without_importing_anything(install: Install) -> None:
    install("acme-data", "acme_data", "raise SystemExit", wards="acme_data:WARDS")
    assert "wards" in extensions.names("recipes")
    assert "acme_data" not in sys.modules


def test_an_unknown_name_says_what_is_known() -> None:
    with pytest.raises(InvalidInput, match="there is no recipe `wards`") as caught:
        table().named("wards")
    assert "general" in str(caught.value.hint)
    with pytest.raises(KeyError):
        table()["wards"]


def test_a_name_that_two_claim_is_a_fault_that_names_both(install: Install) -> None:
    install("acme-data", "acme_data", RECIPE, wards="acme_data:WARDS")
    install("beta-data", "beta_data", RECIPE, wards="beta_data:WARDS")
    with pytest.raises(InvalidInput, match=r"more than once: by `acme.* 1\.2` and `beta.* 1\.2`"):
        table().named("wards")


def test_nobody_takes_the_name_of_something_built_in(install: Install) -> None:
    install("acme-data", "acme_data", RECIPE, general="acme_data:WARDS")
    with pytest.raises(InvalidInput, match=r"by adapterworks and `acme-data 1\.2`"):
        table().named("general")


def test_a_broken_distribution_breaks_only_itself(install: Install) -> None:
    install("acme-data", "acme_data", "import not_there", wards="acme_data:WARDS")
    install("beta-data", "beta_data", RECIPE, beds="beta_data:WARDS", halls="beta_data:OTHER")
    lines = {line.name: line for line in table().listing()}
    assert lines["wards"].value is None
    assert "of `acme-data 1.2` cannot be loaded: ModuleNotFoundError" in str(lines["wards"].fault)
    assert lines["beds"].value is not None
    assert lines["general"].fault is None
    assert "is a int, not a `Recipe`" in str(lines["halls"].fault)
    with pytest.raises(InvalidInput, match="is a int, not a `Recipe`"):
        extensions.load("recipes", "halls")  # as the checks of a manifest do


@pytest.mark.parametrize("source", ["import sys\nsys.exit(3)", "raise SystemExit"])
def test_a_distribution_that_exits_breaks_only_itself(install: Install, source: str) -> None:
    install("acme-data", "acme_data", source, wards="acme_data:WARDS")
    lines = {line.name: line for line in table().listing()}
    assert "of `acme-data 1.2` cannot be loaded: SystemExit" in str(lines["wards"].fault)
    assert lines["general"].fault is None


@pytest.mark.parametrize("target", ["acme_data:WARDS [tables]", "acme_data : WARDS"])
def test_an_entry_point_may_have_extras_and_spaces(install: Install, target: str) -> None:
    install("acme-data", "acme_data", RECIPE, wards=target)
    assert table()["wards"].name == "wards"
    digest = extensions.source_digest("recipes", "wards")
    assert digest == digest_bytes(RECIPE.encode())


@pytest.mark.parametrize(
    "metadata", [None, b"Metadata-Version: 2.1\n", b"Name: \xff\xfe\nVersion: 1.2\n"]
)
def test_a_distribution_without_a_name_is_not_taken_for_ours(
    install: Install, tmp_path: Path, metadata: bytes | None
) -> None:
    install("acme-data", "acme_data", RECIPE, wards="acme_data:WARDS")
    path = tmp_path / "acme_data-1.2.dist-info" / "METADATA"
    path.unlink() if metadata is None else path.write_bytes(metadata)
    entry_points.forget()
    found = extensions.origin("recipes", "wards")
    assert not found.built_in
    assert str(found) == "a distribution without a name ?"
    assert table()["wards"].name == "wards"


def test_metadata_that_cannot_be_read_hides_no_other_distribution(
    install: Install, tmp_path: Path
) -> None:
    install("acme-data", "acme_data", RECIPE, wards="acme_data:WARDS")
    install("beta-data", "beta_data", RECIPE, beds="beta_data:WARDS")
    (tmp_path / "acme_data-1.2.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe[a]\nb=c:d")
    entry_points.forget()
    assert "wards" not in table()
    assert str(extensions.origin("recipes", "beds")) == "beta-data 1.2"


def test_a_named_key_takes_known_names_only(install: Install) -> None:
    install("acme-data", "acme_data", RECIPE, wards="acme_data:WARDS")

    class Keys(Frozen):
        recipe: Annotated[str, Named("recipes")]

    assert Keys(recipe="wards").recipe == "wards"
    with pytest.raises(ValidationError) as caught:
        Keys(recipe="ward")
    (fault,) = caught.value.errors()
    assert fault["type"] == "literal_error"
    assert fault["ctx"]["expected"].endswith("'bank-tickets' or 'wards'")
    known = Keys.model_json_schema()["properties"]["recipe"]["enum"]
    assert known == [*BUILTIN["recipes"], "wards"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_built_in_can_be_loaded(kind: extensions.Kind) -> None:
    for name in BUILTIN[kind]:
        value = extensions.load(kind, name)
        assert value is not None
        assert getattr(value, "name", getattr(value, "kind", name)) == name
