"""What a build uses that does not come with adapterworks: the code that its result depends on.

Invariant: a pin names a distribution and its version, or a file beside the manifest by its name
alone, and the digest of the source; never a folder of this machine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from adapterworks.manifests.builtin import Kind
from adapterworks.manifests.extensions import origin, source_digest
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.naming import named_entries


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of a table that an installed distribution or a user's file adds.

    Attributes:
        table: the kind: `metrics`, `data_gates`, ….
        name: as the manifest says it.
        digest: `sha256:…` of the module's or the user's file.
        distribution, version: where it is installed from.
        file: the user's file, by its name.
    """

    table: Kind
    name: str
    digest: str
    distribution: str | None = None
    version: str | None = None
    file: str | None = None

    def to_json(self) -> dict[str, str]:
        """As JSON values, without what it has not."""
        return {key: str(value) for key, value in asdict(self).items() if value is not None}


def pins(manifest: Manifest) -> tuple[Pin, ...]:
    """The pins of all that a manifest names and adapterworks does not bring, sorted.

    Raises:
        InvalidInput, Refused: something of it cannot be had here.
    """
    found = []
    for kind, name in named_entries(manifest):
        source = origin(kind, name)
        if not source.built_in:
            digest = source_digest(kind, name)
            version = None if source.distribution is None else source.version
            found.append(Pin(kind, str(name), digest, source.distribution, version, source.file))
    return tuple(found)
