"""A push and a pull, as the commands do them."""

from __future__ import annotations

from typing import Any

from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.arriving import Pulled, arrive
from adapterworks.registry.remotes.oci.client import Client
from adapterworks.registry.remotes.oci.held import OciRelease
from adapterworks.registry.remotes.oci.names import parse_oci
from adapterworks.registry.remotes.oci.push import push
from adapterworks.registry.remotes.pushed import Pushed

REPOSITORY = "org/medical"


def pushed(registry: Registry, host: str, tag: str | None = None, **options: Any) -> Pushed:
    """Push `medical@1`; public unless said otherwise, for a registry that asks nobody."""
    options = {"private": False, **options}
    with Client(parse_oci(f"oci://{host}/{REPOSITORY}"), push=True) as client:
        return push(
            registry,
            client,
            registry.resolve("medical@1"),
            tag,
            who="ann",
            scratch=registry.home / "tmp",
            **options,
        )


def pulled(registry: Registry, source: str, **options: Any) -> Pulled:
    """Pull what `source` names."""
    name = parse_oci(source)
    with Client(name) as client:
        held = OciRelease(client, name, registry.home / "tmp")
        return arrive(
            registry,
            held,
            who="bob",
            scratch=registry.home / "tmp",
            find_base=lambda _: None,
            **options,
        )
