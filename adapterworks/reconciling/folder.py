"""The manifests of a folder, each loaded by itself: a faulty one keeps no other from being read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from adapterworks.manifests.document import Document, read_document
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, NotFound
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.models import Manifest
from adapterworks.reconciling.folder_identity import identity


@dataclass(frozen=True)
class Read:
    """One file: its manifest, or why there is none.

    Attributes:
        name: the adapter's, as far as it can be told.
    """

    path: Path
    name: str | None
    manifest: Manifest | None
    error: AdapterworksError | None

    @property
    def file(self) -> str:
        """Its name in the folder."""
        return self.path.name


@dataclass(frozen=True)
class Folder:
    """A folder's manifests in the order of their names, and the `.toml` files that are none."""

    path: Path
    read: tuple[Read, ...]
    skipped: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder's own name, which others may have too."""
        return self.path.resolve().name

    @cached_property
    def identity(self) -> str:
        """Which folder it is, wherever a copy of it lies."""
        return identity(self.path)


def read_folder(path: Path, *, profile: str | None = None, overrides: Sequence[str] = ()) -> Folder:
    """Read every manifest that lies in a folder (not in folders within it).

    A `.toml` file without any of the tables that every manifest has (`gateway.toml`) is none, and
    neither is a hidden one: editors and file systems leave those (`.#medical.toml`).

    Args:
        profile: laid over every one of them; one without such a profile is faulty.
        overrides: `train.epochs=1` and the like, laid over every one.

    Raises:
        NotFound: there is no such folder.
        InvalidInput: it holds no manifest.
    """
    if not path.is_dir():
        raise NotFound(
            f"there is no folder `{path}`", hint="name a folder that holds manifests, `*.toml`"
        )
    read, skipped = [], []
    for file in sorted(path.glob("*.toml")):
        if file.name.startswith("."):
            continue
        try:
            document = _document(file)
        except AdapterworksError as error:
            read.append(Read(file, None, None, error))
            continue
        if not document.table.keys() & {"adapter", "base", "method"}:
            skipped.append(file.name)
            continue
        name = _name(document)
        try:
            manifest = load_manifest(file, profile=profile, overrides=overrides)
        except AdapterworksError as error:
            read.append(Read(file, name, None, error))
        else:
            read.append(Read(file, manifest.adapter.name, manifest, None))
    if not read:
        raise InvalidInput(
            f"there is no manifest in `{path}`",
            hint="a manifest is a `.toml` file with `[adapter]`",
        )
    return Folder(path, tuple(read), tuple(skipped))


def _document(file: Path) -> Document:
    """A file's text and tables.

    Raises:
        AdapterworksError: there is none, or it cannot be read.
    """
    try:
        return read_document(file)
    except (OSError, RecursionError) as error:  # no permission, or nested without end
        reason = error.strerror if isinstance(error, OSError) else "it is nested too deeply"
        raise InvalidInput(f"`{file.name}` cannot be read: {reason}") from error


def _name(document: Document) -> str | None:
    adapter = document.table.get("adapter")
    name = adapter.get("name") if isinstance(adapter, dict) else None
    return name if isinstance(name, str) else None
