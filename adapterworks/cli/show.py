"""`adapters show`: one release, from its verified record."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.log import describe
from adapterworks.manifests.digests import short_digest

LATER = 100


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option("--file", "path", help="Print this file of the release instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, ref: str, path: str | None, as_json: bool) -> None:
    """Show one release.

    First what was known at publication, from its record; then later events (tags, pushes, exports,
    proofs, feedback, erasures), from the log.

    \b
    Example:
      adapters show medical
      adapters show medical@3 --json
      adapters show medical@3 --file report.json
    """
    registry = app.registry
    resolved = registry.resolve(app.look_for(ref))
    if path is not None:
        click.echo(registry.read(resolved.digest, path), nl=False)
        return
    release = registry.release(resolved.digest)
    row = registry.version(resolved.name, resolved.version)
    signed_by = sorted(registry.signatures.counting(resolved.digest))
    void = registry.signatures.void(resolved.digest)
    absences = registry.absences(resolved.digest)
    deprecated = registry.log.deprecation(resolved.name, resolved.version)
    later = registry.log.events(resolved.name, version=resolved.version, facts=True, limit=LATER)
    if as_json:
        printing.echo_json(
            {
                "name": row.name,
                "version": row.version,
                "digest": row.digest,
                "aliases": row.aliases,
                "published": row.published,
                "size": row.size,
                "signed_by": signed_by,
                "revoked": void,
                "tags": row.tags,
                "deprecated": deprecated,
                "absent": absences,
                "later": later,
                "release": release.to_json(),
            }
        )
        return
    servable = release.servable
    form = "none" if servable is None else f"{servable.form} ({servable.origin})"
    if servable is not None and servable.rank is not None:
        form += f", rank {servable.rank}"
    lines = {
        "release": str(resolved),
        "digest": row.digest,
        "deprecated": deprecated and f"by {deprecated.who} at {deprecated.at}: {deprecated.why}",
        "aliases": " ".join(row.aliases) or "none",
        "description": release.description,
        "method": release.method,
        "base": f"{release.base.model} ({release.base.quantization}) {release.base.digest}",
        "servable": form,
        "license": release.license,
        "tags": " ".join(row.tags),
        "created": f"{release.created} by {release.created_by}",
        "published": row.published,
        "made": release.provenance.made,
        "source": release.provenance.source,
        "parents": " ".join(f"{p.relation}:{p.ref or p.digest}" for p in release.parents),
        "stage": release.stage and f"{release.stage.name} (of {release.stage.count})",
        "plan": release.plan,
        "signed by": " ".join(signed_by) or "nobody",
        "not any more": "; ".join(f"{key[7:19]} {why}" for key, why in void.items()),
        "size": f"{printing.size(row.size)} in {len(release.files)} files",
    }
    for key, value in lines.items():
        if value:
            click.echo(f"{key:<12} {printing.harmless(value)}")
    if release.metrics:
        click.echo()
        metrics = sorted(release.metrics.items())
        printing.echo_table(("metric", "value"), ((key, f"{value:.6g}") for key, value in metrics))
    click.echo()
    printing.echo_table(
        ("file", "size", "digest", "bytes"),
        (
            (path, printing.size(entry.size), short_digest(entry.digest), absences.get(path, ""))
            for path, entry in sorted(release.files.items())
        ),
    )
    if later:
        click.echo()
        printing.echo_table(
            ("later", "who", "what", "why"),
            ((printing.when(e.at), e.who, describe(e), e.why) for e in reversed(later)),
        )
