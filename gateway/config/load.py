"""`gateway.toml` + environment → a `GatewayConfig`, or every fault at once with file, line and key.

A variable overrides the file: `ADAPTERS_GATEWAY_PORT=9000`, and with two underscores between the
parts of a path, `ADAPTERS_GATEWAY_RESIDENCY__MAX_LORAS=8`. Its value is read as a TOML value, and
as a plain string when it is none. Tables in arrays (`[[engines]]`) are set as a whole:
`ADAPTERS_GATEWAY_ENGINES='[{url = "http://gpu-1:8000", base = "llama-3-8b"}]'`.

Vertex AI's own variables (AIP_HTTP_PORT, …) come before all of them.

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
from adapterworks.gateway.config.tables import GatewayConfig, is_loopback
from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.faults import Fault, ManifestError
from adapterworks.manifests.lines import key_lines

PREFIX = "ADAPTERS_GATEWAY_"
KeyPath = tuple[str | int, ...]
_ENGINE_KINDS = {"local": LocalEngine, "remote": RemoteEngine, "found": FoundEngines}


def load_gateway_config(
    path: Path | None = None, environ: Mapping[str, str] | None = None
) -> GatewayConfig:
    """Read `path` (None: defaults only), apply the environment, validate.

    Raises:
        NotFound: `path` does not exist.
        ManifestError: there are faults; all of them are in `.faults`.
    """
    source = str(path) if path else "the environment"
    text = _read(path) if path else ""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fault = Fault(source, _line_of(error), "", f"not TOML: {_first_line(error)}")
        raise ManifestError(source, [fault]) from error
    places = _Places(source, key_lines(text))
    for variable, value in sorted((environ or {}).items()):
        if variable.startswith(PREFIX):
            places.override(values, variable, value)
    _keep_vertex(values, places, environ or {})
    try:
        config = GatewayConfig.model_validate_json(_to_json(values))
    except ValidationError as error:
        faults = [places.fault(details) for details in error.errors(include_url=False)]
        raise ManifestError(source, places.faults + faults) from error
    faults = places.faults + [places.at(*found) for found in _impossible(config)]
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
        places.put(values, path, variable, _toml_value(text) if path == ("port",) else text)
    places.put(values, ("http", "container"), next(iter(told)), "vertex")


def _impossible(config: GatewayConfig) -> list[tuple[KeyPath, str, str]]:
    """Combinations that are individually valid but jointly impossible: path, message, hint."""
    found: list[tuple[KeyPath, str, str]] = []
    if not config.engines:
        found.append((("engines",), "is empty", "add an `[[engines]]` table or leave it out"))
    if config.open and not is_loopback(config.host):
        found.append(
            (
                ("open",),
                f"`open = true` would let anyone who reaches `{config.host}` in without a key",
                "set `host` to `127.0.0.1`, or add tenants with `adapters tenant add`",
            )
        )
    if config.trust.require_signature and not config.trust.public_keys:
        found.append(
            (
                ("trust", "require_signature"),
                "signatures are required but no key is trusted",
                "name the signers' public keys in `trust.public_keys`",
            )
        )
    if config.residency.max_cpu_loras < config.residency.max_loras:
        found.append(
            (
                ("residency", "max_cpu_loras"),
                f"is below `max_loras` ({config.residency.max_loras}): the engine refuses that",
                "set it to `max_loras` or more",
            )
        )
    if len(config.residency.pins) >= config.residency.max_cpu_loras:
        found.append(
            (
                ("residency", "pins"),
                f"{len(config.residency.pins)} pins leave no room for any other adapter "
                f"(`max_cpu_loras` is {config.residency.max_cpu_loras})",
                "pin fewer adapters or raise `max_cpu_loras`",
            )
        )
    for key in ("health_route", "predict_route"):
        if getattr(config.http, key) is not None and config.http.container != "vertex":
            meant = "set `container` to `vertex`, or leave it out"
            found.append((("http", key), "is a path of Vertex AI's contract", meant))
    if config.http.container_key_env is not None and config.http.container is None:
        meant = "set `container` to `sagemaker` or `vertex`, or leave it out"
        found.append((("http", "container_key_env"), "is of no platform", meant))
    urls = [_same(engine.url) for engine in config.engines if isinstance(engine, RemoteEngine)]
    for index, engine in enumerate(config.engines):
        if isinstance(engine, RemoteEngine) and urls.count(_same(engine.url)) > 1:
            found.append(
                (
                    ("engines", index, "url"),
                    f"`{engine.url}` is listed twice",
                    "list each engine once",
                )
            )
    return found


def _same(url: str) -> str:
    """An address without what does not matter."""
    return url.rstrip("/").lower()


class _Places:
    """Where each value came from: a line of the file, or a variable."""

    def __init__(self, source: str, lines: dict[KeyPath, int]) -> None:
        self.source = source
        self.lines = lines
        self.variables: dict[KeyPath, str] = {}
        self.faults: list[Fault] = []

    def override(self, values: dict[str, Any], variable: str, text: str) -> None:
        """Put a variable's value into `values`."""
        path: KeyPath = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        self.put(values, path, variable, _toml_value(text))

    def put(self, values: dict[str, Any], path: KeyPath, variable: str, value: Any) -> None:
        """Put what a variable says into `values`."""
        self.variables[path] = variable
        table = values
        for part in path[:-1]:
            inner = table.setdefault(str(part), {})
            if not isinstance(inner, dict):
                self.faults.append(
                    Fault(
                        f"${variable}",
                        None,
                        _dotted(path),
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
            if path[:length] in self.variables:
                variable = self.variables[path[:length]]
                return Fault(f"${variable}", None, _dotted(path), message, hint)
            if path[:length] in self.lines:
                line = self.lines[path[:length]]
                return Fault(self.source, line, _dotted(path), message, hint)
        return Fault(self.source, None, _dotted(path), message, hint)

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


def _line_of(error: tomllib.TOMLDecodeError) -> int | None:
    match = re.search(r"line (\d+)", str(error))
    return int(match[1]) if match else None


def _first_line(error: Exception) -> str:
    message = str(error).splitlines()[0].removesuffix(".")
    return message[:1].lower() + message[1:]


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
