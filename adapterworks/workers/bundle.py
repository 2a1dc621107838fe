"""A manifest and the files that it names, as blobs: for a worker that does not see this machine's.

Invariant: what is unpacked is what was packed, to the byte, under the same relative paths, so the
manifest says the same and its plan has the same digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path, PurePosixPath

from adapterworks.builders.data.sources.files import files_of
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.document import find_manifest
from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.naming import user_code
from adapterworks.manifests.paths import with_paths
from adapterworks.registry.blobs.store import BlobStore, copy_blob


@dataclass(frozen=True, slots=True)
class Packed:
    """A manifest and its files, not stored yet.

    Attributes:
        name: of the manifest among the files.
        files: path → blob.
        sources: blob → where its bytes are.
    """

    name: str
    files: Mapping[str, str]
    sources: Mapping[str, Path]


def pack(source: str, manifest: Manifest) -> Packed:
    """Find a manifest and its files; who stores them holds them first.

    Raises:
        NotFound: one is not there.
        InvalidInput: one lies outside of the manifest's folder, which is all that goes along.
    """
    path = find_manifest(source).absolute()
    found = {path.name: path}
    for stage in manifest.chain:
        for declared in (*_paths(stage), *_code(stage)):
            found |= _files(declared, path.parent)
    digests = {name: digest_file(file) for name, file in found.items()}
    sources = {digests[name]: file for name, file in found.items()}
    return Packed(path.name, digests, sources)


def unpack(files: Mapping[str, str], blobs: BlobStore, folder: Path) -> None:
    """Write what was packed into a folder; what is there already stays.

    Raises:
        IntegrityError: a path leads out of the folder, or bytes are not what was packed.
    """
    for name, digest in files.items():
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise IntegrityError(f"a packed file is called `{name}`, which leads out of its folder")
        target = folder / name
        if target.exists() and digest_file(target) == digest:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(f".{target.name}.part")
        staged.unlink(missing_ok=True)
        copy_blob(blobs, digest, staged)
        staged.replace(target)


def _paths(manifest: Manifest) -> list[str]:
    found: list[str] = []

    def note(path: str) -> str:
        found.append(path)
        return path

    with_paths(manifest, note, base=False)
    model = manifest.base.model
    if model.startswith("."):
        raise InvalidInput(
            f"`base.model` is `{model}`, a folder beside the manifest, which does not go along",
            hint="name the base by a name or Hub id, or by a folder that every node has",
        )
    return found


def _code(manifest: Manifest) -> Iterator[str]:
    for name in user_code(manifest):
        yield name.rpartition(":")[0]


def _files(declared: str, folder: Path) -> dict[str, Path]:
    """Relative path → file, of what a manifest's key names."""
    if Path(declared).is_absolute() or declared.startswith("~") or ".." in Path(declared).parts:
        raise InvalidInput(
            f"`{declared}` lies outside of the manifest's folder, which is all that goes along",
            hint="put it beside the manifest, or publish its rows: `adapters dataset add`",
        )
    path = folder / declared
    if path.is_dir() or has_magic(declared):
        files = files_of(path)
    elif path.is_file():
        files = [path]
    else:
        raise NotFound(
            f"the manifest names files that do not exist: `{path}`",
            hint="paths begin at the manifest's own folder",
        )
    return {file.relative_to(folder).as_posix(): file for file in files}
