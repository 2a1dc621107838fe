"""What a worker that is started elsewhere is told in its environment: which registry is meant."""

from __future__ import annotations

import os

from sqlalchemy.engine import make_url

from adapterworks.app import App

_SECRETS = {"password", "sslpassword"}


def shared_environment(app: App) -> dict[str, str]:
    """What the worker must know to work in the same registry, whatever a node's own says."""
    settings = app.settings
    told = {name: value for name, value in os.environ.items() if name.startswith("ADAPTERS_")}
    return {
        **told,
        "ADAPTERS_HOME": str(settings.home),
        "ADAPTERS_DATABASE": settings.database,
        "ADAPTERS_BLOBS": settings.blobs,
        "ADAPTERS_BASES": str(settings.bases),
        "PYTHONSAFEPATH": "1",
    }


def public_environment(app: App) -> dict[str, str]:
    """What a worker must know where others can read a task's variables: nothing secret.

    Folders are the node's own, and what is secret it has from its own environment.
    """
    settings = app.settings
    told = {"ADAPTERS_USER": settings.who, "PYTHONSAFEPATH": "1"}
    if not _has_a_password(settings.database):
        told["ADAPTERS_DATABASE"] = settings.database
    return {**told, "ADAPTERS_BLOBS": settings.blobs}


def _has_a_password(database: str) -> bool:
    """Whether an index's address has one: before its host, or as a parameter of libpq's."""
    url = make_url(database)
    return url.password is not None or bool(_SECRETS & {name.lower() for name in url.query})
