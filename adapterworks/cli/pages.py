"""Help pages of the commands: `python -m adapterworks.cli.pages > docs/reference/cli.md`.

A test holds docs/reference/cli.md equal to what this prints.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from adapterworks.cli.main import SECTIONS, cli

WIDTH = 100


def pages() -> str:
    """The whole of docs/reference/cli.md."""
    lines = [
        "# `adapters`",
        "",
        "Made by `python -m adapterworks.cli.pages > docs/reference/cli.md`.",
        "",
        "Variables and the file of settings are in [environment](environment.md), what a script "
        "can tell by in [exit codes](exit-codes.md).",
        "",
    ]
    shown = {**cli.context_settings, "terminal_width": WIDTH}
    with click.Context(cli, info_name="adapters", **shown) as root:
        for section, commands in SECTIONS.items():
            lines += [f"## {section}", ""]
            for name in commands:
                command = cli.get_command(root, name)
                assert command is not None
                for context in _walk(command, name, root):
                    lines += [f"### `{context.command_path}`", "", "```text"]
                    lines += [context.get_help().rstrip(), "```", ""]
    return "\n".join(lines)


def _walk(command: click.Command, name: str, parent: click.Context) -> Iterator[click.Context]:
    with click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH) as context:
        yield context
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                sub = command.get_command(context, child)
                assert sub is not None
                yield from _walk(sub, child, context)


if __name__ == "__main__":
    click.echo(pages(), nl=False)
