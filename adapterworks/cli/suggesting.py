"""The group of all commands says what may have been meant by one that it has not."""

from __future__ import annotations

import click


class Suggesting(click.Group):
    """Other programs' words for a command count, besides mistyped ones."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with a suggestion."""
        name = args[0]
        if not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            import difflib

            known = self.list_commands(ctx)
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            if ALIKE.get(name) in known:
                near = [ALIKE[name]]
            meant = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{name}'.{meant}")
        return super().resolve_command(ctx, args)


# What these are called by programs that people know.
ALIKE = {
    "ls": "list",
    "rm": "delete",
    "inspect": "show",
    "history": "log",
    "run": "chat",
    "train": "build",
    "start": "serve",
    "undo": "rollback",
}
