"""Places of releases, as `adapters cp` is given them, opened.

NAME@VERSION                 this registry
registry:PATH#NAME@VERSION   another registry of one's own: a home, or a settings file
hub:org/name@v3              a repository of the Hub
oci://host/org/name:v3       a repository of an OCI registry
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.app import App
from adapterworks.settings import Settings

if TYPE_CHECKING:
    from adapterworks.registry.remotes.delivering import Destination
    from adapterworks.registry.remotes.held import Held

REMOTE = ("hub:", "oci://")
_OWN = re.compile(r"registry:(?P<place>[^#]+)#(?P<ref>.+)")
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

    if not place.startswith("registry:"):
        yield app, place
        return
    match = _OWN.fullmatch(place)
    if match is None:
        raise InvalidInput(f"`{place}` names no release", hint="write `registry:PATH#NAME@VERSION`")
    path = Path(match["place"]).expanduser()
    if path.is_dir():
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
