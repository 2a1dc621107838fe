"""One release with all that is known of it: its record, what was judged and learnt."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_jsonable_python

from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.reading import event_object, find, version_object
from adapterworks.gateway.request.body import parse_body
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release

_CARD, _REPORT = "README.md", "report.json"
_LATER = 100  # events; the rest is in the log
_MOST_READ = 8 << 20  # bytes of a file that is read whole to be shown


def release(asked: Asked) -> dict[str, Any]:
    """A release by its digest or any ref.

    `record` is in the words of the version that wrote it; its exact bytes are the blob of
    `digest`, and each file's those of its own. `card` is the model card (Markdown), `gates` what
    the build judged, `proofs` what engines said, `later` all that was learnt since, newest first.
    """
    registry = asked.registry
    resolved = find(registry, asked.path("ref"))
    found = registry.release(resolved.digest)
    row = registry.version(resolved.name, resolved.version)
    absences = registry.absences(resolved.digest)
    later = registry.log.events(resolved.name, version=resolved.version, facts=True, limit=_LATER)
    return {
        **version_object(row),
        "object": "registry.release",
        "record": found.to_json(),
        "files": [
            {
                "path": path,
                **to_jsonable_python(entry),
                "absent": to_jsonable_python(absences.get(path)),
            }
            for path, entry in sorted(found.files.items())
        ],
        "card": _text(registry, found, _CARD),
        "gates": _gates(registry, found),
        "proofs": [event_object(event) for event in later if event.kind == "proof"],
        "signatures": registry.signatures.counting(resolved.digest),
        "own_signatures": registry.signatures.own(resolved.digest),
        "revoked": registry.signatures.void(resolved.digest),
        "deprecated": to_jsonable_python(registry.log.deprecation(resolved.name, resolved.version)),
        "later": [event_object(event) for event in later],
    }


def _text(registry: Registry, found: Release, path: str) -> str | None:
    """A file of the release as text; None if it has none that is here and can be shown."""
    entry = found.files.get(path)
    if entry is None or entry.size > _MOST_READ:
        return None
    data = registry.read_if_here(found.digest, path)
    return None if data is None else data.decode("utf-8", "replace")


def _gates(registry: Registry, found: Release) -> list[dict[str, Any]]:
    """What the build's gates said, by its own report; none if that is a stranger's or not here."""
    text = _text(registry, found, _REPORT)
    try:
        gates = parse_body((text or "{}").encode()).values.get("gates")
    except InvalidInput:  # what this server could not write as JSON again
        return []
    return [gate for gate in gates if isinstance(gate, dict)] if isinstance(gates, list) else []
