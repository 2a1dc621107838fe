"""Code of the user's own in a file beside the manifest: `./my_metrics.py:f1_of_codes`.

Invariant: only a manifest that is read from a file of this machine carries code (`UserCode`, made
by `load_manifest`). The same name out of a release, pulled, imported or built here, is a plain
string, and a plain string is never loaded. What runs is what was read when the manifest was: a file
that changes meanwhile changes neither the digest nor the code.

The file is run for itself: its folder is not on the import path, so that its bytes and the
installed distributions are all that its results depend on.
"""

from __future__ import annotations

import re
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import InvalidInput, Refused

# A relative path, so that no folder of one machine gets into a plan or a record.
_PATTERN = re.compile(r"(?P<path>[^/~:\s][^:\n]*\.py):(?P<attribute>[A-Za-z_]\w*)")
PATTERN = r"^[^/~:\s][^:\n]*\.py:[A-Za-z_]\w*$"
_MODULES: dict[tuple[str, str], ModuleType] = {}


class UserCode(str):
    """A name of something in a file beside the manifest; as a string it is what the manifest says.

    Attributes:
        path: the file.
        source: its bytes, as they were when the manifest was read.
    """

    path: Path
    source: bytes

    def __new__(cls, text: str, path: Path, source: bytes) -> UserCode:
        code = super().__new__(cls, text)
        code.path, code.source = path, source
        return code

    def __getnewargs__(self) -> tuple[str, Path, bytes]:  # type: ignore[override]
        return str(self), self.path, self.source

    @property
    def attribute(self) -> str:
        """What it is called in the file."""
        return self.rpartition(":")[2]

    @property
    def digest(self) -> str:
        """`sha256:…` of the file."""
        return digest_bytes(self.source)


def names_a_file(text: str) -> bool:
    """Whether a name is one of something in a file."""
    return _PATTERN.fullmatch(text) is not None


def read_user_code(text: str, folder: Path) -> UserCode:
    """The code that a manifest in `folder` names.

    Raises:
        InvalidInput: there is no such file.
    """
    path = folder / text.rpartition(":")[0]
    try:
        return UserCode(text, path, path.read_bytes())
    except OSError as error:
        reason = "there is no file" if isinstance(error, FileNotFoundError) else "cannot read"
        raise InvalidInput(
            f"{reason} `{text.rpartition(':')[0]}`",
            hint="the path is relative to the manifest's folder",
        ) from None


def load_user_code(name: str) -> Any:
    """The object behind a name; the file is run once in a process.

    Raises:
        Refused: a name without its code, as the manifest of a release has it.
        InvalidInput: the file cannot be run, or has nothing of that name; the message says where.
    """
    if not isinstance(name, UserCode):
        raise refusal(name)
    module = _module(name)
    if not hasattr(module, name.attribute):
        known = [key for key in vars(module) if not key.startswith("_")]
        close = get_close_matches(name.attribute, known, n=1)
        raise InvalidInput(
            f"`{name.path.name}` has no `{name.attribute}`",
            hint=f"did you mean `{close[0]}`?" if close else "define it in that file",
        )
    return getattr(module, name.attribute)


def refusal(name: str) -> Refused:
    """The error of a name whose code is not here by the user's own hand."""
    return Refused(
        f"`{name}` is code in a file beside a manifest; the manifest of a release names it, but "
        "code is never loaded by what was built, pulled or imported",
        hint="name the manifest file that the code stands beside: `--manifest FILE`",
    )


def _module(code: UserCode) -> ModuleType:
    key = (str(code.path), code.digest)
    if key not in _MODULES:
        name = f"{code.path.stem}_{code.digest[7:19]}"
        module = ModuleType(name)
        module.__file__ = str(code.path)
        sys.modules[name] = module  # dataclasses look their module up
        try:
            exec(compile(code.source, str(code.path), "exec"), module.__dict__)  # noqa: S102
        except (Exception, SystemExit) as error:  # whatever a user's file raises
            sys.modules.pop(name, None)
            raise InvalidInput(
                f"`{code.path.name}` cannot be run: {where(code, error)}",
                hint="mend the file; only installed packages can be imported in it",
            ) from error
        _MODULES[key] = module
    return _MODULES[key]


def where(code: UserCode, error: BaseException) -> str:
    """An error with the line of the file that it came from: `line 3: ValueError: …`."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(code.path)
    ]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    shown = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"line {line}: {shown}" if line is not None else shown
