"""Verifying one release of a registry over HTTP: every byte is fetched and hashed here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapterworks.manifests.errors import Refused
from adapterworks.registry.blobs.store import CorruptBlob, MissingBlob
from adapterworks.registry.catalog import Catalog
from adapterworks.registry.facets.signatures import Signatures
from adapterworks.registry.lifecycle.verify import Absent, Kind, Problem, VerifyReport
from adapterworks.registry.releases.absence import Presence, judge
from adapterworks.registry.releases.types import Resolved

_PROBLEMS: dict[str, Kind] = {
    "missing": "missing",
    "corrupt": "corrupt",
    "unerased": "unerased",
}


def verify(
    catalog: Catalog, signatures: Signatures, of: Resolved, public_keys: Sequence[Path]
) -> VerifyReport:
    """See `Upkeep.verify`; whether the index says the same is seen where it is."""
    release, known = catalog.release(of.digest), catalog.absences(of.digest)
    report = VerifyReport(releases=1, blobs=1, bytes=len(release.to_bytes()))
    for path, entry in sorted(release.files.items()):
        presence: Presence = "right"
        message = f"`{path}` is not there"
        try:
            report.bytes += sum(len(chunk) for chunk in catalog.blobs.get(entry.digest))
            report.blobs += 1
        except MissingBlob:
            presence = "absent"
        except CorruptBlob as error:
            presence, message = "wrong", error.message
        absence = known.get(path)
        state = judge(path, presence, absence)
        if state in _PROBLEMS:
            report.problems.append(Problem(_PROBLEMS[state], str(of), path, message))
        elif state != "here" and absence is not None:
            said = (absence.at, absence.who, absence.why)
            report.absent.append(Absent(str(of), path, state, *said))
    if public_keys:
        try:
            signatures.require(of.digest, public_keys)
        except Refused as error:
            report.problems.append(Problem("signature", str(of), None, error.message))
    return report
