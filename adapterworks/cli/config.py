"""`adapters config`: where each setting comes from, and the file that keeps some of them."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, as_json: bool) -> None:
    """Show the settings and where each comes from.

    Settings are environment variables (`ADAPTERS_HOME`), or keys of the file that is printed first
    (`home = "~/adapters"`); a variable comes first. Values with a password are not shown whole.

    \b
    Example:
      adapters config
      mkdir -p ~/.config/adapterworks
      echo 'database = "postgresql://ann@db/adapters"' > ~/.config/adapterworks/config.toml
    """
    from adapterworks.crash import without_passwords
    from adapterworks.settings import config_file, origins

    rows = [
        (origin.key, without_passwords(str(origin.value)), origin.source)
        for origin in origins(app.settings)
    ]
    if as_json:
        table = {key: {"value": value, "from": source} for key, value, source in rows}
        printing.echo_json({"file": str(config_file()), "settings": table})
        return
    click.echo(f"file: {config_file()}{'' if config_file().exists() else ' (not there)'}")
    printing.echo_table(("setting", "value", "from"), rows)
