"""What of a new configuration a running gateway can take, and what needs a new process.

Invariant: what is not taken stays as it was, and is named; half a configuration is never taken.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapterworks.gateway.config.tables import GatewayConfig

# What is looked at anew each time that it is used, or can be exchanged while requests go on.
_WHOLE = ("limits", "shadow", "webhooks", "default_adapter", "log")
_OF_TABLES = {"residency": ("pins",)}


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of a new configuration.

    Attributes:
        config: the old one with all of the new one that can be taken.
        taken: what changed, by key.
        left: what differs and needs a restart, by key.
    """

    config: GatewayConfig
    taken: tuple[str, ...]
    left: tuple[str, ...]


def take(old: GatewayConfig, new: GatewayConfig) -> Reloaded:
    """The old configuration with what can be taken from the new one."""
    taken: dict[str, object] = {}
    changed: list[str] = []
    left: list[str] = []
    for name in GatewayConfig.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if name in _WHOLE:
            taken[name] = after
            changed.append(name)
            continue
        if name not in _OF_TABLES:
            left.append(name)
            continue
        keys = [k for k in type(before).model_fields if getattr(before, k) != getattr(after, k)]
        may = [key for key in keys if key in _OF_TABLES[name]]
        taken[name] = before.model_copy(update={key: getattr(after, key) for key in may})
        changed += [f"{name}.{key}" for key in may]
        left += [f"{name}.{key}" for key in keys if key not in may]
    return Reloaded(old.model_copy(update=taken), tuple(changed), tuple(left))
