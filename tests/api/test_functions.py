"""The functions of the API that need no training: what they open, close, refuse and tell."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

import adapterworks
from adapterworks.extras import MODULES
from adapterworks.manifests.installing import install
from adapterworks.progress import Lines
from tests.registry.releases import publish


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[adapterworks.Registry]:
    """The registries that were closed, in order."""
    seen: list[adapterworks.Registry] = []
    close = adapterworks.Registry.close

    def note(registry: adapterworks.Registry) -> None:
        seen.append(registry)
        close(registry)

    monkeypatch.setattr(adapterworks.Registry, "close", note)
    return seen


def test_a_registry_is_closed_by_its_block(
    home: Path, tmp_path: Path, closed: list[adapterworks.Registry]
) -> None:
    with adapterworks.open_registry() as registry:
        publish(registry, tmp_path, 1, alias="prod")
        assert closed == []
    assert closed == [registry]
    assert str(adapterworks.resolve("medical:prod")) == "medical@1"
    assert len(closed) == 2  # and by the function that opened one for itself


def test_a_plan_closes_the_registry_that_it_opened(
    home: Path, monkeypatch: pytest.MonkeyPatch, closed: list[adapterworks.Registry]
) -> None:
    def prepare(*_: object, registry: adapterworks.Registry, **__: object) -> object:
        assert closed == []
        return SimpleNamespace(plan="the plan")

    monkeypatch.setattr("adapterworks.builders.building.prepare.prepare", prepare)
    assert adapterworks.plan("medical", say=None) == "the plan"
    assert len(closed) == 1


def test_settings_say_where_without_the_environment(home: Path, tmp_path: Path) -> None:
    elsewhere = adapterworks.Settings.from_environment({"ADAPTERS_HOME": str(tmp_path / "other")})
    with adapterworks.open_registry(elsewhere) as registry:
        publish(registry, tmp_path, 1, alias="prod")
    assert adapterworks.resolve("medical", settings=elsewhere).version == 1
    with pytest.raises(adapterworks.NotFound, match="there is no adapter `medical`") as caught:
        adapterworks.resolve("medical")
    # A notebook shows the traceback and no more: it has the hint.
    assert caught.value.__notes__ == [f"hint: {caught.value.hint}"]


@pytest.mark.parametrize("how", [{"profile": "quick"}, {"overrides": ["train.epochs=1"]}])
@pytest.mark.parametrize("function", [adapterworks.plan, adapterworks.build])
def test_nothing_is_laid_over_a_manifest_that_was_loaded(
    home: Path, function: object, how: dict[str, object]
) -> None:
    manifest = adapterworks.load_manifest("medical")
    with pytest.raises(adapterworks.InvalidInput, match="laid over a manifest when it is loaded"):
        function(manifest, **how)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("function", "given", "extra"),
    [
        (adapterworks.plan, "medical", "build"),
        (adapterworks.build, "medical", "build"),
        (adapterworks.evaluate, "medical", "build"),
        (adapterworks.serve, None, "serve"),
    ],
)
def test_a_missing_extra_is_named_before_anything_is_opened(
    home: Path, monkeypatch: pytest.MonkeyPatch, function: object, given: object, extra: str
) -> None:
    monkeypatch.setitem(MODULES, extra, ("no_such_module",))
    with pytest.raises(adapterworks.MissingExtra) as caught:
        function(given)  # type: ignore[operator]
    assert caught.value.hint == install(extra)
    assert not home.exists()


def test_what_takes_long_is_printed_unless_it_is_told_elsewhere() -> None:
    for name in ("plan", "build", "evaluate", "serve"):
        say = inspect.signature(getattr(adapterworks, name)).parameters["say"]
        assert say.default is print, name


def test_a_build_is_told_in_few_lines() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    lines({"event": "stage", "name": "train", "state": "begin"})
    step = {"event": "step", "steps": 50, "loss": 1.5, "tokens_per_second": 9, "seconds_left": 61}
    for number in range(1, 51):
        lines({**step, "step": number})
    lines({"event": "validation", "step": 50, "loss": 1.25, "best": True})
    lines({"event": "stage", "name": "train", "state": "end"})
    lines.evaluating("base", 8, 8)
    assert said == [
        "stage train",
        "step 1/50  loss 1.5000  9 tokens/s  1 min 01 s left",
        "step 50/50  loss 1.5000  9 tokens/s  1 min 01 s left",
        "step 50: validation loss 1.2500  best so far",
        "evaluating base 8/8",
    ]


@pytest.mark.parametrize("name", [name for name in adapterworks.__all__ if name[0].islower()])
def test_docstrings_say_what_is_raised_and_what_is_given(name: str) -> None:
    """Google style: every parameter stands under `Args`, where there are several."""
    function = getattr(adapterworks, name)
    text = inspect.getdoc(function) or ""
    assert "\nRaises:\n" in text
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) > 2:
        for parameter in parameters:
            assert f"\n    {parameter}: " in text, parameter
