"""What leaves with a release that goes to another place, and what stays; one rule for all of them.

A push leaves out: files that the record withholds; those whose bytes are not here; those that the
caller names; and those that tell of rows or local files, unless they are named (`private.py`). What
is left out is said there (`absent.py`).

Invariants: no weights are left out; a twin of a file that is left out does not carry its bytes
along; a record that tells of the machine it was built on leaves only when it is named.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.errors import IntegrityError, InvalidInput, Refused
from adapterworks.registry.imports.release import check_named
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.absence import Absence
from adapterworks.registry.releases.release import ADAPTER, FULL, SERVABLE, Release
from adapterworks.registry.releases.roles import check_withheld, matching
from adapterworks.registry.releases.types import Resolved
from adapterworks.registry.remotes.held import Held
from adapterworks.registry.remotes.private import local_text, private_files
from adapterworks.registry.remotes.staging import staged

# As `--include` names the record; the path that it has in a repository of the Hub.
RECORD = "adapterworks/release.json"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A release on its way.

    Attributes:
        tag: what names it where it goes, `v3`.
        left_out: the files that stay, with why they are not here if they are not.
        held_back: those that tell of rows or local files.
        signatures: bundles by key id.
        file: a file's bytes, or a file that has them; verified.
        local_named: whether a record that tells of a machine may leave.
    """

    release: Release
    tag: str
    left_out: Mapping[str, Absence | None]
    held_back: Collection[str]
    signatures: Mapping[str, Sequence[str]]
    file: Callable[[str], Path | bytes]
    local_named: bool = False

    @property
    def title(self) -> str:
        """`medical@3`."""
        return f"{self.release.name}@{self.tag.removeprefix('v')}"

    @property
    def sent(self) -> list[str]:
        """The paths that leave."""
        return [path for path in self.release.files if path not in self.left_out]

    def require_portable(self) -> None:
        """Check that the record tells of no machine, unless it is named.

        Raises:
            Refused: it names a path of a machine, or this host.
        """
        local = None if self.local_named else local_text(self.release)
        if local is not None:
            raise Refused(
                f"the record of `{self.release.name}` tells of the machine it was built on: "
                f"{local[:80]!r}",
                hint="build it again with this version, or push it all the same: "
                f"`--include {RECORD}`",
            )

    def told(self, pushed: Collection[str]) -> tuple[str, ...]:
        """What of the pushed files tells of rows, or of the machine it was built on."""
        told = sorted(set(self.held_back) & set(pushed))
        # Records name files by their names only since 2026-11; older ones cannot be changed.
        local = local_text(self.release)
        if local is not None:
            told.append(f"{RECORD} (of the machine it was built on, as {local[:80]!r})")
        return tuple(told)


def pack(
    registry: Registry,
    resolved: Resolved,
    *,
    tag: str | None = None,
    withhold: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Parcel:
    """A version of this registry, as it leaves.

    Args:
        tag: what names it where it goes; `v<version>` if it is not given.
        withhold: patterns of files to leave out too.
        include: patterns of files to take along although they tell of rows.

    Raises:
        InvalidInput: a pattern means weights, or something that the record withholds.
    """
    release = registry.release(resolved.digest)
    read = functools.partial(registry.read_if_here, resolved.digest)
    held_back = private_files(release, read)
    absences = registry.absences(resolved.digest)

    def file(path: str) -> Path | bytes:
        role, _, inside = path.partition("/")
        if inside and role in (ADAPTER, SERVABLE, FULL):
            return registry.checkout(release.digest, role) / inside
        return registry.read(release.digest, path)

    return Parcel(
        release,
        tag or f"v{resolved.version}",
        leave_out(release, absences, withhold, include, held_back),
        held_back,
        registry.signatures.counting(release.digest),
        file,
        local_named=bool(matching(include, [RECORD])),
    )


def pack_held(
    held: Held,
    stage: Path,
    *,
    tag: str,
    withhold: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Parcel:
    """A release of another place, as it goes on to a third; what it tells of is judged anew.

    Args:
        stage: where its files are fetched to, when they are needed.

    Raises:
        InvalidInput: a pattern means weights.
        IntegrityError: a file lacks that is not stated to.
    """
    release = held.release
    check_named(release)
    stated = held.stated()
    gone = {path for path, entry in release.files.items() if held.size(entry.digest) is None}
    unsaid = sorted(gone - same_bytes(release, stated))
    if unsaid:
        raise IntegrityError(f"`{held.where}` has no `{unsaid[0]}`, which its record names")

    def file(path: str) -> Path:
        entry = release.files[path]
        return staged(held, entry.digest, entry.size, stage)

    def read(path: str) -> bytes | None:
        return None if path in gone else file(path).read_bytes()

    held_back = private_files(release, read)
    left_out = leave_out(release, {}, withhold, include, held_back)
    return Parcel(
        release,
        tag,
        {**left_out, **dict.fromkeys(gone)},
        held_back,
        {key: [bundle] for key, bundle in held.signatures().items()},
        file,
        local_named=bool(matching(include, [RECORD])),
    )


def leave_out(
    release: Release,
    absences: Mapping[str, Absence],
    withhold: Sequence[str],
    include: Sequence[str],
    private: Collection[str],
) -> dict[str, Absence | None]:
    """The files that stay, with why they are not here if they are not.

    Args:
        private: files that leave only when `include` names them.

    Raises:
        InvalidInput: a pattern means weights, or something that the record withholds.
    """
    asked, named = matching(withhold, release.files), matching(include, release.files)
    check_withheld(asked, "`--withhold`")
    refused = sorted(named & release.withheld)
    if refused:
        raise InvalidInput(
            f"`{refused[0]}` is withheld by the release's own record",
            hint="build it with another `[publish] withhold`; what was published does not change",
        )
    paths = asked | (set(private) - named) | release.withheld
    # Equal bytes are one blob: a twin under another path would carry them there.
    twins = same_bytes(release, paths)
    check_withheld(twins, "what is withheld")
    gone = {path: absence for path, absence in absences.items() if path in release.files}
    return {**dict.fromkeys(paths | twins), **gone}


def same_bytes(release: Release, paths: Collection[str]) -> set[str]:
    """The paths whose bytes are those of one of `paths`."""
    digests = {release.files[path].digest for path in paths}
    return {path for path, entry in release.files.items() if entry.digest in digests}
