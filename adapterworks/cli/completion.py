"""`adapters completion`: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import click

from adapterworks.manifests.errors import AdapterworksError

SHELLS = ("bash", "zsh", "fish")
_MOST = 200


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    Commands, options, adapters, versions and aliases are completed.

    \b
    Example:
      adapters completion bash > ~/.local/share/bash-completion/completions/adapters
      adapters completion zsh > "${fpath[1]}/_adapters"
      adapters completion fish > ~/.config/fish/completions/adapters.fish
    """
    from click.shell_completion import get_completion_class

    from adapterworks.cli.main import cli

    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(cli, {}, "adapters", "_ADAPTERS_COMPLETE").source())


def complete_ref(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Adapters; after `@` a name's versions, after `:` its aliases."""
    from adapterworks.app import App

    app = App()
    try:
        registry = app.registry
        name, separator, _ = incomplete.partition("@" if "@" in incomplete else ":")
        if separator == "@":
            rows = registry.versions(name, limit=_MOST)
            found = [f"{name}@{row.version}" for row in rows]
        elif separator == ":":
            moves = registry.history(name)
            found = sorted({f"{name}:{move.alias}" for move in moves})
        else:
            found = [row.name for row in registry.names(limit=_MOST)]
    except AdapterworksError:  # nothing to complete from
        return []
    finally:
        app.close()
    return [ref for ref in found if ref.startswith(incomplete)]
