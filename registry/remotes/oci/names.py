"""Names in OCI registries, parsed once.

source     = "oci://" host [":" port] "/" repository [":" tag] ["@" digest]
repository = component *("/" component)     lower case, as the distribution specification says
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.hosts import is_loopback

SCHEME = "oci://"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9a-fA-F:]{2,39}\])(?::[0-9]{1,5})?"
)
_SOURCE = re.compile(
    rf"oci://(?P<host>{_HOST})/(?P<repo>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_MOST = 255  # characters of a repository


@dataclass(frozen=True, slots=True)
class OciName:
    """A repository in a registry, and what of it is meant, if that was said."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine."""
        return is_loopback(re.sub(r":[0-9]+$", "", self.host).strip("[]"))

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{SCHEME}{self.host}/{self.repository}{tag}{digest}"


def parse_oci(text: str) -> OciName:
    """Parse `oci://host/org/name:tag`.

    Raises:
        InvalidInput: the text does not follow the grammar above.
    """
    match = _SOURCE.fullmatch(text)
    if match is None or len(match["repo"]) > _MOST:
        raise InvalidInput(
            f"`{text[:200]}` is not a repository of an OCI registry",
            hint="write `oci://host/org/name:tag`; repositories are in lower case",
        )
    return OciName(match["host"], match["repo"], match["tag"], match["digest"])
