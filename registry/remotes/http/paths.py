"""Where a server has what a name, an alias or a version is asked for."""

from __future__ import annotations

from adapterworks.manifests.refs import check_alias, check_name
from adapterworks.registry.remotes.http.link import part


def alias_path(name: str, alias: str) -> str:
    """The path of an alias.

    Raises:
        InvalidInput: not a name, or not an alias.
    """
    return f"/adapters/{part(check_name(name))}/aliases/{part(check_alias(alias))}"


def version_path(name: str, version: int) -> str:
    """The path of a version.

    Raises:
        InvalidInput: not a name.
    """
    return f"/adapters/{part(check_name(name))}/versions/{version}"
