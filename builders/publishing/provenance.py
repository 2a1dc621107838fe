"""`provenance.json` and `sbom.cdx.json`: where a release comes from, in the words of its field.

    provenance.json   an in-toto statement (v1) with the predicate SLSA provenance v1: these files
                      were made by this build, from this manifest, base, rows, releases, code and
                      packages
    sbom.cdx.json     CycloneDX 1.6: what the build ran with and was made of, from `adapter.lock`

Invariant: both are functions of the plan, the lock and the files, so that a build which dies and
resumes writes them again as they were; nothing is in them that the record does not tell, so they
may go where it goes. A signature over the record covers them, as all files.

Formats: https://slsa.dev/spec/v1.0/provenance, https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from adapterworks.builders.plan.plan import Plan
from adapterworks.manifests.digests import canonical_json, digest_file
from adapterworks.manifests.paths import portable

PROVENANCE = "provenance.json"
SBOM = "sbom.cdx.json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:adapterworks:build:v1"
BUILDER = "urn:adapterworks:builder"
_SPACE = uuid.UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")


def write_provenance(release: Path, plan: Plan, lock: Mapping[str, Any], created: str) -> None:
    """Write both files into a release's folder, in which all others are.

    Args:
        created: when the build began, RFC 3339.
    """
    statement = make_statement(release, plan, lock, created)
    (release / PROVENANCE).write_bytes(canonical_json(statement) + b"\n")
    (release / SBOM).write_bytes(canonical_json(make_sbom(plan, lock, created)) + b"\n")


def make_statement(
    release: Path, plan: Plan, lock: Mapping[str, Any], created: str
) -> dict[str, Any]:
    """The statement; its subjects are the folder's files."""
    files = (path for path in sorted(release.rglob("*")) if path.is_file())
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": path.relative_to(release).as_posix(), "digest": _digest(digest_file(path))}
            for path in files
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "manifest": portable(plan.manifest).model_dump(mode="json"),
                },
                "internalParameters": {
                    "plan": plan.digest,
                    "digests": plan.digests.to_json(),
                    **{key: lock[key] for key in _SETTINGS},
                },
                "resolvedDependencies": list(_dependencies(plan, lock)),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"adapterworks": lock["code"]["version"]}},
                "metadata": {"invocationId": plan.digests.train, "startedOn": created},
            },
        },
    }


# Of the lock: what else the weights depend on.
_SETTINGS = ("device", "precision", "micro_batch", "seed", "python")


def _dependencies(plan: Plan, lock: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    base = lock["base"]
    yield {"name": "base", "uri": base["model"], "digest": _digest(base["digest"])}
    for split, digest in sorted(lock["data"]["splits"].items()):
        yield {"name": f"rows:{split}", "digest": _digest(digest)}
    yield {"name": "code", "digest": _digest(lock["code"]["digest"])}
    for name, version in sorted(lock["packages"].items()):
        yield {"name": name, "uri": _purl(name, version)}
    for stage, source in sorted(lock["reused"].items()):
        yield {"name": f"stage:{stage}", "uri": source["ref"], "digest": _digest(source["digest"])}
    for made in _made_of(plan, lock):
        found = {"name": made.name, "digest": _digest(made.digest)}
        yield found if made.uri is None else {**found, "uri": made.uri}


@dataclass(frozen=True, slots=True)
class _Made:
    """What else a release was made of: releases that its training began from or was held near,
    datasets of the registry, files that its manifest names, code that others added."""

    kind: Literal["machine-learning-model", "data", "file"]
    name: str
    digest: str
    uri: str | None = None


def _made_of(plan: Plan, lock: Mapping[str, Any]) -> Iterator[_Made]:
    refs = {parent.digest: parent.ref for parent in plan.parents}
    for name, value in sorted(lock["origins"].items()):
        if value.startswith("sha256:"):  # else the reference is the start, or the base
            yield _Made("machine-learning-model", f"release:{name}", value, refs.get(value))
    for read in lock["data"].get("datasets", ()):
        yield _Made("data", read["ref"], read["digest"], read["ref"])
    for key, digest in sorted(lock["data"]["files"].items()):
        yield _Made("file", f"file:{key}", digest)
    for pin in lock["extensions"]:
        place = pin.get("file")
        if "distribution" in pin:
            place = _purl(pin["distribution"], pin["version"])
        yield _Made("file", f"{pin['table']}:{pin['name']}", pin["digest"], place)


def make_sbom(plan: Plan, lock: Mapping[str, Any], created: str) -> dict[str, Any]:
    """The bill of materials."""
    adapter, base = plan.manifest.adapter, lock["base"]
    number = uuid.uuid5(_SPACE, f"{plan.digest} {created}")
    packages = {"adapterworks": lock["code"]["version"], **lock["packages"]}
    libraries = [
        {
            "type": "library",
            "bom-ref": _purl(name, version),
            "name": name,
            "version": version,
            "purl": _purl(name, version),
        }
        for name, version in sorted(packages.items())
    ]
    model = {
        "type": "machine-learning-model",
        "bom-ref": base["digest"],
        "name": base["model"],
        "version": base["revision"],
        "hashes": [_hash(base["digest"])],
    }
    rows = [
        {"type": "data", "bom-ref": f"rows:{split}", "name": split, "hashes": [_hash(digest)]}
        for split, digest in sorted(lock["data"]["splits"].items())
    ]
    further = [
        {"type": made.kind, "bom-ref": made.name, "name": made.name, "hashes": [_hash(made.digest)]}
        for made in _made_of(plan, lock)
    ]
    made_of = [model, *rows, *libraries, *further]
    subject = f"adapter:{adapter.name}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "component": {
                "type": "machine-learning-model",
                "bom-ref": subject,
                "name": adapter.name,
                "version": plan.digest,
                "description": adapter.description,
                "licenses": [{"license": {"name": adapter.license}}],
            },
        },
        "components": made_of,
        "dependencies": [{"ref": subject, "dependsOn": [part["bom-ref"] for part in made_of]}],
    }


def _purl(name: str, version: str) -> str:
    """A package URL of the Python index; `+` of a local version is escaped."""
    return f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"


def _digest(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}
