"""Datasets for whoever works with them elsewhere: records, and for administrators their rows."""

from __future__ import annotations

import dataclasses
from typing import Any

from starlette.responses import Response

from adapterworks.gateway.http.routes.common import receipt_of
from adapterworks.gateway.http.routes.pages import number
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.reading import MOST, USUAL
from adapterworks.gateway.http.routes.registry.sending import digest_of
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.datasets.listed import Dataset
from adapterworks.registry.datasets.store import Datasets


def listed(asked: Asked) -> dict[str, Any]:
    """A page of versions, by name, the newest first; `name` or `digest` chooses."""
    datasets, digest = Datasets(asked.registry), asked.query("digest")
    if digest is not None:
        found = [one for one in (datasets.find(digest),) if one is not None]
    else:
        found = datasets.list(asked.query("name"))
    names, after = [str(one) for one in found], asked.query("after")
    begin = names.index(after) + 1 if after in names else 0
    limit = number(asked.request, "limit", USUAL, most=MOST)
    page = found[begin : begin + limit]
    return {
        "object": "list",
        "data": [_shown(one) for one in page],
        "last_id": str(page[-1]) if page else None,
        "has_more": begin + limit < len(found),
    }


def one(asked: Asked) -> dict[str, Any]:
    """A version by `version` (a number or a digest); the newest one without."""
    return _shown(Datasets(asked.registry).get(asked.path("name"), asked.query("version")))


def rows(asked: Asked) -> Response:
    """The rows of a split, by the digest that a dataset's record has of them.

    Raises:
        NotFound: no dataset has rows of that digest.
        Refused: they were erased.
    """
    digest, datasets = digest_of(asked), Datasets(asked.registry)
    if not any(
        part.digest == digest
        for dataset in datasets.list()
        for part in dataset.record.splits.values()
    ):
        raise NotFound(f"no dataset has rows of the digest {digest}")
    return Response(
        datasets.read(digest),
        media_type="application/x-ndjson",
        headers=receipt_of(asked.request).headers(),
    )


def _shown(dataset: Dataset) -> dict[str, Any]:
    values = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(dataset)}
    record = dataset.record.model_dump(mode="json")
    return {"object": "registry.dataset", "name": record["name"], **values, "record": record}
