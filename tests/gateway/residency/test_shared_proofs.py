"""What one engine has proved is proved for its kind: others check one probe, all if it fails."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapterworks.gateway.config.tables import TrustTable
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.forms.form import Form
from adapterworks.gateway.engines.identity import _Said
from adapterworks.gateway.residency import loading
from adapterworks.gateway.residency.declared import Declared
from adapterworks.gateway.residency.loading import Loader
from adapterworks.gateway.residency.pins import Pins
from adapterworks.gateway.residency.proof import prove
from adapterworks.gateway.residency.proved import Proved
from adapterworks.gateway.residency.sharing import Sharing
from adapterworks.gateway.residency.verdict import Proof, ProofFailed
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release
from tests.gateway.residency.test_proving import RELEASE, Answering, document, moved
from tests.registry.releases import BASE, publish

KIND = {"vllm": "0.32", "plugin": "0.1", "device": "cuda H200", "dtype": "bfloat16"}


@pytest.fixture
def registry(tmp_path: Path) -> Any:
    opened = Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}", blobs=str(tmp_path / "blobs"), home=tmp_path
    )
    migrate(opened.database)
    yield opened
    opened.close()


def _fingerprint() -> bytes:
    told = document()
    clear = {**told["probes"][0], "positions": [1, 2], "base": [moved(3.0)] * 2}
    return json.dumps({**told, "probes": [*told["probes"], clear]}).encode()


async def test_what_is_known_is_asked_one_probe_the_clearest() -> None:
    form = Answering(0.01)
    engine = form.engine(1.0)
    whole = await prove(engine, cast(Form, form), RELEASE, _fingerprint())
    assert (len(form.asked), whole.note) == (3, "")
    form.asked.clear()
    short = await prove(engine, cast(Form, form), RELEASE, _fingerprint(), known=True)
    assert [probe.positions for probe in form.asked] == [(1, 2)]
    assert short.state == "proved"
    assert short.tokens < whole.tokens
    assert "proved before" in short.note


async def test_one_that_does_not_match_is_proved_whole_and_refused() -> None:
    form = Answering(0.5)
    with pytest.raises(ProofFailed):
        await prove(form.engine(1.0), cast(Form, form), RELEASE, _fingerprint(), known=True)
    assert len(form.asked) == 1 + 3


class _Form:
    async def load(self, *given: object) -> None:
        pass


async def test_only_the_first_engine_of_a_kind_proves_it_all(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = registry.release(publish(registry, tmp_path, 1, alias="prod").digest)
    asked: list[tuple[str, bool]] = []
    fails: set[str] = set()

    async def scripted(engine: Any, *given: Any, known: bool) -> Proof:
        asked.append((engine.id, known))
        if engine.id in fails:
            raise ProofFailed("it answers otherwise", hint="")
        return Proof("proved", "proved before" if known else "", 0.01, 1.0)

    monkeypatch.setattr(loading, "prove", scripted)
    monkeypatch.setattr(loading, "FORMS", {"lora": _Form()})

    def loader(**trust: Any) -> Loader:
        sharing, proved = Sharing(registry.database, "g"), Proved(registry.database)
        return Loader(registry, TrustTable(**trust), (), sharing, proved)

    def engine(id: str, kind: str | None) -> Engine:
        base = SimpleNamespace(digest=BASE.digest, kind=kind)
        options = {"forms": {"lora"}, "shared_as": None, "fetcher": None}
        return cast(Engine, SimpleNamespace(id=id, base=base, **options))

    one, other = loader(), loader()
    for gateway, name, kind in (
        (one, "a", "k1"),
        (other, "b", "k1"),  # another gateway, another engine, the same kind
        (other, "c", "k2"),
        (one, "d", None),  # it does not say what it is
        (loader(share_proofs=False), "e", "k1"),
    ):
        await gateway.load(engine(name, kind), release)
        await gateway.noted(60)
    assert asked == [("a", False), ("b", True), ("c", False), ("d", False), ("e", False)]
    fails.add("b")
    with pytest.raises(ProofFailed):
        await one.load(engine("b", "k1"), release)
    await one.load(engine("a", "k1"), release)
    assert asked[-1] == ("a", False), "what has failed once is proved anew"
    await one.noted(60)
    noted = [event.data for event in registry.log.events(release.name) if event.kind == "proof"]
    assert [data["engine"] for data in noted] == ["a"], "the log has what changes, once"


@pytest.mark.parametrize("other", [{"vllm": "0.33"}, {"device": "cuda A100"}, {"plugin": "0.2"}])
def test_a_kind_is_all_that_numbers_depend_on(other: dict[str, str]) -> None:
    said = {
        "name": "b",
        "model": "b",
        "digest": f"sha256:{'1' * 64}",
        "quantization": "none",
        "template_digest": f"sha256:{'2' * 64}",
        "exact": False,
    }

    def kind(**values: Any) -> str | None:
        return _Said.model_validate({**said, "kind": KIND, **values}).base().kind

    assert kind() == kind()
    assert kind(kind=None) is None
    assert kind(digest=f"sha256:{'3' * 64}") != kind() != kind(kind={**KIND, **other})


@pytest.mark.parametrize("count", [3, 30])
def test_records_are_read_once_for_all_gateways(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    for number in range(count):
        publish(registry, tmp_path, number, name=f"a{number}", alias="prod")
    read: list[str] = []
    whole = Registry.release

    def release(self: Registry, digest: str) -> Release:
        read.append(digest)
        return whole(self, digest)

    monkeypatch.setattr(Registry, "release", release)
    assert Pins(registry, ()).read() == {}
    assert len(read) == count
    read.clear()
    assert Pins(registry, ()).read() == {}
    assert read == [], "another gateway reads them again"
    new = publish(registry, tmp_path, 99, name="new", alias="prod")
    Declared(registry.database).note({new.digest: True})
    assert list(Pins(registry, ()).read()) == [new.digest]
    assert read == [new.digest]
