"""`adapters serve`: one gateway and its engines, until Ctrl-C."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.values import POSITIVE
from adapterworks.manifests.errors import InvalidInput
from adapterworks.serving import compose, say_who_gets_in

if TYPE_CHECKING:
    from adapterworks.gateway.config.possible import KeyPath
    from adapterworks.gateway.config.tables import GatewayConfig, LogTable
    from adapterworks.gateway.http.reloading import Source


@click.command()
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default 8080).")
@click.option("--open", "open_", is_flag=True, help="Let anyone in without a key; loopback only.")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A gateway.toml; see docs/reference/gateway.example.toml.",
)
@click.option("--base", help="Serve this base only, by its name in `adapters base list`.")
@click.option(
    "--engine",
    "urls",
    multiple=True,
    metavar="URL",
    help="Use a running vLLM instead of starting one; needs --base. Repeatable.",
)
@click.option("--max-loras", type=POSITIVE, help="Adapters that one batch can mix.")
@click.option("--reload", is_flag=True, help="Reload --config when it changes, without SIGHUP.")
@click.pass_obj
def command(
    app: App,
    host: str | None,
    port: int | None,
    open_: bool,
    path: Path | None,
    base: str | None,
    urls: tuple[str, ...],
    max_loras: int | None,
    reload: bool,
) -> None:
    """Serve adapters and their base, OpenAI-compatible.

    Without a configuration, one engine is started for each base that the registry's aliases and
    newest versions need. Callers need a tenant's key, unless `--open` is given.

    SIGHUP makes a running gateway reload its configuration: limits, pins, shadows, webhooks, the
    default adapter and the log change without a restart; the log lists what needs one. A file with
    an error changes nothing. With --reload the file is watched.

    \b
    Example:
      adapters serve --open
      adapters serve --port 9000 --base smollm2-135m-instruct
      adapters serve --config gateway.toml
    """
    import uvloop

    from adapterworks.gateway.config.load import load_gateway_config
    from adapterworks.gateway.http.reloading import Source
    from adapterworks.gateway.observe.logs import configure_logging

    began = time.monotonic()
    if reload and path is None:
        raise InvalidInput("`--reload` watches a file", hint="add --config gateway.toml")

    options = _options(host, port, open_, max_loras, urls, base)

    def read() -> GatewayConfig:
        return load_gateway_config(path, os.environ, options)

    config = read()
    say_who_gets_in(app, config, _say)
    configure_logging(_log_table(config))

    def on_ready(url: str) -> None:
        _say(f"ready after {time.monotonic() - began:.0f} s")
        click.echo(url)

    source = Source(
        read, path if reload else None, lambda config: configure_logging(_log_table(config))
    )
    uvloop.run(_serve(app, config, base, on_ready, source))


async def _serve(
    app: App,
    config: GatewayConfig,
    base: str | None,
    on_ready: Callable[[str], None],
    source: Source,
) -> None:
    from adapterworks.gateway.http.server import run_gateway

    gateway = compose(app, config, only=base, say=_say)
    await run_gateway(
        gateway, run=app.settings.home / "run", say=_say, on_ready=on_ready, source=source
    )


def _options(
    host: str | None,
    port: int | None,
    open_: bool,
    max_loras: int | None,
    urls: tuple[str, ...],
    base: str | None,
) -> dict[KeyPath, tuple[str, Any]]:
    """What the command line says of the configuration: by key the option and the value."""
    if urls and base is None:
        raise InvalidInput(
            "an engine's URL does not say which base it serves",
            hint="add `--base NAME`, or describe the engines in gateway.toml",
        )
    said: dict[KeyPath, tuple[str, Any]] = {
        ("host",): ("--host", host),
        ("port",): ("--port", port),
        ("open",): ("--open", open_ or None),
        ("residency", "max_loras"): ("--max-loras", max_loras),
        ("engines",): ("--engine", [{"url": url, "base": base} for url in urls] or None),
    }
    return {key: (option, value) for key, (option, value) in said.items() if value is not None}


def _log_table(config: GatewayConfig) -> LogTable:
    """How to log: as configured, else JSON lines, or plain ones for a person at a terminal."""
    if "log" in config.model_fields_set or not sys.stderr.isatty():
        return config.log
    return config.log.model_copy(update={"format": "text"})


def _say(line: str) -> None:
    printing.note(f"serve: {line}")
