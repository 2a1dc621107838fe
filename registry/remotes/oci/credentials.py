"""Who we are at a registry, as `docker login` left it: `$DOCKER_CONFIG/config.json`.

    {"auths": {"registry.example": {"auth": "<base64 of user:password>"}},
     "credHelpers": {"ghcr.io": "gh"}, "credsStore": "pass"}

Invariant: nothing of a credential is in an error, a log or a `repr`. A helper is a program
`docker-credential-NAME` on the path that the user's own file names.
Format: https://docs.docker.com/reference/cli/docker/login/
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.manifests.homes import expanded

_MAX = 1 << 20  # bytes of the file
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HELPER_S = 30.0
_TOKEN_USER = "<token>"  # noqa: S105 - what a helper says in place of a name


@dataclass(frozen=True, slots=True)
class Credential:
    """A name with a password, or a token that others are asked for with."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)


def find_credential(host: str, environ: Mapping[str, str]) -> Credential | None:
    """What is known for a registry; `None`: nobody logged in there.

    Raises:
        InvalidInput: the file is not such a file.
        Unavailable: a helper that it names does not answer.
    """
    file = config_file(environ)
    table = _read(file)
    helpers, auths = _table(table, "credHelpers"), _table(table, "auths")
    helper = helpers.get(host) or table.get("credsStore")
    if isinstance(helper, str) and helper:
        found = _ask(helper, host, file)
        if found is not None:
            return found
    entry = auths.get(host) or auths.get(f"https://{host}")
    return _parse(entry, host, file) if isinstance(entry, dict) else None


def config_file(environ: Mapping[str, str]) -> Path:
    """Docker's file, whether it is there or not."""
    folder = environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else expanded("~/.docker")) / "config.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidInput(f"`{file}` cannot be read: {error.strerror}") from error
    try:
        table = json.loads(data) if len(data) <= _MAX else None
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise InvalidInput(
            f"`{file}` is not a table in JSON", hint="log in again: docker login HOST"
        )
    return table


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}


def _parse(entry: dict[str, Any], host: str, file: Path) -> Credential | None:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Credential(identity_token=token)
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        try:
            user, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if not colon:
            raise InvalidInput(
                f"`auths.{host}.auth` of `{file}` is not `user:password` in base64",
                hint=f"log in again: docker login {host}",
            )
        return Credential(user, password)
    name, secret = entry.get("username"), entry.get("password")
    if isinstance(name, str) and isinstance(secret, str) and name:
        return Credential(name, secret)
    return None


def _ask(helper: str, host: str, file: Path) -> Credential | None:
    if not _HELPER.fullmatch(helper):
        raise InvalidInput(f"`{file}` names a helper that is no program's name: `{helper[:80]}`")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=host,
            capture_output=True,
            text=True,
            timeout=_HELPER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(
            f"`{program}`, which `{file}` names, does not answer: {type(error).__name__}",
            hint="install it, or log in without it",
        ) from None
    if done.returncode != 0:  # it knows nobody there
        return None
    try:
        said = json.loads(done.stdout)
        user, secret = str(said["Username"]), str(said["Secret"])
    except (ValueError, KeyError, TypeError):
        raise Unavailable(f"`{program}` answers something that is no credential") from None
    if user == _TOKEN_USER:
        return Credential(identity_token=secret)
    return Credential(user, secret)
