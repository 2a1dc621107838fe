"""`adapters export`: a release in the form of another engine, proved there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.builders.exports import EXPORTS
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.values import WrittenFolder

if TYPE_CHECKING:
    from adapterworks.builders.exports.run import Exported


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(list(EXPORTS)),
    metavar="FORM",
    help=f"One of {', '.join(EXPORTS)}; see `adapters exports`.",
)
@click.option("--type", "type_", help="Number type (f16, q8_0, …; default: the form's first).")
@click.option(
    "--out",
    type=WrittenFolder(files=True),
    help="File or folder to write (default: NAME-vVERSION-FORM-TYPE).",
)
@click.option(
    "--base",
    "base_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="gguf-lora: the base as GGUF to prove it on; written there if it does not exist.",
)
@click.option("--unproved", is_flag=True, help="Write it even if its engine is not installed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str,
    form: str,
    type_: str | None,
    out: Path | None,
    base_file: Path | None,
    unproved: bool,
    as_json: bool,
) -> None:
    """Export a release for another engine, and check it there.

    The target engine loads the file and must reproduce the release: its distributions at the
    fingerprint's positions, greedy answers, the token ids of texts and the chat template's text.
    Otherwise no file is written. The export is recorded in the release's log with its digest and
    proof; `adapters show` lists it.

    \b
    Example:
      adapters export medical --to gguf
      adapters export medical@3 --to gguf --type q8_0 --out medical-q8.gguf
      adapters export medical --to gguf-lora --base smollm2.gguf
      adapters export medical --to merged --type bf16
      adapters export medical --to onnx --type int4
    """
    from adapterworks.builders.exports.run import run_export

    done = run_export(
        ref,
        form,
        registry=app.registry,
        bases=app.bases,
        who=app.settings.who,
        type_=type_,
        out=out,
        base_file=base_file,
        unproved=unproved,
        progress=printing.note,
    )
    if as_json:
        printing.echo_json({"ref": done.ref, "place": str(done.place), **done.to_json()})
        return
    _print(done)


def _print(done: Exported) -> None:
    click.echo(f"exported {done.ref} to {done.place} ({printing.size(done.size)}, {done.type})")
    click.echo(done.digest)
    proof = done.proof
    if proof is None:
        printing.note("not proved: its engine is not installed here")
        return
    base = ""
    if proof.base_divergence is not None:
        base = f"; the base without it {proof.base_divergence:.2g}"
    click.echo(
        f"proved in {proof.engine} ({proof.version}): {proof.divergence:.2g} nats from the release "
        f"over {proof.positions} positions, at most {proof.worst:.2g}{base}; "
        f"{proof.same_answers} of {proof.answers} greedy answers the same; "
        f"it ends at {proof.same_ends} of {proof.ends} tokens that end one; "
        f"tokens of {proof.same_texts} of {proof.texts} texts the same"
    )
    for line in done.remarks():
        printing.note(line)
