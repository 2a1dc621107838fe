"""`adapters base`: the base models that adapters are trained on and served with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing

if TYPE_CHECKING:
    from adapterworks.registry.bases.base import Base
    from adapterworks.registry.bases.store import BaseSource


@click.group()
def command() -> None:
    """List, add and show base models.

    \b
    Example:
      adapters base list
      adapters base add llama2-7b hub:meta-llama/Llama-2-7b-hf@main
      adapters base show smollm2-135m-instruct --quantization nf4
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(app: App, as_json: bool) -> None:
    """List known base models, and which are prepared on this machine."""
    sources = app.bases.sources()
    if as_json:
        printing.echo_json([_source_json(source) for source in sources])
        return
    rows = []
    for source in sources:
        prepared = ", ".join(f"{b.quantization} {b.digest[:19]}" for b in source.prepared)
        rows.append((source.name, source.model, prepared or "on first use"))
    printing.echo_table(("name", "source", "prepared"), rows)
    for error in app.bases.changed():
        printing.note(f"not listed: {printing.harmless(error.message)}")


@command.command()
@click.argument("name")
@click.argument("source")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def add(app: App, name: str, source: str, as_json: bool) -> None:
    """Register a Hub model (hub:org/name@revision) or a local folder.

    A branch or tag is pinned to its current commit.

    \b
    Example:
      adapters base add codellama-34b hub:codellama/CodeLlama-34b-hf@main
      adapters base add ours ./checkpoints/ours
    """
    entry = app.bases.add(name, source)
    if as_json:
        printing.echo_json(_source_json(entry))
    else:
        click.echo(f"{entry.name} = {entry.model}")


@command.command()
@click.argument("model")
@click.option("--quantization", type=click.Choice(["none", "nf4"]), default="none")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(app: App, model: str, quantization: str, as_json: bool) -> None:
    """Show a base model: source, revision, digest and folders; prepares it if needed.

    \b
    Example:
      adapters base show smollm2-135m-instruct --quantization nf4 --json
    """
    base = app.base(
        model,
        quantization=quantization,
        what="`adapters base show` of a base that is not prepared",
        say=printing.note,
    )
    values = _base_json(base)
    if as_json:
        printing.echo_json(values)
        return
    for key, value in values.items():
        click.echo(f"{key:<20} {value}")


def _base_json(base: Base) -> dict[str, Any]:
    return {
        "name": base.name,
        "model": base.model,
        "revision": base.revision,
        "quantization": base.quantization,
        "double_quantization": base.double_quantization,
        "digest": base.digest,
        "checkpoint": str(base.checkpoint),
        "served": str(base.served),
    }


def _source_json(source: BaseSource) -> dict[str, Any]:
    return {
        "name": source.name,
        "model": source.model,
        "embedded": source.embedded,
        "prepared": [_base_json(base) for base in source.prepared],
    }
