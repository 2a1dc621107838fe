"""A pushed release at a manifest of an OCI repository."""

from __future__ import annotations

from pathlib import Path

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import IntegrityError, Refused
from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.remotes.absent import MAX_ABSENT, parse_absent
from adapterworks.registry.remotes.oci import media
from adapterworks.registry.remotes.oci.client import Client, require_manifest
from adapterworks.registry.remotes.oci.manifest import Descriptor, parse_manifest
from adapterworks.registry.remotes.oci.names import OciName
from adapterworks.registry.remotes.oci.referrers import fetch_signatures
from adapterworks.registry.remotes.record import MAX_RECORD, parse_record

DEFAULT_TAG = "latest"


class OciRelease:
    """The release that `name` means; see `adapterworks.registry.remotes.held.Held`.

    Args:
        scratch: a folder for downloads.

    Raises:
        NotFound: no such repository or tag, or no right to see it.
        Refused: it holds something else.
        IntegrityError: not a record, or not the one that the manifest names.
    """

    def __init__(self, client: Client, name: OciName, scratch: Path) -> None:
        reference = name.digest or name.tag or DEFAULT_TAG
        self.revision, data = require_manifest(client, reference)
        self.where = str(OciName(name.host, name.repository, digest=self.revision))
        self.source = self.where
        self.endpoint, self.repository = client.endpoint, name.repository
        self._client, self._scratch = client, scratch
        manifest = parse_manifest(data, self.where)
        if manifest.artifactType != media.RELEASE or manifest.config.media_type != media.RECORD:
            raise Refused(
                f"`{self.where}` was not pushed by adapterworks: it holds "
                f"`{manifest.artifactType or manifest.config.media_type}`",
                hint="an adapter of somebody's files is imported from a folder: adapters import",
            )
        record = self._read(manifest.config, MAX_RECORD)
        self.release = parse_record(record, self.where)
        self._sizes = {layer.digest: layer.size for layer in manifest.layers}
        self._absent = [x for x in manifest.layers if x.media_type == media.ABSENT]

    def stated(self) -> dict[str, str]:
        """See `Held.stated`."""
        if not self._absent:
            return {}
        return parse_absent(self._read(self._absent[0], MAX_ABSENT), self.release, self.where)

    def signatures(self) -> dict[str, str]:
        """See `Held.signatures`."""
        return fetch_signatures(self._client, self.revision, self._scratch)

    def size(self, digest: str) -> int | None:
        """See `Held.size`."""
        return self._sizes.get(digest)

    def fetch(self, digest: str, target: Path) -> None:
        """See `Held.fetch`; `PATH.part` has the bytes that came before it was cut off."""
        part = target.with_suffix(".part")
        self._client.fetch(digest, part, limit=self._sizes[digest])
        part.rename(target)

    def _read(self, entry: Descriptor, limit: int) -> bytes:
        if entry.size > limit:
            raise IntegrityError(f"`{self.where}`: {entry.size} bytes, {limit} are the limit")
        with scratch_folder(self._scratch, "read") as folder:
            self._client.fetch(entry.digest, folder / "blob", limit=entry.size)
            data = (folder / "blob").read_bytes()
        if digest_bytes(data) != entry.digest:
            raise IntegrityError(f"`{self.where}` sends other bytes than {entry.digest}")
        return data
