"""The command tree: a closed table from command to module, loaded when a command is used.

`adapters --help` needs each command's one line only, so that lives here; the module's own help is
checked against it by a test.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
from typing import NoReturn

import click

from adapterworks import __version__
from adapterworks.app import App
from adapterworks.cli.suggesting import Suggesting
from adapterworks.errors import exit_code, of_click, render, set_color, wants_color
from adapterworks.extras import extra_of, missing, require
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.registry.bases.threads import waiting
from adapterworks.termination import closing_on_sigterm

# command → (module[:attribute], one line); grouped as they are shown.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Declare": {
        "init": ("init", "Write a manifest for a file of your data."),
        "validate": ("validate", "Check manifests and report every fault at once."),
        "plan": ("plan", "Show what a build would do: steps, memory, time, servability."),
        "schema": ("schema", "Print the manifest's JSON Schema."),
        "data": (
            "data",
            "Inspect a manifest's data; generate rows from failures, documents or principles.",
        ),
        "dataset": ("dataset", "Manage versioned datasets with owners and sealed test sets."),
        "base": ("base", "List, add and show base models."),
    },
    "Build": {
        "try": ("try_", "Train a few steps and compare answers of base and adapter."),
        "build": ("build", "Train, evaluate, convert and publish an adapter."),
        "apply": ("apply", "Build, promote and load what a folder of manifests declares."),
        "status": (
            "status",
            "Compare a folder of manifests with what is built and served.",
        ),
        "rebase": ("rebase", "Build adapters on a new base and promote what survives."),
        "samples": (
            "samples",
            "Show what a training sampled: prompts, answers and rewards, newest last.",
        ),
        "eval": ("evaluate", "Evaluate a release against another on the same rows."),
        "watch": ("watch", "Watch an alias: is its release worse than the one before it?"),
        "review": (
            "review",
            "Let people compare two releases blind, and gate aliases on the outcome.",
        ),
        "merge": ("merge", "Merge adapters of one base into one."),
        "export": ("export", "Export a release for another engine, and check it there."),
        "compare": ("compare", "Train one task with several methods and compare them."),
        "sweep": ("sweep", "Train one task with many settings and find the best that holds up."),
        "worker": ("worker", "Run queued jobs on this machine, one at a time."),
        "jobs": ("jobs", "List, show, pause, resume and cancel queued jobs."),
    },
    "List what is available": {
        "methods": ("tables:methods", "List the fine-tuning methods and their defaults."),
        "objectives": (
            "tables:objectives",
            "List the training objectives.",
        ),
        "metrics": ("tables:metrics", "List the metrics a manifest can name."),
        "gates": ("tables:gates", "List the data gates and the kinds of quality gates."),
        "formats": ("tables:formats", "List the formats that data rows can have."),
        "recipes": (
            "tables:recipes",
            "List the recipes: built-in data that a manifest names as NAME:train.",
        ),
        "suites": ("tables:suites", "List the suites that measure what the base forgot."),
        "trackers": ("tables:trackers", "List the experiment trackers and the package of each."),
        "exports": ("tables:exports", "List the export formats."),
        "optimizers": ("tables:optimizers", "List the optimizers."),
        "schedules": ("tables:schedules", "List the learning-rate schedules."),
        "merge-rules": (
            "tables:merge_rules",
            "List the rules for merging adapters.",
        ),
    },
    "Registry": {
        "list": ("listing", "List adapters, versions and aliases."),
        "search": ("search", "Search releases by name, text, tag, base or method."),
        "show": ("show", "Show one release."),
        "diff": ("diff", "Compare two releases."),
        "lineage": ("lineage", "Show where a release came from."),
        "log": ("log", "Show the history of an alias or a name."),
        "promote": ("promote", "Move an alias to a version."),
        "rollback": ("rollback", "Move an alias back to where it was."),
        "tag": ("tag", "Add tags to a release, or remove them."),
        "deprecate": ("deprecate", "Mark a release as no longer to be used."),
        "delete": ("delete", "Delete a version, leaving a tombstone."),
        "erase": ("erase", "Erase a file's bytes, keeping its digest."),
        "gc": ("gc", "Remove bytes that are no longer needed."),
        "registry": ("registry", "Back up, restore and rebuild the index; serve it to others."),
        "login": (
            "login",
            "Log in to a registry's server with its issuer (OpenID Connect).",
        ),
        "logout": ("login:logout", "Forget the login to a registry's server."),
        "verify": ("verify", "Check bytes, records and signatures."),
        "sign": ("sign", "Sign a release record."),
        "import": (
            "import_",
            "Import an adapter trained elsewhere, or another program's configuration.",
        ),
        "push": ("push", "Push a release to the Hugging Face Hub or to an OCI registry."),
        "pull": ("pull", "Pull a release from the Hub, an OCI registry, or this registry."),
        "cp": ("cp", "Copy a release from one place to another."),
    },
    "Serve": {
        "serve": ("serve", "Serve adapters and their base, OpenAI-compatible."),
        "chat": ("chat", "Ask one or several adapters a question from the terminal."),
        "ps": ("ps", "Show engines and resident adapters."),
        "tenant": ("tenant", "Manage tenants, their keys and limits."),
        "feedback": (
            "feedback",
            "Show, add and export feedback on answers.",
        ),
        "webhook": (
            "webhook",
            "Send webhooks about jobs, gates and aliases, and see what was sent.",
        ),
        "usage": ("usage", "Report metered tokens per tenant, adapter and day."),
        "doctor": ("doctor", "Check this machine and say what would make it faster."),
        "config": ("config", "Show the settings and where each comes from."),
        "completion": ("completion", "Print the completion script of a shell."),
    },
}
# command → the extra without which it can do nothing; others say so when they come to it.
EXTRAS = {
    **dict.fromkeys(
        (
            *("plan", "data", "dataset", "build", "apply", "status", "rebase"),
            *("eval", "watch", "review", "merge", "compare", "sweep"),
            "worker",
            "init",
            "try",
        ),
        "build",
    ),
    "serve": "serve",
}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class CommandTree(Suggesting):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        imported = importlib.import_module(f"adapterworks.cli.{module}")
        command: click.Command = getattr(imported, attribute or "command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Ask for the command's extra before anything is done; its help is there without it."""
        name, command, rest = super().resolve_command(ctx, args)
        asks_for_help = not {*rest}.isdisjoint(ctx.help_option_names)
        if name in EXTRAS and not asks_for_help and not ctx.resilient_parsing:
            require(EXTRAS[name], f"`adapters {name}`")
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, line) for name, (_, line) in commands.items()])


@click.group(cls=CommandTree, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="adapters")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
@click.option("-v", "--verbose", is_flag=True, help="Print log lines, and tracebacks of errors.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="When to use colours; `NO_COLOR` means never.",
)
@click.pass_context
def cli(ctx: click.Context, quiet: bool, verbose: bool, color: str) -> None:
    """Declare, build, publish and serve fine-tuned adapters.

    \b
    Example:
      adapters validate medical.toml
      adapters build medical --profile quick
      adapters serve --open
      adapters chat medical "Give the ICD-10-CM category for: amebic balanitis"
    """
    set_color(color)
    ctx.color = wants_color()
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    app = ctx.obj = App(quiet=quiet, verbose=verbose)
    ctx.call_on_close(app.close)


def main() -> None:
    """The `adapters` command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What was done is not to fail on a terminal that has no letter for saying so.
        sys.stdout.reconfigure(errors="backslashreplace")
    os.environ.update(waiting(os.environ))  # of what a command computes itself
    try:
        with closing_on_sigterm():
            _run()
    except Exception as error:  # the last handler: no trace is anybody's answer
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    """One line and an exit code; what nobody expected is in a report besides."""
    from adapterworks import crash
    from adapterworks.settings import Settings

    if isinstance(error, BrokenPipeError):  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        sys.exit(1)
    if "-v" in sys.argv or "--verbose" in sys.argv:
        crash.show_trace(error)
    known = crash.expected(error)
    if known is None:
        home = None
        with contextlib.suppress(Exception):  # settings may be what failed
            home = Settings.from_environment().home
        render(crash.told(error, crash.report(error, sys.argv[1:], home)))
        sys.exit(crash.EXIT_CODE)
    render(known)
    sys.exit(exit_code(known))


def _run() -> None:
    if "_ADAPTERS_COMPLETE" in os.environ:
        from adapterworks.cli.bash import register

        register()
    try:
        # Without standalone mode click returns the code that `Context.exit` was given.
        code = cli(prog_name="adapters", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:  # a group alone: what it can do
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        render(of_click(error))
        sys.exit(error.exit_code)
    except AdapterworksError as error:
        render(error)
        sys.exit(exit_code(error))
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None:
            raise  # to `_fail`
        absent = missing(extra, "this command", [error.name or ""])
        render(absent)
        sys.exit(exit_code(absent))
    if isinstance(code, int):
        sys.exit(code)
