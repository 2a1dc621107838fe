"""Help pages made from the command tree: `python -m adapterworks.cli.pages > docs/cli.md`.

A test holds docs/cli.md equal to what this prints.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from adapterworks import crash, settings
from adapterworks.cli.main import SECTIONS, cli
from adapterworks.errors import EXIT_CODES
from adapterworks.manifests.errors import AdapterworksError

WIDTH = 100


def pages() -> str:
    """The whole of docs/cli.md."""
    lines = [
        "# `adapters`",
        "",
        "Made by `python -m adapterworks.cli.pages > docs/cli.md`.",
        "",
        *_settings(),
        *_exit_codes(),
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


def _settings() -> list[str]:
    """The environment, in the words of `settings.py`."""
    text = (settings.__doc__ or "").strip().partition("\n\n")[2]
    return ["## Settings", "", "```text", *text.splitlines(), "```", ""]


def _exit_codes() -> list[str]:
    """What a script can tell by."""
    lines = ["## Exit codes", "", "| code | means |", "|---|---|", "| 0 | done |"]
    for kind, code in sorted(EXIT_CODES.items(), key=lambda item: item[1]):
        meaning = (kind.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        if kind is AdapterworksError:
            meaning = "A gate, a check or one of several failed, or something else did"
        lines.append(f"| {code} | {meaning} |")
    lines += [
        f"| {crash.EXIT_CODE} | A fault of adapterworks itself; a report is in a file |",
        "| 130 | Interrupted |",
        "",
    ]
    return lines


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
