"""`adapters import`: an adapter trained elsewhere becomes a release here.

What other programs are configured by becomes a manifest: `import_config.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.import_config import config_command
from adapterworks.cli.import_openai import command as openai
from adapterworks.cli.values import ALIAS, NAME
from adapterworks.extras import require
from adapterworks.manifests.homes import expanded
from adapterworks.manifests.importing import PROGRAMS

if TYPE_CHECKING:
    from adapterworks.registry.bases.base import Base
    from adapterworks.registry.imports.publish import Imported
    from adapterworks.registry.releases.release import Servable


class _Group(click.Group):
    """Its first argument is one of its commands, or else what `adapter` imports. A folder may be
    called as a command is: `adapter`, as training programs call it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        if args and args[0] not in ctx.help_option_names:
            named = args[0] in self.commands
            if not named or (_is_adapter(Path(args[0])) and not self._given(ctx, args[1:])):
                args = ["adapter", *args]
        return super().parse_args(ctx, args)

    def _given(self, ctx: click.Context, args: list[str]) -> bool:
        """Whether a source stands among the arguments of `adapter`."""
        try:
            given, _, _ = self.commands["adapter"].make_parser(ctx).parse_args([*args])
        except click.UsageError:
            return True  # which it will say itself
        return isinstance(given.get("source"), str)


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


@click.group("import", cls=_Group)
def command() -> None:
    """Import an adapter trained elsewhere, or another program's configuration.

    \b
    Example:
      adapters import ./my-lora --as support --base smollm2-135m-instruct
      adapters import llama-factory train.yaml
      adapters import openai --files export
    """


@command.command("adapter")
@click.argument("source")
@click.option("--as", "name", required=True, type=NAME, help="The adapter's name here.")
@click.option("--base", required=True, help="The base it was trained on (`adapters base list`).")
@click.option(
    "--quantization",
    type=click.Choice(["none", "nf4"]),
    default="none",
    show_default=True,
    help="How the base was quantized in its training.",
)
@click.option("--alias", type=ALIAS, help="Point this alias to it.")
@click.option("--rename", is_flag=True, help="Map tensor names with a known wrong prefix.")
@click.option("--fingerprint", is_flag=True, help="Record what it answers, so serving is proved.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def adapter(
    app: App,
    source: str,
    name: str,
    base: str,
    quantization: str,
    alias: str | None,
    rename: bool,
    fingerprint: bool,
    as_json: bool,
) -> None:
    """Import an adapter trained elsewhere; `adapters import SOURCE` is the same.

    SOURCE is a PEFT folder, or hub:org/name@revision. Only safetensors is read; the header, the
    config, every shape against the base and every value are checked first, and nothing is ever
    unpickled or run. A branch or tag is pinned to its commit.

    With --fingerprint the checked adapter is loaded once on its base, and the gateway then proves
    before its first use that the engine answers the same. Without one it is not served, unless the
    gateway's `trust.proof` is "warn" or "off".

    \b
    Example:
      adapters import ./my-lora --as support --base smollm2-135m-instruct
      adapters import hub:org/support-lora@main --as support --base smollm2-135m-instruct
    """
    if fingerprint:
        require("build", "`adapters import --fingerprint`")
    imported = run_import(
        app,
        source,
        name=name,
        base=base,
        quantization=quantization,
        alias=alias,
        rename=rename,
        fingerprint=fingerprint,
    )
    warn(app, imported)
    _print(imported, as_json)


def run_import(
    app: App,
    source: str,
    *,
    name: str,
    base: str,
    quantization: str = "none",
    alias: str | None = None,
    rename: bool = False,
    fingerprint: bool = False,
) -> Imported:
    """Import a folder or a Hub repository; what is fetched is gone afterwards."""
    from adapterworks.manifests.errors import NotFound
    from adapterworks.manifests.refs import check_alias, check_name
    from adapterworks.registry.imports.publish import Origin, import_adapter
    from adapterworks.registry.releases.scratch import scratch_folder

    check_name(name)
    folder = expanded(source)
    if not source.startswith("hub:") and not folder.is_dir():
        raise NotFound(
            f"there is no folder `{folder}`", hint="name a PEFT folder, or hub:org/name@…"
        )
    if alias is not None:
        check_alias(alias)
        app.registry.protection.require_movable(name, alias)
    scratch = app.settings.home / "tmp"
    with scratch_folder(scratch, "fetch") as fetched:
        if source.startswith("hub:"):
            from adapterworks.registry.remotes.hub.client import Hub
            from adapterworks.registry.remotes.hub.fetch import fetch_adapter
            from adapterworks.registry.remotes.hub.names import parse_source

            hub, wanted = Hub(), parse_source(source)
            state = hub.state(wanted)
            if not wanted.is_commit:
                printing.note(f"{wanted} is commit {state.commit}")
            adapter = fetch_adapter(hub, state, fetched)
            folder, origin = adapter.folder, adapter.origin
        else:
            origin = Origin(source=f"folder {folder.absolute().name}")
        prepared = app.base(
            base,
            quantization=quantization,
            what="importing for a base that is not prepared",
            say=printing.note,
        )
        return import_adapter(
            app.registry,
            prepared,
            folder,
            name=name,
            origin=origin,
            scratch=scratch,
            who=app.settings.who,
            alias=alias,
            rename=rename,
            fingerprint=_fingerprint if fingerprint else None,
        )


def warn(app: App, imported: Imported) -> None:
    """Say what is as it should not be expected of an adapter that was imported."""
    from adapterworks.registry.imports.errors import show

    checked = imported.checked
    release = app.registry.release(imported.published.digest)
    if release.servable is not None and "fingerprint.json" not in release.files:
        app.note(
            "without `--fingerprint` it cannot be proved: a gateway serves it only under "
            '`trust.proof = "warn"` or "off"'
        )
    for old, new in checked.layout.renamed:
        app.note(f"renamed {old} to {new}")
    trained_on = checked.config.base_model_name_or_path
    if trained_on and trained_on != imported.base:
        app.note(f"its config names the base {show(str(trained_on))}, imported for {imported.base}")
    for note in checked.notes:
        app.note(note)
    if checked.ignored:
        app.note(f"ignored {', '.join(checked.ignored)}")
    if checked.config.use_dora:
        app.note("DoRA: kept as it is; the engine does not load it")


def _fingerprint(base: Base, folder: Path, servable: Servable) -> bytes:
    """`fingerprint.json` of a servable form on the values its base is served with."""
    from adapterworks.registry.bases.quiet import quiet_libraries

    quiet_libraries()
    from transformers import AutoTokenizer

    from adapterworks.builders.evaluation.fingerprint import make_fingerprint
    from adapterworks.builders.evaluation.served_model import ServedModel
    from adapterworks.manifests.digests import canonical_json
    from adapterworks.registry.bases.complete import require_complete

    require_complete(base.checkpoint)
    value = make_fingerprint(
        ServedModel(base.served, folder, servable),
        AutoTokenizer.from_pretrained(base.checkpoint),
        [],
        base_digest=base.digest,
        template_digest=base.template_digest,
    )
    return canonical_json(value) + b"\n"


def _print(imported: Imported, as_json: bool) -> None:
    published, checked = imported.published, imported.checked
    if as_json:
        values = {
            "name": published.name,
            "version": published.version,
            "digest": published.digest,
            "created": published.created,
            "source": imported.source,
            "rank": checked.rank,
            "target_modules": checked.target_modules,
            "servable": not checked.config.use_dora,
            "renamed": dict(checked.layout.renamed),
            "ignored": checked.ignored,
            "notes": checked.notes,
        }
        printing.echo_json(values)
        return
    done = "imported" if published.created else "already here:"
    click.echo(
        f"{done} {published.name}@{published.version} (LoRA of rank {checked.rank} on "
        f"{len(checked.layout.modules)} modules) from {imported.source}"
    )


for _program in PROGRAMS:
    command.add_command(config_command(_program))
command.add_command(openai)
