"""`adapters schema`."""

from __future__ import annotations

import click

from adapterworks.cli import printing


@click.command()
def command() -> None:
    """Print the manifest's JSON Schema.

    \b
    Example:
      adapters schema > adapters.schema.json
      # first line of a manifest, for editors with Taplo:
      #:schema ./adapters.schema.json
    """
    from adapterworks.manifests.schema import manifest_schema

    printing.echo_json(manifest_schema())
