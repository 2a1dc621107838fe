"""What options name, looked at when the command line is read: before anything is done for hours
that a slip of the pen would lose at the end.

Invariant: a command that gets such a value can write there, or move that alias, as far as can be
known now.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.refs import check_alias, check_name

# What `matplotlib` draws to (`FigureCanvasBase.get_supported_filetypes`).
DRAWN = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp", ".eps", ".ps", ".tif", ".tiff")


class Whole(click.types.IntParamType):
    """A whole number that everything behind the command line can hold.

    Args:
        least: of those that are taken.
        most: by default what 32 bits with a sign hold.
    """

    def __init__(self, least: int, most: int = 2**31 - 1) -> None:
        self.min = least
        self.max = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not self.min <= number <= self.max:
            wanted = f"at least {self.min}" if number < self.min else f"at most {self.max}"
            self.fail(f"{number} is out of range; it is {wanted}", param, ctx)
        return number


class Real(click.FloatRange):
    """A number in a range: no `nan`, which is in every range, and no `inf`."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no number to work with", param, ctx)
        return number


COUNT = Whole(0)
POSITIVE = Whole(1)
SEED = Whole(0)
PRIORITY = Whole(-(2**31))
# Sequence numbers of the index: 64 bits with a sign, on both kinds of database.
SEQUENCE = Whole(0, 2**63 - 1)


class Checked(click.ParamType[str]):
    """A text that one of our own checks lets pass.

    Args:
        name: what help calls it.
        check: raises `InvalidInput`.
    """

    def __init__(self, name: str, check: Callable[[str], str]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return self._check(value)


ALIAS = Checked("text", check_alias)
NAME = Checked("text", check_name)


class WrittenFile(click.Path):
    """A file that the command will write.

    Args:
        makes: whether the command makes the folders that lead there.
        suffixes: that its name may end in; any if there is none.
    """

    def __init__(self, *, makes: bool = False, suffixes: Sequence[str] = ()) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self._makes = makes
        self._suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if self._suffixes and path.suffix.lower() not in self._suffixes:
            raise InvalidInput(
                f"{_option(param)}`{path}` ends in none of {', '.join(self._suffixes)}",
                hint=f"write `{path.with_suffix(self._suffixes[0])}`",
            )
        _require_place(path.parent, param, makes=self._makes)
        if path.exists() and not os.access(path, os.W_OK):
            raise InvalidInput(f"{_option(param)}`{path}` may not be written", hint=_OWNER)
        return path


class WrittenFolder(click.Path):
    """A folder that the command will make or fill; `files` lets a file stand there as well."""

    def __init__(self, *, files: bool = False) -> None:
        super().__init__(file_okay=files, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        _require_place(path if path.is_dir() else path.parent, param, makes=True)
        return path


_OWNER = "see who owns it and its mode"


def _require_place(folder: Path, param: click.Parameter | None, *, makes: bool) -> None:
    """See that a file can be made in a folder, or the folder where `makes`.

    Raises:
        InvalidInput: it cannot.
    """
    there = folder
    while makes and not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        what = "is no folder" if there.exists() else "is not there"
        raise InvalidInput(
            f"{_option(param)}the folder `{there}` {what}", hint=f"mkdir -p {folder}"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidInput(f"{_option(param)}`{there}` may not be written to", hint=_OWNER)


def _option(param: click.Parameter | None) -> str:
    return "" if param is None else f"`{param.opts[0]}`: "
