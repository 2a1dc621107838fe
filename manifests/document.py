"""A manifest as it stands in its file: which file a name means, its TOML, its lines."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from adapterworks.manifests.checking import KeyPath
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.faults import Fault, ManifestError
from adapterworks.manifests.lines import key_lines


@dataclass(frozen=True)
class Document:
    """A manifest as it stands in its file."""

    name: str
    text: str
    folder: Path
    table: dict[str, Any]
    lines: dict[KeyPath, int]

    @property
    def profiles(self) -> dict[str, Any]:
        """The profiles by name."""
        profiles = self.table.get("profiles", {})
        return profiles if isinstance(profiles, dict) else {}

    def line(self, path: KeyPath) -> int:
        """The line of a key, or of the nearest table around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1


def built_in_manifests() -> tuple[str, ...]:
    """The names of the manifests that come with the package."""
    names = (Path(entry.name) for entry in files("adapterworks.manifests").iterdir())
    return tuple(sorted(path.stem for path in names if path.suffix == ".toml"))


def manifest_names() -> tuple[str, ...]:
    """What can be named without a path: the manifests of `./manifests`, then the built-in ones."""
    local = sorted(path.stem for path in Path("manifests").glob("*.toml"))
    return tuple(dict.fromkeys((*local, *built_in_manifests())))


def find_manifest(source: str | Path) -> Path:
    """The file that `source` names.

    Raises:
        NotFound: there is none.
    """
    path = Path(source)
    if path.suffix == ".toml" or len(path.parts) != 1:
        if path.is_file():
            return path
        raise NotFound(f"there is no manifest `{source}`", hint="check the path")
    local = Path("manifests") / f"{source}.toml"
    built_in = files("adapterworks.manifests") / f"{source}.toml"
    if local.is_file():
        return local
    if built_in.is_file():
        return Path(str(built_in))
    near = get_close_matches(path.name, manifest_names(), n=1)
    meant = f"did you mean `{near[0]}`? " if near else ""
    built = ", ".join(built_in_manifests())
    raise NotFound(
        f"there is no manifest `{source}`",
        hint=f"{meant}looked for `{local}` and the built-in ones: {built}",
    )


def require_own_folder(folder: Path) -> None:
    """See that what is written for a user does not come among the built-in manifests, as in a
    checkout, whose `manifests/` has them.

    Raises:
        InvalidInput: it would.
    """
    if folder.resolve() == Path(str(files("adapterworks.manifests"))).resolve():
        raise InvalidInput(
            f"`{folder}` here is the folder of the built-in manifests",
            hint="work in a folder of your own, beside the checkout: mkdir ../mine; cd ../mine",
        )


def as_named_elsewhere(source: str | Path) -> str:
    """How a process in another folder names the same manifest: a built-in one by its name.

    Raises:
        NotFound: there is none.
    """
    path = find_manifest(source)
    if path.is_relative_to(Path(str(files("adapterworks.manifests")))):
        return str(source) if path.stem == str(source) else str(path)
    return str(path.absolute())


def read_document(source: str | Path) -> Document:
    """Read a manifest's file.

    Raises:
        NotFound: there is no such manifest.
        ManifestError: it is not UTF-8 or not TOML.
    """
    path = find_manifest(source)
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            name, [Fault(name, line, "", "the file is not UTF-8", "save it as UTF-8")]
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(name, [_syntax_fault(name, text, error)]) from None
    return Document(name, text, path.absolute().parent, table, key_lines(text))


def _syntax_fault(name: str, text: str, error: tomllib.TOMLDecodeError) -> Fault:
    """`tomllib` says where only in its message: `… (at line 3, column 5)` or `(at end of …)`."""
    message, _, where = str(error).rpartition(" (at ")
    numbers = [int(word.strip(",)")) for word in where.split() if word.strip(",)").isdigit()]
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    line, column = numbers if len(numbers) == 2 else (len(lines), len(lines[-1]) + 1)
    message = message[:1].lower() + message[1:]
    return Fault(name, line, "", f"not TOML, column {column}: {message}", None)
