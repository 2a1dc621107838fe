"""A process as on a client: only what the core requires can be found, and this is no Linux.

Standard input is JSON: the modules and distributions that there are (see `client.installed`),
modules to import, and `adapters` command lines. Each is run in its turn; standard output is JSON
too, a list of exit code, output and errors.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.metadata
import io
import json
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from types import ModuleType

LINUX_ONLY = ("sched_getaffinity", "sched_setaffinity", "memfd_create", "pidfd_open", "preadv2")


class CoreOnly:
    """Finds what a client has: the standard library, the core's requirements and ourselves."""

    def __init__(self, modules: Iterable[str], distributions: Iterable[str]) -> None:
        self._modules = {*modules, *sys.stdlib_module_names, "adapterworks"}
        self._distributions = {*distributions, "adapterworks"}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As `PathFinder` does, but nothing of what a client has not."""
        if name.partition(".")[0] not in self._modules:
            return None
        return importlib.machinery.PathFinder.find_spec(name, path, target)

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context
    ) -> Iterable[importlib.metadata.Distribution]:
        """The same for what `importlib.metadata` is asked."""
        for found in importlib.metadata.MetadataPathFinder.find_distributions(context):
            if re.sub(r"[-_.]+", "-", found.name).lower() in self._distributions:
                yield found


def be_a_client(modules: Iterable[str], distributions: Iterable[str]) -> None:
    """From now on there is nothing but the core, and nothing that only Linux has."""
    # These choose by the platform when they are imported, and we have only Linux's choice here.
    import asyncio  # noqa: F401
    import subprocess  # noqa: F401
    import urllib.request  # noqa: F401

    sysconfig.get_config_vars()  # read from a file that is named for the platform
    kept = [f for f in sys.meta_path if f is not importlib.machinery.PathFinder]
    own = [f for f in kept if f.__module__.partition(".")[0] in ("importlib", "_frozen_importlib")]
    sys.meta_path[:] = [*own, CoreOnly(modules, distributions)]
    sys.platform = "darwin"
    for name in LINUX_ONLY:
        if hasattr(os, name):
            delattr(os, name)
    os.sysconf_names.pop("SC_AVPHYS_PAGES", None)


def run(arguments: list[str]) -> tuple[int, str, str]:
    """One command: exit code, standard output, standard error."""
    from adapterworks.cli.main import main

    sys.argv[:] = ["adapters", *arguments]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code: int | str | None = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 1
    return int(code or 0), _text(out), _text(err)


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


if __name__ == "__main__":
    given = json.load(sys.stdin)
    be_a_client(given["modules"], given["distributions"])
    for name in given["imports"]:
        importlib.import_module(name)
    results = [run(line) for line in given["commands"]]
    sys.__stdout__.write(json.dumps(results))
