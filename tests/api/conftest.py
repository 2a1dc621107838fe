"""On a base of two layers with a stand-in engine; the pages are also run as a user runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from adapterworks.registry.bases.store import BaseStore
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Loop, serve
from tests.small_base import MODEL, WHOLE_BASES, base, bases, either_bases, nf4_base

__all__ = ["base", "bases", "either_bases", "nf4_base"]


@pytest.fixture(scope="module")
def engine_url() -> Iterator[str]:
    """The URL of a stand-in engine."""
    loop = Loop()
    served = loop.run(serve(StandIn(MODEL).app()))
    yield served.url
    loop.run(served.stop())
    loop.close()


@pytest.fixture
def surroundings(either_bases: BaseStore) -> Iterator[Mapping[str, str]]:
    """The environment in which a page is run: vLLM serves the whole base, or stand-ins a small."""
    where = {"ADAPTERS_BASES": str(either_bases.root)}
    if either_bases.root == WHOLE_BASES:
        yield where
        return
    loop = Loop()
    served = {
        quantization: loop.run(serve(StandIn(MODEL).app()))
        for quantization in ("none", "nf4")  # what the pages' manifests ask for
    }
    engines = ", ".join(
        f'{{url = "{one.url}", base = "{MODEL}", quantization = "{quantization}"}}'
        for quantization, one in served.items()
    )
    yield {
        **where,
        "ADAPTERS_GATEWAY_ENGINES": f"[{engines}]",
        "ADAPTERS_GATEWAY_TRUST__PROOF": "off",  # a stand-in's numbers are not a model's
    }
    for one in served.values():
        loop.run(one.stop())
    loop.close()
