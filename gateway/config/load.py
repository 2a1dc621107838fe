"""`gateway.toml`, environment, options → a `GatewayConfig`, or every fault at once, with its place.

A variable overrides the file: `ADAPTERS_GATEWAY_PORT=9000`, and with two underscores between the
parts of a path, `ADAPTERS_GATEWAY_RESIDENCY__MAX_LORAS=8`. Its value is read as a TOML value, and
as a plain string when it is none. Tables in arrays (`[[engines]]`) are set as a whole:
`ADAPTERS_GATEWAY_ENGINES='[{url = "http://gpu-1:8000", base = "llama-3-8b"}]'`.

Vertex AI's own variables (AIP_HTTP_PORT, …) come before all of them, and options of a command line
before those.

Invariant: nothing is silently dropped; a variable that names no key is a fault like any other.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from adapterworks.gateway.config.container import vertex_variables
from adapterworks.gateway.config.engines import (
    ElsewhereTable,
    FoundEngines,
    LocalEngine,
    RemoteEngine,
)
from adapterworks.gateway.config.possible import KeyPath, dotted, impossible
from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.faults import Fault, ManifestError
from adapterworks.manifests.lines import key_lines

PREFIX = "ADAPTERS_GATEWAY_"
# Of those who ask a gateway: settings of commands and clients, whose names begin like ours.
OF_CLIENTS = frozenset({"ADAPTERS_GATEWAY_KEY"})
_ENGINE_KINDS = {"local": LocalEngine, "remote": RemoteEngine, "found": FoundEngines}


def load_gateway_config(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[KeyPath, tuple[str, Any]] | None = None,
) -> GatewayConfig:
    """Read `path` (None: defaults only), apply the environment and `options`, validate.

    Args:
        options: what a command line says, by key: the option's name and the key's value.

    Raises:
        NotFound: `path` does not exist.
        ManifestError: there are faults; all of them are in `.faults`.
    """
    source = str(path) if path else "the command line" if options else "the environment"
    text = _read(path) if path else ""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fault = Fault(source, _line_of(error), "", f"not TOML: {_first_line(error)}")
        raise ManifestError(source, [fault]) from error
    except RecursionError as error:
        fault = Fault(source, None, "", "arrays or tables within one another too deep to be read")
        raise ManifestError(source, [fault]) from error
    places = _Places(source, key_lines(text))
    for variable, value in sorted((environ or {}).items()):
        if variable.startswith(PREFIX) and variable not in OF_CLIENTS:
            places.override(values, variable, value)
    _keep_vertex(values, places, environ or {})
    for key, (option, value) in (options or {}).items():
        places.put(values, key, option, value)
    try:
        config = GatewayConfig.model_validate_json(_to_json(values))
    except ValidationError as error:
        faults = [places.fault(details) for details in error.errors(include_url=False)]
        raise ManifestError(source, places.faults + faults) from error
    faults = places.faults + [places.at(*found) for found in impossible(config)]
    if faults:
        raise ManifestError(source, faults)
    return _resolve_paths(config, path)


def _keep_vertex(values: dict[str, Any], places: _Places, environ: Mapping[str, str]) -> None:
    """Take what Vertex AI says by variables; it has the last word, unless it is not meant."""
    http = values.get("http")
    told = vertex_variables(environ)
    if not told or (isinstance(http, dict) and http.get("container") == "sagemaker"):
        return
    for variable, path in told.items():
        text = environ[variable]
        value = _toml_value(text) if path == ("port",) else text
        places.put(values, path, f"${variable}", value)
    places.put(values, ("http", "container"), next(iter(told)), "vertex")


class _Places:
    """Where each value came from: a line of the file, a variable, or an option."""

    def __init__(self, source: str, lines: dict[KeyPath, int]) -> None:
        self.source = source
        self.lines = lines
        self.elsewhere: dict[KeyPath, str] = {}  # what said it instead of the file
        self.faults: list[Fault] = []

    def override(self, values: dict[str, Any], variable: str, text: str) -> None:
        """Put a variable's value into `values`."""
        path: KeyPath = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        self.put(values, path, f"${variable}", _toml_value(text))

    def put(self, values: dict[str, Any], path: KeyPath, who: str, value: Any) -> None:
        """Put what somebody other than the file says into `values`."""
        self.elsewhere[path] = who
        for said in (self.lines, self.elsewhere):  # of a table that is replaced as a whole
            below = [key for key in said if len(key) > len(path) and key[: len(path)] == path]
            for key in below:
                del said[key]
        table = values
        for part in path[:-1]:
            inner = table.setdefault(str(part), {})
            if not isinstance(inner, dict):
                self.faults.append(
                    Fault(
                        who,
                        None,
                        dotted(path),
                        f"`{part}` is not a table of named values",
                        "set an array as a whole",
                    )
                )
                return
            table = inner
        table[str(path[-1])] = value

    def at(self, path: KeyPath, message: str, hint: str | None) -> Fault:
        """A fault at the deepest part of `path` whose place is known."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.elsewhere:
                return Fault(self.elsewhere[path[:length]], None, dotted(path), message, hint)
            if path[:length] in self.lines:
                line = self.lines[path[:length]]
                return Fault(self.source, line, dotted(path), message, hint)
        return Fault(self.source, None, dotted(path), message, hint)

    def fault(self, details: ErrorDetails) -> Fault:
        """A validation error in our words."""
        # The discriminator of `[[engines]]` puts its tag into the location: engines, 0, "local", …
        path: KeyPath = tuple(
            part
            for index, part in enumerate(details["loc"])
            if not (index == 2 and details["loc"][0] == "engines" and part in _ENGINE_KINDS)
        )
        if details["type"] == "extra_forbidden":
            return self.at(path, "unknown key", _nearest(path, details["loc"]))
        message = details["msg"].removeprefix("Value error, ").removesuffix(".")
        if details["type"] == "missing":
            return self.at(path, "is required and missing", None)
        got = details["input"]
        shown = "" if isinstance(got, dict | list) else f", got `{got}`"
        return self.at(path, message[:1].lower() + message[1:] + shown, None)


def _nearest(path: KeyPath, location: KeyPath) -> str | None:
    """A hint naming the key that was probably meant, from the table at `location`."""
    model: Any = GatewayConfig
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        if part in _ENGINE_KINDS:
            model = _ENGINE_KINDS[part]
        elif part != "engines":
            model = model.model_fields[part].annotation
            model = model if isinstance(model, type) else model.__args__[0]
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return None
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _to_json(values: dict[str, Any]) -> bytes:
    # Strict validation of JSON takes an array for a tuple and nothing else that strict refuses.
    return to_json(values)


def _resolve_paths(config: GatewayConfig, path: Path | None) -> GatewayConfig:
    folder = path.absolute().parent if path else Path.cwd()
    keys = tuple(str(folder / key) for key in config.trust.public_keys)
    template = config.jobs.template and str(folder / config.jobs.template)
    engines = tuple(
        engine.below(folder) if isinstance(engine, ElsewhereTable) else engine
        for engine in config.engines
    )
    return config.model_copy(
        update={
            "trust": config.trust.model_copy(update={"public_keys": keys}),
            "jobs": config.jobs.model_copy(update={"template": template}),
            # A copy does not mark a field as set, and whether it was decides what is derived.
            **({"engines": engines} if "engines" in config.model_fields_set else {}),
        }
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(
            f"`{path}` does not exist", hint="start from docs/reference/gateway.example.toml"
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError(str(path), [Fault(str(path), None, "", "not UTF-8 text")]) from error
    except OSError as error:
        what = f"cannot be read: {error.strerror or type(error).__name__}"
        raise ManifestError(str(path), [Fault(str(path), None, "", what)]) from error


def _line_of(error: tomllib.TOMLDecodeError) -> int | None:
    match = re.search(r"line (\d+)", str(error))
    return int(match[1]) if match else None


def _first_line(error: Exception) -> str:
    message = str(error).splitlines()[0].removesuffix(".")
    return message[:1].lower() + message[1:]
