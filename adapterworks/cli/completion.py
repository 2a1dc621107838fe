"""`adapters completion`: what a shell needs to complete commands, options and names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from adapterworks.manifests.errors import AdapterworksError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from adapterworks.registry.registry import Registry

SHELLS = ("bash", "zsh", "fish")
_MOST = 200


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    Commands, options, manifests, adapters, their versions (`medical@`) and aliases (`medical:`) are
    completed.

    \b
    Example:
      adapters completion bash > ~/.local/share/bash-completion/completions/adapters
      adapters completion zsh > "${fpath[1]}/_adapters"
      adapters completion fish > ~/.config/fish/completions/adapters.fish
    """
    from click.shell_completion import get_completion_class

    from adapterworks.cli.bash import register
    from adapterworks.cli.main import cli

    register()
    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(cli, {}, "adapters", "_ADAPTERS_COMPLETE").source())


def complete_ref(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Adapters; after `@` a name's versions, after `:` its aliases."""
    return [ref for ref in _asked(_refs, incomplete) if ref.startswith(incomplete)]


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Adapters."""
    return [name for name in _asked(_names, incomplete) if name.startswith(incomplete)]


def complete_manifest(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Manifests by their name, this folder's first; files, where no name begins so."""
    from click.shell_completion import CompletionItem

    from adapterworks.manifests.document import manifest_names

    found = [name for name in manifest_names() if name.startswith(incomplete)]
    if found:
        return [CompletionItem(name) for name in found]
    return [CompletionItem(incomplete, type="file")]


def _asked(find: Callable[[Registry, str], list[str]], incomplete: str) -> list[str]:
    """What a registry has; nothing, if it cannot be asked: a shell wants no error at a key."""
    from adapterworks.app import App

    try:
        app = App()
        if not app.has_registry:  # a key that is pressed makes none
            return []
        try:
            return find(app.registry, incomplete)
        finally:
            app.close()
    except (AdapterworksError, OSError):
        return []


def _refs(registry: Registry, incomplete: str) -> list[str]:
    name, separator, _ = incomplete.partition("@" if "@" in incomplete else ":")
    if separator == "@":
        return [f"{name}@{row.version}" for row in registry.versions(name, limit=_MOST)]
    if separator == ":":
        return sorted({f"{name}:{move.alias}" for move in registry.history(name)})
    return _names(registry, incomplete)


def _names(registry: Registry, incomplete: str) -> list[str]:
    return [row.name for row in registry.names(limit=_MOST)]
