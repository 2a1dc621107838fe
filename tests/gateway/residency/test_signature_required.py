"""`trust.require_signature`: what no trusted key signed never reaches the engine."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher
from tests.registry.keys import make_key
from tests.registry.releases import publish

HELLO = [{"role": "user", "content": "hello"}]


def test_unsigned_releases_are_refused_before_they_are_loaded(
    launcher: Launcher, registry: Registry, standin: StandIn, base: Base, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path, "ours")
    stranger, _ = make_key(tmp_path, "theirs")
    signed, unsigned, foreign = (
        publish(registry, tmp_path, number, name="a", base=base.identity) for number in (1, 2, 3)
    )
    registry.signatures.sign(signed.digest, private, who="ann")
    registry.signatures.sign(foreign.digest, stranger, who="eve")
    trust = TrustTable(proof="off", require_signature=True, public_keys=(str(public),))
    running = launcher.gateway(
        registry,
        [launcher.standin(base, standin)],
        tmp_path / "spool",
        GatewayConfig(open=True, trust=trust),
    )
    running.wait_ready()
    ask = running.client().chat.completions.create
    for version in (unsigned.version, foreign.version):
        with pytest.raises(openai.UnprocessableEntityError, match="none of the trusted keys"):
            ask(model=f"a@{version}", messages=HELLO, max_tokens=1)
    assert standin.loads == []
    assert ask(model=f"a@{signed.version}", messages=HELLO, max_tokens=1).choices
    assert standin.loads == [signed.digest]
