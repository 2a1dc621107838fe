"""`adapters cp`: a release from any place to any other."""

from __future__ import annotations

from typing import Any

import click

from adapterworks.app import App
from adapterworks.cli import places, printing
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.option_rules import refuse_unless


@click.command()
@click.argument("source", metavar="SRC", shell_complete=complete_ref)
@click.argument("target", metavar="DST")
@click.option(
    "--private/--public",
    default=True,
    help="Hub, OCI: whether anybody may read it there (default: private).",
)
@click.option(
    "--withhold", multiple=True, metavar="PATTERN", help="Hub, OCI: leave these files out too."
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Hub, OCI: copy these too, although they reveal rows.",
)
@click.option("--plain-http", is_flag=True, help="OCI: registries on other machines have no TLS.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    source: str,
    target: str,
    private: bool,
    withhold: tuple[str, ...],
    include: tuple[str, ...],
    plain_http: bool,
    as_json: bool,
) -> None:
    """Copy a release from one place to another.

    \b
    SRC and DST are places:
      NAME@VERSION, NAME:ALIAS     of this registry
      registry:PATH#NAME@VERSION   of another registry of yours: PATH is its home, or a
                                   settings file that names its database and store
      https://HOST#NAME@VERSION    of a registry behind a server, asked with
                                   ADAPTERS_REGISTRY_TOKEN
      hub:org/name@v3              a repository of the Hugging Face Hub
      oci://host/org/name:v3       a repository of an OCI registry

    As DST a registry of yours is given the NAME that the release comes under. Every file is
    compared with its digest when it has come, and again where it goes. What leaves for the Hub or
    an OCI registry is what `adapters push` lets leave; what comes into a registry of yours is
    checked as `adapters pull` checks it. A copy that was cut off goes on where it stopped when it
    is asked for again.

    \b
    Example:
      adapters cp oci://registry.example/org/medical:v3 hub:org/medical-lora@v3
      adapters cp medical@3 registry:/srv/production.toml#medical
      adapters cp registry:/srv/staging#medical:prod medical
      adapters cp https://registry.example#medical:prod medical
    """
    refuse_unless(
        target.startswith(places.REMOTE),
        ("private", "withhold", "include"),
        "a copy to the Hub or an OCI registry",
    )
    of_oci = "oci://" in (source[:6], target[:6])
    refuse_unless(of_oci, ("plain_http",), "OCI registries")
    scratch = app.settings.home / "tmp"
    values: dict[str, Any]
    with places.held(app, source, plain_http=plain_http) as (held, tag):
        if target.startswith(places.REMOTE):
            from adapterworks.registry.remotes.delivering import copy

            with places.destination(app, target, plain_http=plain_http) as (destination, named):
                done = copy(
                    held,
                    destination,
                    scratch=scratch,
                    tag=named or tag,
                    private=private,
                    withhold=withhold,
                    include=include,
                    say=printing.note,
                )
            values = {"place": done.url, "created": done.created, "withheld": sorted(done.absent)}
        else:
            from adapterworks.registry.remotes.arriving import arrive

            with places.own(app, target) as (own, name):
                came = arrive(
                    own.registry,
                    held,
                    who=app.settings.who,
                    scratch=scratch,
                    find_base=own.bases.find,
                    name=name,
                )
            published = came.published
            place = target.partition("#")[0] + "#" if target.startswith(places.OTHER) else ""
            values = {
                "place": f"{place}{published}",
                "created": published.created,
                "withheld": list(came.withheld),
            }
    if as_json:
        printing.echo_json({"digest": held.release.digest, "source": held.where, **values})
        return
    done_ = "copied" if values["created"] else "already there:"
    click.echo(printing.harmless(f"{done_} {held.release.digest} at {values['place']}"))
    if values["withheld"]:
        stayed = " ".join(values["withheld"])
        printing.note(printing.harmless(f"without the bytes of: {stayed}"))
