"""Settings, read once from the environment; every other module is given values, not variables.

ADAPTERS_HOME       folder of the registry, bases and builds (default ~/.adapters)
ADAPTERS_DATABASE   SQLAlchemy URL of the index (default SQLite in ADAPTERS_HOME)
ADAPTERS_BLOBS      folder or s3://bucket/prefix of the blobs (default ADAPTERS_HOME/blobs)
ADAPTERS_BASES      folder of prepared base models (default ADAPTERS_HOME/bases)
ADAPTERS_CHECKOUTS  room for adapters unpacked to be served or trained on, `200GB` (default 50GB);
                    what was not asked for within a day makes room, or `none`: they stay
ADAPTERS_KEYS_DIR   folder of the keys that captured answers are sealed with (default beside
                    ADAPTERS_HOME: `~/.adapters-keys`); outside of what is backed up
ADAPTERS_MEMORY_WAIT   how long a job waits for memory that others hold, `12h` or `none`: for ever
                    (default 7d); then it fails and says what it needed
ADAPTERS_USER       who acts: for histories and logs (default the login name), and the author in the
                    records of releases, which travel (default "unnamed": a login is not told)
ADAPTERS_REGISTRY   URL of a server of the registry (`adapters registry serve`): commands ask it and
                    need neither database nor store; what is checked out is in ADAPTERS_HOME
ADAPTERS_REGISTRY_TOKEN   the token it is asked with
ADAPTERS_REGISTRY_INSECURE   `1` lets the token travel over plain HTTP to another machine
ADAPTERS_GATEWAY    URL of a running gateway, for `evaluate.engine = "gateway"`
ADAPTERS_GATEWAY_KEY   the key it is asked with, if it wants one
ADAPTERS_KUBERNETES_IMAGE   what `build --on k8s:NAMESPACE` runs (default "adapterworks-engine:" and
                            this package's version, as its recipe makes it)

Each may stand in a file too, by its last part in lower case (`home = "~/adapters"`); the variable
comes first. The file is `ADAPTERS_CONFIG`, or ~/.config/adapterworks/config.toml.

Invariant: an environment that is given says all there is. Without `ADAPTERS_CONFIG`,
`XDG_CONFIG_HOME` and `HOME` in it there is no file: who opens another home is never handed the
database of their own.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.homes import expanded

# As docs/how-to/containers.md makes it; a test holds it to the package's version.
ENGINE_IMAGE = "adapterworks-engine:0.1.0"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things live and who is acting."""

    home: Path
    database: str
    blobs: str
    bases: Path
    who: str
    keys: Path
    author: str = "unnamed"
    checkouts: int | None = 50 * 10**9
    memory_wait: float | None = 7 * 86400.0
    registry: str | None = None
    registry_token: str | None = field(default=None, repr=False)
    registry_insecure: bool = False
    gateway: str | None = None
    gateway_key: str | None = field(default=None, repr=False)
    kubernetes_image: str = ENGINE_IMAGE

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the variables above, and the file; creates nothing.

        Args:
            environ: all of the environment; None: the process's.

        Raises:
            InvalidInput: the file is not TOML, has a key that means nothing, or a path begins at
                a home directory that is not known here.
        """
        env = os.environ if environ is None else environ
        given = {**_of_file(config_file(env)), **_of_variables(env)}
        home = _place("home", given.get("home") or "~/.adapters")
        return cls(
            home=home,
            database=_database(given.get("database")) or f"sqlite:///{home / 'index.db'}",
            blobs=_blobs(given.get("blobs")) or str(home / "blobs"),
            bases=_place("bases", given.get("bases") or str(home / "bases")),
            who=given.get("user") or _login_name(),
            keys=_place("keys_dir", given.get("keys_dir") or f"{home}-keys"),
            author=given.get("user") or "unnamed",
            checkouts=_bytes(given.get("checkouts") or "50GB"),
            memory_wait=_seconds(given.get("memory_wait") or "7d"),
            registry=given.get("registry") or None,
            registry_token=given.get("registry_token") or None,
            registry_insecure=_flag(given.get("registry_insecure")),
            gateway=given.get("gateway") or None,
            gateway_key=given.get("gateway_key") or None,
            kubernetes_image=given.get("kubernetes_image") or ENGINE_IMAGE,
        )


KEYS = (
    *("home", "database", "blobs", "bases", "checkouts", "keys_dir", "user"),
    "memory_wait",
    *("registry", "registry_token", "registry_insecure", "gateway", "gateway_key"),
    "kubernetes_image",
)
_SECRET = ("gateway_key", "registry_token")
_NAMES = {"user": "who", "keys_dir": "keys"}  # where a setting's attribute is called otherwise
_BYTES = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?([kMGT]?)B")
_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_SPANS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting: its key, its value, and what gave it."""

    key: str
    value: object
    source: str


def origins(settings: Settings, environ: Mapping[str, str] | None = None) -> list[Origin]:
    """Where each setting comes from; a key's text is not among the values."""
    env = os.environ if environ is None else environ
    file = config_file(env)
    written, variables = _of_file(file), _of_variables(env)
    found = []
    for key in KEYS:
        value = getattr(settings, _NAMES.get(key, key))
        if key in _SECRET and value is not None:
            value = "(set)"
        source = f"ADAPTERS_{key.upper()}" if key in variables else str(file)
        if key not in variables and key not in written:
            source = "default"
        found.append(Origin(key, value or "", source))
    return found


def config_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """The file, whether it is there or not; None: this environment names no place for one."""
    env = os.environ if environ is None else environ
    if named := env.get("ADAPTERS_CONFIG"):
        return _place("config", named)
    home = env.get("HOME")
    folder = env.get("XDG_CONFIG_HOME") or (home and str(Path(home) / ".config"))
    return _place("config", folder) / "adapterworks" / "config.toml" if folder else None


def _of_variables(env: Mapping[str, str]) -> dict[str, str]:
    """The settings that variables give; an empty variable is none."""
    return {key: value for key in KEYS if (value := env.get(f"ADAPTERS_{key.upper()}"))}


def _of_file(file: Path | None) -> dict[str, str]:
    """The settings of the file.

    Raises:
        InvalidInput: naming the key that cannot be.
    """
    if file is None:
        return {}
    try:
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"`{file}` cannot be read: {error}") from error
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"`{file}` is not TOML: {error}") from error
    for key, value in table.items():
        if key not in KEYS:
            raise InvalidInput(
                f"`{file}`: `{key}` is no setting", hint=f"settings are: {', '.join(KEYS)}"
            )
        if not isinstance(value, str):
            raise InvalidInput(f"`{file}`: `{key}` must be a string", hint=f'{key} = "…"')
    return {key: value for key, value in table.items() if value}


def _database(text: str | None) -> str | None:
    """A URL; SQLite's path, with `~`, is made absolute: it means one file wherever we run."""
    path = (text or "").removeprefix("sqlite:///")
    if not text or path == text or not path or path.startswith((":memory:", "file:")):
        return text
    return f"sqlite:///{_place('database', path)}"


def _blobs(text: str | None) -> str | None:
    """`s3://…` as it is, a folder as an absolute path."""
    return text if not text or "://" in text else str(_place("blobs", text))


def _place(key: str, path: str) -> Path:
    """A setting's path, absolute.

    Raises:
        InvalidInput: it begins at the home directory of nobody.
    """
    try:
        return expanded(path).absolute()
    except InvalidInput as error:
        raise InvalidInput(
            error.message, hint=f"set `ADAPTERS_{key.upper()}` to a path that begins with `/`"
        ) from error


def _flag(text: str | None) -> bool:
    """`1` as yes; nothing, or `0`, as no.

    Raises:
        InvalidInput: it is something else.
    """
    if text not in (None, "0", "1"):
        raise InvalidInput(
            f"`registry_insecure` (`ADAPTERS_REGISTRY_INSECURE`) is `{text}`", hint="write `1`"
        )
    return text == "1"


def _bytes(text: str) -> int | None:
    """`200GB` as a number; None for `none`.

    Raises:
        InvalidInput: it is neither.
    """
    if text == "none":
        return None
    match = _BYTES.fullmatch(text)
    if match is None:
        raise InvalidInput(
            f"`checkouts` (`ADAPTERS_CHECKOUTS`) is no size: `{text}`",
            hint="write `50GB`, `1.5TB`, or `none` for as much as they take",
        )
    return round(float(match[1]) * _SCALE[match[2]])


def _seconds(text: str) -> float | None:
    """`12h` as seconds; None for `none`.

    Raises:
        InvalidInput: it is neither.
    """
    if text == "none":
        return None
    match = _SPAN.fullmatch(text)
    if match is None:
        raise InvalidInput(
            f"`memory_wait` (`ADAPTERS_MEMORY_WAIT`) is no time span: `{text}`",
            hint="write `30m`, `12h`, `7d`, or `none` for as long as it takes",
        )
    return float(int(match[1]) * _SPANS[match[2]])


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a passwd entry
        return f"uid-{os.getuid()}"
