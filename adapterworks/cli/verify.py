"""`adapters verify`: bytes, records, index and signatures; repair from another store; rebuild."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import places, printing
from adapterworks.cli.completion import complete_manifest, complete_ref
from adapterworks.extras import require
from adapterworks.manifests.homes import expanded

if TYPE_CHECKING:
    from adapterworks.builders.rebuilding.rebuild import Rebuilt
    from adapterworks.registry.blobs.store import BlobStore
    from adapterworks.registry.lifecycle.verify import VerifyReport


@click.command()
@click.argument("ref", required=False, shell_complete=complete_ref)
@click.option("--all", "everything", is_flag=True, help="Verify every release and the index.")
@click.option(
    "--repair",
    metavar="STORE",
    help="Restore bytes from this folder, s3:// URL or hub:org/name@revision.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Public key; each release must be signed by one of these.",
)
@click.option(
    "--bundle",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A signature file (`adapters sign --bundle`) instead of the signatures kept here.",
)
@click.option(
    "--rebuild", is_flag=True, help="Train REF again and print how far the result is from it."
)
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --rebuild: folder of the files that REF was built from.",
)
@click.option(
    "--manifest",
    "manifest_name",
    shell_complete=complete_manifest,
    help="With --rebuild: manifest whose code files may be run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str | None,
    everything: bool,
    repair: str | None,
    keys: tuple[Path, ...],
    bundle: Path | None,
    rebuild: bool,
    data_dir: Path | None,
    manifest_name: str | None,
    as_json: bool,
) -> None:
    """Check bytes, records and signatures.

    Exits with 5 if something is wrong and was not repaired. Bytes that were withheld from this
    registry or erased in it are listed but are not errors. `--rebuild` also trains an intact
    release again from its own manifest and lock, without publishing, and prints how far weights and
    scores are from it; a base or rows that differ from the lock are refused, also with 5. Code
    files that a release names are not run unless `--manifest` names your manifest beside them, and
    they must be the code that the release was built with.

    REF may be the folder of a pushed release (`./clone`) or a record file: then files and signature
    are checked offline, and `--key` is required.

    \b
    Example:
      adapters verify medical@3 --key release.pub
      adapters verify --all --repair s3://backup/adapters
      adapters verify medical@3 --repair hub:org/medical-lora@v3
      adapters verify medical@3 --rebuild
      adapters verify ./clone --bundle medical-3.sig --key release.pub
    """
    from adapterworks.manifests.errors import IntegrityError, InvalidInput

    if ref is not None and ref.startswith((".", "/", "~")):
        if everything or repair is not None or rebuild or data_dir is not None or manifest_name:
            raise InvalidInput("files are checked against their record and a key, and nothing else")
        _offline(expanded(ref), bundle, keys, as_json=as_json)
        return
    if (ref is None) != everything:
        raise InvalidInput("give a REF or `--all`", hint="adapters verify --all")
    if not rebuild and (data_dir is not None or manifest_name is not None):
        raise InvalidInput(
            "`--data-dir` and `--manifest` are of `--rebuild`", hint="adapters verify REF --rebuild"
        )
    if rebuild and ref is None:
        raise InvalidInput("`--rebuild` trains one release", hint="adapters verify REF --rebuild")
    if bundle is not None:
        if ref is None or not keys:
            raise InvalidInput("`--bundle` is one release's: give REF and `--key`")
        identity = app.registry.signatures.require_bundle(
            app.registry.resolve(app.ref(ref)).digest, bundle.read_text(errors="replace"), keys
        )
        printing.note(f"the bundle is a signature of {ref} by key {identity}")
        keys = ()
    if rebuild:
        require("build", "`adapters verify --rebuild`")
    with _good_bytes(app, repair) as source:
        wanted = None if ref is None else app.look_for(ref)
        report = app.registry.upkeep.verify(wanted, repair_from=source, public_keys=keys)
    left = [problem for problem in report.problems if not problem.repaired]
    again = rebuild and ref is not None and not left
    result = _rebuild(app, str(ref), data_dir, manifest_name, quiet=as_json) if again else None
    if as_json:
        rebuilt = {"rebuild": result.to_json()} if result else {}
        printing.echo_json({"clean": report.clean, "report": report, **rebuilt})
    else:
        _show_report(report)
        if result is not None:
            _show_rebuilt(result)
    if left:
        signatures = all(problem.kind == "signature" for problem in left)
        raise IntegrityError(
            f"problems left: {len(left)}",
            hint="sign them: adapters sign REF --key KEY"
            if signatures
            else "restore the bytes from another store: adapters verify --all --repair STORE",
        )


def _show_report(report: VerifyReport) -> None:
    """What is wrong, what has no bytes here and what that means, and how much was read."""
    from adapterworks.registry.releases.roles import UNPROVED, role_of

    if report.problems:
        printing.echo_table(
            ("what", "where", "file", "problem"),
            (
                (
                    "repaired" if problem.repaired else problem.kind,
                    problem.ref,
                    problem.path or "",
                    problem.message,
                )
                for problem in report.problems
            ),
        )
    if report.absent:
        printing.echo_table(
            ("no bytes", "release", "file", "since", "who", "why"),
            (
                (item.state, item.ref, item.path, printing.when(item.at), item.who, item.why)
                for item in report.absent
            ),
        )
        for path in sorted({item.path for item in report.absent}):
            if role_of(path) in UNPROVED:
                click.echo(f"without {path} {UNPROVED[role_of(path)]}")
    click.echo(
        f"verified {report.releases} releases, {report.blobs} blobs, "
        f"{printing.size(report.bytes)}: {'clean' if report.clean else 'not clean'}"
    )


@contextmanager
def _good_bytes(app: App, place: str | None) -> Iterator[BlobStore | None]:
    """Where bytes are taken from to repair: a store, or a pushed release as one."""
    from adapterworks.registry.blobs.open import open_blobs
    from adapterworks.registry.remotes.blobs import HeldBlobs

    if place is None:
        yield None
    elif place.startswith(places.REMOTE):
        with places.held(app, place, plain_http=False) as (held, _):
            yield HeldBlobs(held, app.settings.home / "tmp")
    else:
        yield open_blobs(place)


def _offline(place: Path, bundle: Path | None, keys: tuple[Path, ...], *, as_json: bool) -> None:
    from adapterworks.manifests.errors import IntegrityError
    from adapterworks.registry.remotes.hub.offline import check_offline

    found = check_offline(place, bundle, keys)
    if as_json:
        values = {"name": found.release.name, "digest": found.release.digest, "key": found.key}
        files = {"right": found.right, "absent": found.absent, "wrong": found.wrong}
        printing.echo_json({"clean": not found.wrong, **values, **files})
    else:
        click.echo(f"{found.release.name} {found.release.digest}")
        click.echo(f"signed by key {found.key}")
        click.echo(f"{len(found.right)} files are what it says")
        for path in found.absent:
            click.echo(f"not there: {printing.harmless(path)}")
    if found.wrong:
        raise IntegrityError(
            f"{len(found.wrong)} files are not what was signed: {', '.join(found.wrong[:5])}",
            hint="use nothing from this folder; fetch the release again",
        )


def _rebuild(
    app: App, ref: str, data_dir: Path | None, manifest: str | None, *, quiet: bool
) -> Rebuilt:
    from adapterworks.builders.rebuilding.rebuild import rebuild
    from adapterworks.engines.compose import compose_builders_engines
    from adapterworks.manifests.load import load_manifest
    from adapterworks.progress import BuildProgress

    with BuildProgress(quiet=quiet or app.quiet) as progress:
        return rebuild(
            ref,
            registry=app.registry,
            bases=app.bases,
            home=app.settings.home,
            data_dir=data_dir,
            own=load_manifest(manifest) if manifest is not None else None,
            engines=compose_builders_engines(app, say=progress.say),
            listeners=(progress,),
            progress=progress.say,
        )


def _show_rebuilt(result: Rebuilt) -> None:
    weights = result.weights
    click.echo(
        f"rebuilt {result.ref}: {weights.parameters:,} weights in {weights.tensors} tensors, "
        + (
            "equal to the bit"
            if weights.bit_equal
            else f"largest difference {weights.largest:.3g}, relative {weights.relative:.3g} "
            "(Frobenius)"
        )
    )
    if result.differences:
        keys = ", ".join(change.key for change in result.differences)
        click.echo(f"differs from the lock: {keys}")
    else:
        click.echo("base, rows, code, packages and device are those of the lock")
    for name, score in result.scores.items():
        click.echo(
            f"{name}: released {score.released:.4f}, rebuilt {score.rebuilt:.4f}, "
            f"difference {score.difference:+.4f}"
        )
    if result.rows and result.changed is None:
        click.echo(f"answers of {result.rows} rows: not compared, the released ones are not here")
    elif result.rows:
        click.echo(f"answers changed: {result.changed} of {result.rows}")
