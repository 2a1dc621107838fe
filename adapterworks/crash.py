"""The last handler: what nobody expected becomes one line and a report in a file, never a trace.

The report is for whoever mends it. It has the trace, versions and the command's words; passwords in
URLs are taken out, values of variables are not in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from adapterworks.manifests.errors import AdapterworksError, Unavailable

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
# Up to the last @ of the word: passwords have slashes and @ of their own.
_PASSWORD = re.compile(r"""(://[^/\s:@]*):[^\s"'`]*@""")
_PARAMETER = re.compile(r"""(?i)\b((?:ssl)?password)=[^&\s"'`]*""")
_KEPT = 20


def no_room(error: BaseException) -> Unavailable | None:
    """Memory or a disk that others have filled, which passes when somebody makes room."""
    if isinstance(error, MemoryError):
        return Unavailable("out of memory", hint="stop other programs, or see `adapters doctor`")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f"`{error.filename}`" if error.filename else "a file"
        return Unavailable(f"{where}: no space left", hint="make room, then do it again")
    return None


def expected(error: BaseException) -> AdapterworksError | None:
    """What the world around us did, in the words that every command has for it; else None."""
    if (full := no_room(error)) is not None:
        return full
    if not isinstance(error, OSError):
        return None
    where = f"`{error.filename}`" if error.filename else "a file"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return Unavailable(
            f"{where} may not be read or written: {error.strerror}",
            hint="see who owns it and its mode",
        )
    if error.filename and isinstance(
        error, FileNotFoundError | NotADirectoryError | IsADirectoryError | FileExistsError
    ):
        return Unavailable(f"{where}: {error.strerror}", hint="see what is at that place")
    if error.errno is not None and error.filename:
        return Unavailable(f"{where} cannot be used: {error.strerror}")
    return None


def report(error: BaseException, arguments: Sequence[str], home: Path | None) -> Path | None:
    """Write what happened under `home/crashes`, or else a temporary folder; None if neither can."""
    text = "\n".join(
        (
            f"adapterworks {metadata.version('adapterworks')}, Python {platform.python_version()}, "
            f"{platform.system()} {platform.release()} {platform.machine()}",
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}  adapters {' '.join(arguments)}",
            "",
            "".join(traceback.format_exception(error)),
        )
    )
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
    folders = [] if home is None else [home / "crashes"]
    for folder in (*folders, Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(without_passwords(text))
            if folder in folders:
                _forget_old(folder)
            return path
    return None


def told(error: BaseException, written: Path | None) -> AdapterworksError:
    """The one line."""
    said = " ".join(without_passwords(str(error)).split())[:200]
    kind = type(error).__name__
    where = f"its report is {written}" if written else "no report could be written"
    return AdapterworksError(
        f"a fault of adapterworks itself: {kind}{f': {said}' if said else ''}",
        hint=f"{where}; `adapters -v …` prints it, `adapters doctor` looks at this machine",
    )


def without_passwords(text: str) -> str:
    """The text, with `***` for the password in each URL, before its host or as a parameter."""
    return _PARAMETER.sub(r"\1=***", _PASSWORD.sub(r"\1:***@", text))


def _forget_old(folder: Path) -> None:
    for old in sorted(folder.glob("*.txt"))[:-_KEPT]:
        with contextlib.suppress(OSError):
            old.unlink()


def show_trace(error: BaseException) -> None:
    """The trace on stderr, for `-v`."""
    sys.stderr.write(without_passwords("".join(traceback.format_exception(error))))
