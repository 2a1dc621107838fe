"""Options that go with others: what would change nothing is refused, not passed over.

What `--preview`, `--dry-run` and `--check` leave undone is no such thing: the same line without
them is typed next. Neither is `--yes`, to a question that nobody asks.
"""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.core import ParameterSource

from adapterworks.manifests.errors import InvalidInput


def given(names: Iterable[str]) -> list[str]:
    """Those of the options that were typed, as they are called: `--priority`.

    Args:
        names: of the current command's parameters.
    """
    context = click.get_current_context()
    wanted = {*names}
    known = {parameter.name: parameter for parameter in context.command.params}
    if missing := wanted - known.keys():
        raise KeyError(f"`{context.command_path}` has no {', '.join(sorted(missing))}")
    typed = {name for name in wanted if _is_typed(context, name)}
    return [_called(context, parameter) for name, parameter in known.items() if name in typed]


def refuse_unless(goes: bool, names: Iterable[str], of: str, hint: str | None = None) -> None:
    """Refuse options that would change nothing.

    Args:
        goes: whether they count here; then nothing is refused.
        names: of the current command's parameters.
        of: what they are of, for the message: `a place that is named with --on`.
        hint: what to do instead; by default to leave them out.

    Raises:
        InvalidInput: one was typed.
    """
    if goes:
        return
    if found := given(names):
        listed = ", ".join(f"`{name}`" for name in found)
        verb = "is" if len(found) == 1 else "are"
        raise InvalidInput(
            f"{listed} would change nothing: {'it' if len(found) == 1 else 'they'} {verb} of {of}",
            hint=hint or f"leave {'it' if len(found) == 1 else 'them'} out",
        )


def _called(context: click.Context, parameter: click.Parameter) -> str:
    """`--public` of `--private/--public`, if that was typed."""
    if not isinstance(parameter, click.Option):
        return parameter.human_readable_name
    turned_off = parameter.secondary_opts and context.params.get(parameter.name or "") is False
    return parameter.secondary_opts[0] if turned_off else parameter.opts[0]


def _is_typed(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE
