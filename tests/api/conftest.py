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
def surroundings(either_bases: BaseStore, engine_url: str) -> Mapping[str, str]:
    """The environment in which a page is run: a stand-in serves a small base, or vLLM the whole."""
    where = {"ADAPTERS_BASES": str(either_bases.root)}
    if either_bases.root == WHOLE_BASES:
        return where
    quantizations = ("none", "nf4")  # what the pages' manifests ask for
    engine = f'url = "{engine_url}", base = "{MODEL}", quantization = '
    engines = ", ".join(f'{{{engine}"{quantization}"}}' for quantization in quantizations)
    return {
        **where,
        "ADAPTERS_GATEWAY_ENGINES": f"[{engines}]",
        "ADAPTERS_GATEWAY_TRUST__PROOF": "off",  # a stand-in's numbers are not a model's
    }
