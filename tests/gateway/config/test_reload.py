"""What a running gateway takes of a new configuration, and what it leaves and names."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.gateway.config.reload import take
from adapterworks.gateway.config.tables import GatewayConfig

OLD: dict[str, Any] = {"port": 9000, "residency": {"pins": ["medical"], "max_loras": 4}}


def config(**tables: Any) -> GatewayConfig:
    return GatewayConfig.model_validate({**OLD, **tables}, strict=False)


def test_what_is_the_same_changes_nothing() -> None:
    found = take(config(), config())
    assert (found.config, found.taken, found.left) == (config(), (), ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limits", {"rpm": 7}),
        ("shadow", [{"adapter": "medical", "to": "medical@2"}]),
        ("webhooks", [{"name": "ci", "url": "https://ci.example", "secret_env": "S"}]),
        ("default_adapter", "medical"),
        ("log", {"level": "debug"}),
    ],
)
def test_a_table_is_taken_whole(name: str, value: Any) -> None:
    new = config(**{name: value})
    found = take(config(), new)
    assert (found.taken, found.left) == ((name,), ())
    assert getattr(found.config, name) == getattr(new, name)


def test_of_a_table_that_needs_a_restart_what_does_not_is_taken() -> None:
    new = config(residency={"pins": ["code"], "max_loras": 8}, port=9001, trust={"proof": "off"})
    found = take(config(), new)
    assert found.taken == ("residency.pins",)
    assert sorted(found.left) == ["port", "residency.max_loras", "trust"]
    assert found.config.residency.pins == ("code",)
    assert found.config.residency.max_loras == 4
    assert (found.config.port, found.config.trust.proof) == (9000, "require")


def test_a_fault_of_security_is_never_taken_by_the_way() -> None:
    """Who gets in, and what is proved, is what the process was started with."""
    found = take(config(), config(open=True, trust={"proof": "off"}, host="0.0.0.0"))
    assert found.config == config()
    assert sorted(found.left) == ["host", "open", "trust"]
