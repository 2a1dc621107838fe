"""Places of releases, as `adapters cp` is given them, opened.

NAME@VERSION                 this registry
registry:PATH#NAME@VERSION   another registry of one's own: a home, or a settings file
https://HOST#NAME@VERSION    one behind a server
hub:org/name@v3              a repository of the Hub
oci://host/org/name:v3       a repository of an OCI registry
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from adapterworks.app import App
from adapterworks.manifests.homes import expanded
from adapterworks.settings import Settings

if TYPE_CHECKING:
    from adapterworks.registry.remotes.delivering import Destination
    from adapterworks.registry.remotes.held import Held

REMOTE = ("hub:", "oci://")
OTHER = ("registry:", "https://", "http://")
_OWN = re.compile(r"registry:(?P<place>[^#]+)#(?P<ref>.+)")
_SERVER = re.compile(r"(?P<place>https?://[^#]+)#(?P<ref>.+)")
_VERSION = re.compile(r"v[0-9]{1,9}")


@contextmanager
def held(app: App, place: str, *, plain_http: bool) -> Iterator[tuple[Held, str | None]]:
    """The release at a place, and the tag that names its version, if one does."""
    scratch = app.settings.home / "tmp"
    if place.startswith("oci://"):
        from adapterworks.registry.remotes.oci.client import Client
        from adapterworks.registry.remotes.oci.held import OciRelease
        from adapterworks.registry.remotes.oci.names import parse_oci

        name = parse_oci(place)
        with Client(name, plain_http=plain_http) as client:
            yield OciRelease(client, name, scratch), name.tag
    elif place.startswith("hub:"):
        from adapterworks.registry.remotes.hub.client import Hub
        from adapterworks.registry.remotes.hub.held import HubRelease
        from adapterworks.registry.remotes.hub.names import parse_source

        hub, source = Hub(), parse_source(place)
        tag = source.revision if _VERSION.fullmatch(source.revision) else None
        yield HubRelease(hub, hub.state(source), scratch), tag
    else:
        from adapterworks.registry.remotes.own import OwnRelease

        with own(app, place) as (opened, ref):
            resolved = opened.registry.resolve(opened.ref(ref))
            yield OwnRelease(opened.registry, resolved), f"v{resolved.version}"


@contextmanager
def destination(
    app: App, place: str, *, plain_http: bool
) -> Iterator[tuple[Destination, str | None]]:
    """A repository of the Hub or an OCI registry to write to, and the tag that was named.

    Raises:
        InvalidInput: it names what is there already.
    """
    from adapterworks.manifests.errors import InvalidInput

    scratch = app.settings.home / "tmp"
    if place.startswith("oci://"):
        from adapterworks.registry.remotes.oci.client import Client
        from adapterworks.registry.remotes.oci.names import parse_oci
        from adapterworks.registry.remotes.oci.push import OciRepository

        name = parse_oci(place)
        if name.digest is not None:
            raise InvalidInput(f"`{name}` names what is there; a copy goes to a tag")
        with Client(name, plain_http=plain_http, push=True) as client:
            yield OciRepository(client, scratch), name.tag
    else:
        from adapterworks.registry.remotes.hub.client import Hub
        from adapterworks.registry.remotes.hub.names import DEFAULT_REVISION, parse_source
        from adapterworks.registry.remotes.hub.push import HubRepository

        source = parse_source(place)
        tag = None if source.revision == DEFAULT_REVISION else source.revision
        if tag is not None and not _VERSION.fullmatch(tag):
            raise InvalidInput(f"`{tag}` is no tag of a version", hint=f"{place}: write `@v3`")
        yield HubRepository(Hub(), source.repository, scratch), tag


@contextmanager
def own(app: App, place: str) -> Iterator[tuple[App, str]]:
    """A registry of one's own, and the name or reference in it."""
    from adapterworks.manifests.errors import InvalidInput

    if not place.startswith(OTHER):
        yield app, place
        return
    match = _OWN.fullmatch(place) or _SERVER.fullmatch(place)
    if match is None:
        written = "registry:PATH" if place.startswith("registry:") else "https://HOST"
        raise InvalidInput(f"`{place}` names no release", hint=f"write `{written}#NAME@VERSION`")
    if not place.startswith("registry:"):
        opened = App(_behind(app.settings, match["place"]), quiet=app.quiet, verbose=app.verbose)
        try:
            yield opened, match["ref"]
        finally:
            opened.close()
        return
    path = expanded(match["place"])
    if path.is_dir():  # that home alone: none of the caller's own variables, nor their file
        settings = Settings.from_environment({"ADAPTERS_HOME": str(path)})
    elif path.is_file():
        settings = Settings.from_environment({"ADAPTERS_CONFIG": str(path)})
    else:
        raise InvalidInput(
            f"`{path}` is neither a registry's home nor a settings file",
            hint="`adapters config` prints what a settings file has",
        )
    opened = App(settings, quiet=app.quiet, verbose=app.verbose)
    try:
        yield opened, match["ref"]
    finally:
        opened.close()


def _behind(settings: Settings, url: str) -> Settings:
    """The settings with this server's registry.

    Raises:
        InvalidInput: the token that is set is another server's.
    """
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.registry.remotes.http.link import check_url

    insecure = settings.registry_insecure
    address = check_url(url, insecure=insecure)
    own = settings.registry if settings.registry_token else None
    if own is not None and check_url(own, insecure=insecure) != address:
        raise InvalidInput(
            f"`ADAPTERS_REGISTRY_TOKEN` is for `{own}`, and is not shown to `{address}`",
            hint="name a settings file with its `registry` and `registry_token`: "
            "`registry:FILE#NAME@VERSION`",
        )
    return replace(settings, registry=address)
