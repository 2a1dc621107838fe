"""What `discover` can say, parsed once: `file:PATH`, `dns:NAME:PORT`, `k8s:SERVICE`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HELP = (
    "should be `file:PATH`, `dns:NAME:PORT`, `dns:_SERVICE._tcp.NAME` or "
    "`k8s:[NAMESPACE/]SERVICE[:PORT]`"
)


@dataclass(frozen=True, slots=True)
class InFile:
    """A TOML file with `urls = […]`, read again when it changes."""

    path: Path


@dataclass(frozen=True, slots=True)
class InDns:
    """Every address of a name; without a port the targets of an SRV record."""

    name: str
    port: int | None


@dataclass(frozen=True, slots=True)
class InKubernetes:
    """The ready endpoints of a service; of the gateway's own namespace if none is named."""

    namespace: str | None
    service: str
    port: str | None


Place = InFile | InDns | InKubernetes


def parse_place(text: str) -> Place:
    """Read `discover`.

    Raises:
        ValueError: it says none of the kinds, with what it should be.
    """
    kind, _, rest = text.partition(":")
    if kind == "file" and rest:
        return InFile(Path(rest))
    if kind == "dns":
        name, _, port = rest.partition(":")
        if name.startswith("_") and not port and _are_labels(name):
            return InDns(name, None)
        if port.isdecimal() and 0 < int(port) < 65536 and _are_labels(name):
            return InDns(name, int(port))
    if kind == "k8s":
        where, _, port = rest.partition(":")
        namespace, slash, service = where.rpartition("/")
        names = [service, *([namespace] if slash else []), *([port] if ":" in rest else [])]
        if all(_LABEL.fullmatch(name) for name in names):
            return InKubernetes(namespace or None, service, port or None)
    raise ValueError(f"{_HELP}, not `{text}`")


def _are_labels(name: str) -> bool:
    labels = name.rstrip(".").split(".")
    return len(name) <= 253 and all(_NAME.fullmatch(label) for label in labels)
