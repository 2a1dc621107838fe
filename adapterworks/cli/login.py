"""`adapters login|logout`: be a person at a registry's server, by its issuer."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.manifests.errors import InvalidInput


@click.command()
@click.argument("url", required=False)
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, url: str | None, no_browser: bool, as_json: bool) -> None:
    """Log in to a registry's server with its issuer (OpenID Connect).

    Without URL it is the one that `ADAPTERS_REGISTRY` names. A browser opens, and comes back to a
    port of this machine; what you may do there comes from your groups. The login is kept in
    ADAPTERS_HOME, renewed while the issuer allows it, and used where `ADAPTERS_REGISTRY_TOKEN` is
    not set.

    \b
    Example:
      adapters login https://registry.example
      adapters login --no-browser
    """
    import webbrowser

    from adapterworks.login import flow
    from adapterworks.login.store import Logins

    registry = _registry(app, url)

    def show(address: str) -> None:
        if no_browser or not webbrowser.open(address):
            click.echo(f"open this address in a browser on this machine:\n{address}", err=True)
        else:
            app.note("a browser was opened; log in there")

    login = flow.log_in(flow.offered_by(registry), show)
    Logins(app.settings.home).keep(registry, login)
    until = datetime.fromtimestamp(login.expires, UTC).isoformat(timespec="seconds")
    if as_json:
        printing.echo_json({"registry": registry, "issuer": login.issuer, "expires": until})
    else:
        click.echo(f"logged in to {registry} with {printing.harmless(login.issuer)}")


@click.command()
@click.argument("url", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def logout(app: App, url: str | None, as_json: bool) -> None:
    """Forget the login to a registry's server.

    \b
    Example:
      adapters logout https://registry.example
    """
    from adapterworks.login.store import Logins

    registry = _registry(app, url)
    known = Logins(app.settings.home).forget(registry)
    if as_json:
        printing.echo_json({"registry": registry, "forgotten": known})
    else:
        click.echo(f"the login to {registry} is forgotten" if known else "there was no login")


def _registry(app: App, url: str | None) -> str:
    from adapterworks.registry.remotes.http.link import check_url

    named = url or app.settings.registry
    if named is None:
        raise InvalidInput(
            "no registry's server is named", hint="write its URL, or set `ADAPTERS_REGISTRY`"
        )
    return check_url(named, insecure=app.settings.registry_insecure)
