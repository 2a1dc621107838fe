"""The scenes of the pages: a base of two layers and stand-in engines, or as a reader has them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest

from adapterworks.registry.bases.store import BaseStore
from tests.docs.blocks import ROOT
from tests.docs.scene import Scene, environment
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Loop, serve
from tests.hub_standin import Account, HubStandin
from tests.registry.remotes.hub.machine import OWNER
from tests.small_base import MODEL, WHOLE_BASES, bases, either_bases
from tests.warm.python import warm_python

__all__ = ["bases", "either_bases"]


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """The stand-in Hub's URL; `org` belongs to the token's account."""
    with HubStandin({OWNER: Account("org")}) as standin:
        yield standin.url


@pytest.fixture(scope="module")
def engines(either_bases: BaseStore) -> Iterator[dict[str, str]]:
    """Variables that name stand-in engines of the small base; none for the whole one: vLLM starts.

    tests/cli/test_readme.py has vLLM on the small base.
    """
    if either_bases.root == WHOLE_BASES:
        yield {}
        return
    loop = Loop()
    served = {kind: loop.run(serve(StandIn(MODEL).app())) for kind in ("none", "nf4")}
    tables = ", ".join(
        f'{{url = "{one.url}", base = "{MODEL}", quantization = "{kind}"}}'
        for kind, one in served.items()
    )
    yield {
        "ADAPTERS_GATEWAY_ENGINES": f"[{tables}]",
        "ADAPTERS_GATEWAY_TRUST__PROOF": "off",  # a stand-in's numbers are not a model's
    }
    for one in served.values():
        loop.run(one.stop())
    loop.close()


@pytest.fixture(scope="module")
def scene(
    either_bases: BaseStore,
    engines: dict[str, str],
    hub: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """One home for all pages of a module, with the files that the tutorials begin with."""
    whole = either_bases.root == WHOLE_BASES
    either_bases.ensure(MODEL, quantization="nf4")
    folder, home = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("home")
    shutil.copy(ROOT / "docs" / "tutorials" / "tickets.csv", folder)
    variables = {
        **engines,
        "ADAPTERS_BASES": str(either_bases.root),
        "HF_ENDPOINT": hub,
        "HF_TOKEN": OWNER,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "ADAPTERS_GATEWAY_RESIDENCY__COLD_WAIT_SECONDS": "600",  # loading, on a busy machine
    }
    python = sys.executable if whole else warm_python()
    made = Scene(folder, environment(home, python, **variables), quick=not whole)
    yield made
    made.close()
