"""What a base is called: the embedded ones, and names that were given to others.

Invariant: a name never changes its meaning, and what it means is pinned: a commit or a folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from adapterworks.manifests.atomic import write_atomic
from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound
from adapterworks.registry.bases.files import checkpoint_folder
from adapterworks.registry.bases.sources import EMBEDDED, fetch_commit, parse_hub

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Names:
    """The names of one store, in its `names.json`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def added(self) -> dict[str, str]:
        """Name → source of those that were given.

        Raises:
            IntegrityError: their file is damaged.
        """
        path = self._root / "names.json"
        names: Any = None
        with suppress(ValueError):
            names = json.loads(path.read_text()) if path.exists() else {}
        if not isinstance(names, dict) or not all(isinstance(one, str) for one in names.values()):
            raise IntegrityError(
                f"`{path}` does not say what bases are called",
                hint="restore it, or move it away and add the names again: adapters base add",
            )
        return names

    def add(self, name: str, source: str) -> None:
        """Give a Hub model or a local folder a name; a branch or tag is pinned to its commit.

        Raises:
            InvalidInput: a bad name, or one that already means something else.
            NotFound: the folder or repository does not exist.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"`{name}` is not a base name",
                hint="use lower-case letters, digits, `-`, `_` and `.`, at most 64",
            )
        if source.startswith("hub:"):
            repository, revision = parse_hub(source)
            source = f"hub:{repository}@{fetch_commit(repository, revision)}"
        else:
            source = str(checkpoint_folder(Path(source)))
        known = EMBEDDED.get(name)
        with locked(self._root, "names.json"):  # read, change, write
            names = self.added()
            if known is not None or names.get(name, source) != source:
                raise InvalidInput(
                    f"the base name `{name}` already means `{known or names[name]}`",
                    hint="choose another name; a base name never changes its meaning",
                )
            names[name] = source
            write_atomic(self._root / "names.json", json.dumps(names, indent=2, sort_keys=True))

    def source(self, model: str) -> tuple[str, str]:
        """(display name, pinned source) of what a manifest wrote under `base.model`."""
        if model in EMBEDDED:
            return model, EMBEDDED[model]
        names = self.added()
        if model in names:
            return model, names[model]
        if model.startswith("hub:"):
            repository, revision = parse_hub(model)
            if not re.fullmatch(r"[0-9a-f]{40}", revision):
                raise InvalidInput(
                    f"`{model}` is not pinned: `{revision}` is a branch or tag and can move",
                    hint=f"`adapters base add NAME {model}` pins it to its current commit, "
                    "or write the 40-digit commit after `@`",
                )
            return repository.rpartition("/")[2].lower(), model
        if Path(model).is_dir():
            path = checkpoint_folder(Path(model))
            return path.name.lower(), str(path)
        known = ", ".join(f"`{entry}`" for entry in [*EMBEDDED, *sorted(names)])
        raise NotFound(
            f"no base `{model}`",
            hint=f"known bases: {known}; add one with `adapters base add NAME hub:org/name@main`",
        )


@contextmanager
def locked(root: Path, key: str) -> Iterator[None]:
    """Hold one name or folder of a store, among all processes."""
    locks = root / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{key}.lock"):
        yield
