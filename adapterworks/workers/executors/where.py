"""`--on`, parsed once: `local`, `slurm`, `slurm:PARTITION`, `ray://HOST:PORT`, `k8s:NAMESPACE`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from adapterworks.manifests.errors import InvalidInput

Kind = Literal["local", "slurm", "ray", "k8s"]
_PARTITION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# A host name, an IPv4 address or an IPv6 one in brackets, and the port of Ray's dashboard.
_ADDRESS = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Where:
    """A place.

    Attributes:
        name: a partition (empty for the place's own default), Ray's `HOST:PORT`, or a namespace.
    """

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        """As it is written."""
        if self.kind == "ray":
            return f"ray://{self.name}"
        return f"{self.kind}:{self.name}" if self.name else self.kind


def parse_where(text: str) -> Where:
    """Read `--on`.

    Raises:
        InvalidInput: it is none of the kinds.
    """
    kind, colon, name = text.partition(":")
    if text == "local":
        return Where("local")
    if kind == "slurm" and (not colon or _PARTITION.fullmatch(name)):
        return Where("slurm", name)
    if kind == "k8s" and _NAMESPACE.fullmatch(name):
        return Where("k8s", name)
    if kind == "ray" and name.startswith("//"):
        address = _ADDRESS.fullmatch(name.removeprefix("//"))
        if address is not None and 0 < int(address[1]) < 65536:
            return Where("ray", name.removeprefix("//"))
    raise InvalidInput(
        f"`{text}` is no place to build on",
        hint="local, slurm, slurm:PARTITION, k8s:NAMESPACE, or ray://HOST:8265 (Ray's dashboard)",
    )
