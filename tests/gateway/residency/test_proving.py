"""Proving by fingerprint, at each limit: what passes, what is refused, and what is asked for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import inf, log, nan
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapterworks.gateway.engines.engine import Engine, Probe, Scores
from adapterworks.gateway.engines.forms.form import Form
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.residency import proof as module
from adapterworks.gateway.residency.proof import prove
from adapterworks.gateway.residency.verdict import Proof, ProofFailed
from adapterworks.registry.releases.release import Release
from tests.registry.releases import BASE, draft

RELEASE = Release.from_draft(draft(), {})
ADAPTER = [[1, log(0.75)], [2, log(0.25)]]


def moved(by: float) -> list[list[float]]:
    """Both tokens moved by so many nats: that far in divergence as well."""
    return [[1, log(0.75) + by], [2, log(0.25) - by]]


class Answering:
    """A form and an engine that answer with the adapter's numbers moved by `off`."""

    def __init__(self, off: float, *, exact: bool = True, off_base: float = 0.0) -> None:
        self.base = ServedBase("b", "engine-model", BASE.digest, "none", "sha256:t", exact)
        self.asked: list[Probe] = []
        self.salts: set[str] = set()
        self.base_fields: list[Any] = []
        self._off, self._off_base = off, off_base

    async def score(
        self,
        engine: Engine,
        digest: str,
        servable: object,
        probes: Sequence[Probe],
        salt: str,
    ) -> tuple[list[Scores], int]:
        assert digest == RELEASE.digest
        assert servable is RELEASE.servable
        self.salts.add(salt)
        self.asked += probes
        return _each(probes, self._off), 4 * len(probes)

    def engine(self, separation: float) -> Engine:
        async def score(fields: Any, probes: Sequence[Probe]) -> tuple[list[Scores], int]:
            self.base_fields.append(fields)
            return _each(probes, separation + self._off_base), len(probes)

        return cast(Engine, SimpleNamespace(base=self.base, score=score, inflight=0))


def _each(probes: Sequence[Probe], off: float) -> list[Scores]:
    """The same scores at every position."""
    scores = {int(token): logprob for token, logprob in moved(off)}
    return [scores for probe in probes for _ in probe.positions]


def document(separation: float = 1.0, **fields: Any) -> dict[str, Any]:
    probe = {
        "kind": "general",
        "token_ids": [5, 6, 7, 8],
        "positions": [1, 3],
        "adapter": [ADAPTER] * 2,
        "base": [moved(separation)] * 2,
    }
    return {
        "schema_version": 1,
        "base_digest": BASE.digest,
        "template_digest": "sha256:t",
        "probes": [probe, {**probe, "positions": [2, 3]}],
        **fields,
    }


async def proved(form: Answering, separation: float = 1.0, **fields: Any) -> Proof:
    fingerprint = json.dumps(document(separation, **fields)).encode()
    return await prove(form.engine(separation), cast(Form, form), RELEASE, fingerprint)


async def test_a_proof_says_what_it_measured_and_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.25])
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    form = Answering(0.01)
    proof = await proved(form)
    assert proof.state == "proved"
    assert proof.divergence == pytest.approx(0.01)
    assert proof.separation == pytest.approx(1.0)
    assert proof.tokens == 8
    assert proof.milliseconds == 250.0
    assert form.asked == [Probe((5, 6, 7, 8), (1, 3)), Probe((5, 6, 7, 8), (2, 3))]
    assert form.base_fields == []  # the base is asked only to say what is wrong
    assert form.salts == {"fingerprint"}  # no tenant's cache is looked into


@pytest.mark.parametrize(
    ("off", "separation", "exact", "passes"),
    [
        (0.0199, 1.0, True, True),
        (0.0201, 1.0, True, False),  # more than float32 explains
        (0.0201, 1.0, False, True),
        (0.0999, 1.0, False, True),
        (0.1001, 1.0, False, False),  # more than a tenth of the way to the base
        (0.1499, 9.0, False, True),
        (0.1501, 9.0, False, False),  # more than 16 bits explain
        (-0.0199, 1.0, True, True),
        (-0.0201, 1.0, True, False),
        (0.0, 0.0021, True, True),
        (0.0, 0.0019, True, False),  # not told from its base
        (0.00020, 0.0021, True, True),
        (0.00022, 0.0021, True, False),
    ],
)
async def test_each_limit_decides(off: float, separation: float, exact: bool, passes: bool) -> None:
    form = Answering(off, exact=exact)
    if passes:
        assert (await proved(form, separation)).state == "proved"
        return
    with pytest.raises(ProofFailed) as caught:
        await proved(form, separation)
    assert caught.value.measured is not None
    assert caught.value.measured.divergence == pytest.approx(abs(off))
    assert {fields["model"] for fields in form.base_fields} == {"engine-model"}
    assert {fields["cache_salt"] for fields in form.base_fields} == {"fingerprint"}


async def test_an_adapter_that_is_its_base_is_not_blamed_for_anything_else() -> None:
    """A thousandth of a nat: no engine could show whether it is applied."""
    for off in (0.0, 0.001, 0.3):
        with pytest.raises(ProofFailed, match="cannot be told from its base"):
            await proved(Answering(off, off_base=0.3), 0.001)


async def test_a_wrong_base_is_told_from_a_wrong_adapter() -> None:
    with pytest.raises(ProofFailed, match="the engine's base is not the one it was built on"):
        await proved(Answering(0.3, off_base=0.3))
    with pytest.raises(ProofFailed, match="does nothing in the engine"):
        await proved(Answering(1.0))


async def test_without_a_fingerprint_nothing_is_proved() -> None:
    form = Answering(0.0)
    with pytest.raises(ProofFailed, match="has no fingerprint"):
        await prove(form.engine(1.0), cast(Form, form), RELEASE, None)
    assert form.asked == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"base_digest": f"sha256:{'c' * 64}"}, "was built on base sha256:cccc"),
        ({"template_digest": "sha256:u"}, "was built with another chat template"),
        ({"schema_version": 2}, "is not in its format"),
        ({"probes": []}, "is not in its format"),
        ({"probes": None}, "is not in its format"),
    ],
)
async def test_a_fingerprint_of_something_else_is_refused_before_anything_is_asked(
    fields: dict[str, Any], words: str
) -> None:
    form = Answering(0.0)
    with pytest.raises(ProofFailed, match=words):
        await proved(form, **fields)
    assert form.asked == []


@pytest.mark.parametrize(
    "change",
    [
        {"positions": []},
        {"positions": [0, 3]},  # nothing comes before it
        {"positions": [1, 4]},  # beyond the text
        {"positions": [1, 2, 3]},  # more than there are answers
        {"adapter": [ADAPTER, []]},
        {"base": [[], ADAPTER]},
        {"base": [ADAPTER]},
        {"adapter": [ADAPTER]},
        {"token_ids": None},
        {"positions": [1, inf]},
        {"adapter": [ADAPTER, [[1, nan], [2, -1.0]]]},
        {"base": [ADAPTER, [[1, -inf], [2, -1.0]]]},
        {"base": [ADAPTER, [[inf, -1.0], [2, -1.0]]]},
    ],
)
async def test_a_malformed_probe_never_passes(change: dict[str, Any]) -> None:
    probes = document()["probes"]
    form = Answering(0.0)
    with pytest.raises(ProofFailed, match="is not in its format"):
        await proved(form, probes=[probes[0], {**probes[1], **change}])
    assert form.asked == []


@pytest.mark.parametrize("text", [b"{", b"[" * 9000 + b"]" * 9000], ids=["half", "deep"])
async def test_text_that_is_no_json_never_passes(text: bytes) -> None:
    form = Answering(0.0)
    with pytest.raises(ProofFailed, match="is not in its format"):
        await prove(form.engine(1.0), cast(Form, form), RELEASE, text)


@pytest.mark.parametrize("wild", [1000.0, -1000.0, 1e308])
async def test_numbers_that_are_no_log_probabilities_are_refused_as_any_other(wild: float) -> None:
    """Of a stranger: no power of them overflows, and their shares sum to one."""
    probes = document()["probes"]
    wrong = {**probes[1], "adapter": [[[1, wild]]] * 2}
    with pytest.raises(ProofFailed):
        await proved(Answering(0.0), probes=[probes[0], wrong])


async def test_a_remote_engine_of_unknown_template_is_asked_all_the_same() -> None:
    form = Answering(0.0)
    form.base = ServedBase("b", "engine-model", BASE.digest)
    assert (await proved(form, template_digest="sha256:u")).state == "proved"
