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
    file = config_file()
    if as_json:
        table = {key: {"value": value, "from": source} for key, value, source in rows}
        printing.echo_json({"file": file and str(file), "settings": table})
        return
    said = "none: `HOME` is not set" if file is None else str(file)
    click.echo(f"file: {said}{'' if file is None or file.exists() else ' (not there)'}")
    printing.echo_table(("setting", "value", "from"), rows)
