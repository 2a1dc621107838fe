"""The paths in a manifest: where they lead on this machine, and how they are told to others.

Invariant: a manifest keeps every path as it was declared, relative to its own folder; only who
opens a file asks where it is (`place`). What is recorded, printed in a card or digested has paths
that say nothing of this machine (`portable`): relative ones as they are, others by their last part.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.homes import expanded
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.sources import FileSource, parse_base, parse_source
from adapterworks.manifests.templates import names_template_file


def place(path: str, folder: Path) -> Path:
    """Where a declared path leads: `~` is the home, a relative path begins at `folder`.

    Links on the way are followed, a link that is the file itself is not: what a file is called, and
    so how it is read and told of, is as declared, wherever a store of data sets keeps its bytes.

    Raises:
        InvalidInput: it leads nowhere: links in a circle, the home of an unknown user.
    """
    try:
        whole = folder / expanded(path)
        return whole.resolve() if whole.name in ("", "..") else whole.parent.resolve() / whole.name
    except (OSError, RuntimeError, InvalidInput) as error:
        raise InvalidInput(f"`{path}` leads nowhere: {error}", hint="check the path") from error


def base_model(manifest: Manifest) -> str:
    """`base.model` as a base store takes it: a path is absolute, a name or Hub id as declared."""
    model = manifest.base.model
    return str(place(model, manifest.folder)) if _is_folder(model) else model


def told(path: str) -> str:
    """A path as others may read it: of one that begins at the root or at someone's home, the last
    part alone, since the rest is of one machine."""
    return last_part(path) if path.startswith("~") or Path(path).is_absolute() else path


def last_part(path: str) -> str:
    """What a path's file or folder is called; a folder's name ends in `/` as the path does."""
    return Path(path).name + ("/" if path.endswith("/") else "")


def source_label(source: str) -> str:
    """A source of rows as others may read it: a path of this machine by its file name alone."""
    return told(source) if isinstance(parse_source(source), FileSource) else source


def portable(manifest: Manifest) -> Manifest:
    """The manifest as a release records it: no path in it begins at this machine's root or home."""
    return with_paths(manifest, told)


def by_file_name(manifest: Manifest) -> Manifest:
    """The manifest with each path's last part only: what is digested, beside the bytes' digests."""
    return with_paths(manifest, last_part)


def with_paths(manifest: Manifest, change: Callable[[str], str], *, base: bool = True) -> Manifest:
    """The manifest with every path in it changed; recipes, names and Hub ids stay as they are.

    The one list of the keys that can hold a path.

    Args:
        manifest: resolved.
        change: path → what stands in its place.
        base: whether a base's folder is changed too.
    """

    def source(text: str) -> str:
        return change(text) if isinstance(parse_source(text), FileSource) else text

    data, train, augment = manifest.data, manifest.train, manifest.data.augment
    model, written = manifest.base.model, manifest.base.chat_template
    return manifest.model_copy(
        update={
            "base": manifest.base.model_copy(
                update={
                    "model": change(model) if base and _is_folder(model) else model,
                    "chat_template": change(written)
                    if written is not None and names_template_file(written)
                    else written,
                }
            ),
            "data": data.model_copy(
                update={
                    "train": source(data.train),
                    "validation": data.validation and source(data.validation),
                    "test": data.test and source(data.test),
                    "mix": tuple(
                        part.model_copy(update={"source": source(part.source)}) for part in data.mix
                    ),
                    "replay": data.replay
                    and data.replay.model_copy(update={"source": source(data.replay.source)}),
                    "augment": augment.model_copy(
                        update={"lexicon": augment.lexicon and change(augment.lexicon)}
                    ),
                }
            ),
            "train": train.model_copy(
                update={
                    "accelerate_config": train.accelerate_config and change(train.accelerate_config)
                }
            ),
        }
    )


def require_files(manifest: Manifest) -> None:
    """Check that all files and folders that it names are there, before anything takes long.

    Raises:
        NotFound: naming those that are not.
    """
    named: list[str] = []

    def note(path: str) -> str:
        named.append(path)
        return path

    with_paths(manifest, note)
    absent = [path for path in dict.fromkeys(named) if not place(path, manifest.folder).exists()]
    if absent:
        places = ", ".join(f"`{place(path, manifest.folder)}`" for path in absent)
        raise NotFound(
            f"the manifest names files that do not exist: {places}",
            hint="paths are relative to the manifest's folder",
        )


def _is_folder(model: str) -> bool:
    return isinstance(parse_base(model), FileSource)
