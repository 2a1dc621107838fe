"""What a configuration may not say at once, though each part of it is valid.

Invariant: it is asked of the whole: file, environment and command line together.
"""

from __future__ import annotations

from adapterworks.gateway.config.engines import RemoteEngine
from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.manifests.faults import Fault, ManifestError
from adapterworks.manifests.hosts import is_loopback

KeyPath = tuple[str | int, ...]


def impossible(config: GatewayConfig) -> list[tuple[KeyPath, str, str]]:
    """Combinations that are individually valid but jointly impossible: path, message, hint."""
    found: list[tuple[KeyPath, str, str]] = []
    if not config.engines:
        found.append((("engines",), "is empty", "add an `[[engines]]` table or leave it out"))
    if config.open and not is_loopback(config.host):
        found.append(
            (
                ("open",),
                f"`open = true` would let anyone who reaches `{config.host}` in without a key",
                "set `host` to `127.0.0.1`, or add tenants with `adapters tenant add`",
            )
        )
    if config.trust.require_signature and not config.trust.public_keys:
        found.append(
            (
                ("trust", "require_signature"),
                "signatures are required but no key is trusted",
                "name the signers' public keys in `trust.public_keys`",
            )
        )
    if config.residency.max_cpu_loras < config.residency.max_loras:
        found.append(
            (
                ("residency", "max_cpu_loras"),
                f"is below `max_loras` ({config.residency.max_loras}): the engine refuses that",
                "set it to `max_loras` or more",
            )
        )
    if len(config.residency.pins) >= config.residency.max_cpu_loras:
        found.append(
            (
                ("residency", "pins"),
                f"{len(config.residency.pins)} pins leave no room for any other adapter "
                f"(`max_cpu_loras` is {config.residency.max_cpu_loras})",
                "pin fewer adapters or raise `max_cpu_loras`",
            )
        )
    for key in ("health_route", "predict_route"):
        if getattr(config.http, key) is not None and config.http.container != "vertex":
            meant = "set `container` to `vertex`, or leave it out"
            found.append((("http", key), "is a path of Vertex AI's contract", meant))
    if config.http.container_key_env is not None and config.http.container is None:
        meant = "set `container` to `sagemaker` or `vertex`, or leave it out"
        found.append((("http", "container_key_env"), "is of no platform", meant))
    urls = [_same(engine.url) for engine in config.engines if isinstance(engine, RemoteEngine)]
    for index, engine in enumerate(config.engines):
        if isinstance(engine, RemoteEngine) and urls.count(_same(engine.url)) > 1:
            found.append(
                (
                    ("engines", index, "url"),
                    f"`{engine.url}` is listed twice",
                    "list each engine once",
                )
            )
    return found


def _same(url: str) -> str:
    """An address without what does not matter."""
    return url.rstrip("/").lower()


def require_possible(config: GatewayConfig) -> None:
    """Refuse a configuration that a program put together, as one of a file is.

    Raises:
        ManifestError: there are faults; all of them are in `.faults`.
    """
    what = "the configuration"
    found = [Fault(what, None, dotted(path), text, hint) for path, text, hint in impossible(config)]
    if found:
        raise ManifestError(what, found)


def dotted(path: KeyPath) -> str:
    """A key's path as it is written: `engines[0].url`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
