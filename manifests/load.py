"""Loading a manifest: TOML → profile → overrides → frozen `Manifest`, or all its faults at once.

Invariant: what is returned is exactly what was written: no key was dropped, no type converted (an
integer may stand for a number, an array becomes a tuple), and it knows the folder that its relative
paths begin at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adapterworks.manifests import extensions
from adapterworks.manifests.checking import KeyPath, Problem
from adapterworks.manifests.checks.find import find_problems
from adapterworks.manifests.document import Document, read_document
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.faults import Fault, ManifestError, in_file_order
from adapterworks.manifests.merge import Merged, merge
from adapterworks.manifests.messages import describe, problems, suggest
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import Manifest, StageOf
from adapterworks.manifests.objective import ObjectiveTable
from adapterworks.manifests.stages import STAGES, stage_names, stage_of, stage_problems

# What stands in for a faulty required key while the other tables are checked.
_STAND_INS: dict[str, dict[str, Any]] = {
    "adapter": {"name": "unnamed"},
    "base": {"model": "unnamed"},
    "data": {"train": "unnamed:train"},
}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a manifest's check came to.

    Attributes:
        imports: the files beside the manifest that were run, by their names in it.
    """

    profiles: tuple[str, ...]
    faults: tuple[Fault, ...]
    imports: tuple[str, ...]


def load_manifest(
    source: str | Path, *, profile: str | None = None, overrides: Sequence[str] = ()
) -> Manifest:
    """Load, merge and validate one manifest.

    Args:
        source: a path, or the name of a manifest in `./manifests/` or of a built-in one.
        profile: a profile of the manifest laid over it.
        overrides: `key.path=value`, laid over both; the value is TOML, or else text.

    Raises:
        NotFound: there is no such manifest.
        ManifestError: it has faults; all of them are in `.faults`.
    """
    document = read_document(source)
    manifest, faults = check_document(document, profile=profile, overrides=overrides)
    if manifest is None:
        raise ManifestError(document.name, faults)
    return manifest


def check_manifest(
    source: str | Path, *, profile: str | None = None, overrides: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[Fault, ...]]:
    """The profiles of a manifest and its faults: alone and with each profile, or with one profile.

    Args:
        source: as for `load_manifest`.
        profile: check with this profile only.
        overrides: as for `load_manifest`.

    Raises:
        NotFound: there is no such manifest.
    """
    inspection = inspect_manifest(source, profile=profile, overrides=overrides)
    return inspection.profiles, inspection.faults


def inspect_manifest(
    source: str | Path, *, profile: str | None = None, overrides: Sequence[str] = ()
) -> Inspection:
    """What `check_manifest` says, and which of the user's files were run for it.

    Raises:
        NotFound: there is no such manifest.
    """
    try:
        document = read_document(source)
    except ManifestError as error:
        return Inspection((), error.faults, ())
    imported: set[str] = set()
    chosen: list[str | None] = [None, *document.profiles] if profile is None else [profile]
    faults: dict[Fault, None] = {}
    for name in chosen:
        _, found = check_document(document, profile=name, overrides=overrides, imported=imported)
        for fault in found:
            if name is not None and profile is None and fault not in faults:
                fault = replace(fault, message=f"{fault.message} (with profile `{name}`)")
            faults[fault] = None
    return Inspection(tuple(document.profiles), in_file_order(faults), tuple(sorted(imported)))


def check_document(
    document: Document,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    imported: set[str] | None = None,
) -> tuple[Manifest | None, tuple[Fault, ...]]:
    """The validated manifest, or None and its faults; the user's files run are in `imported`."""
    faults = [*_profile_faults(document, profile), *_stage_faults(document)]
    if faults:
        return None, tuple(faults)
    try:
        merged = merge(document.table, profile, overrides)
    except InvalidInput as error:
        return None, (Fault("--set", None, "", error.message, error.hint),)
    if STAGES not in merged.table:
        return _validated(document, merged, imported)
    declared = [str(stage["name"]) for stage in document.table[STAGES]]
    if stage_names(merged) != declared:
        message = f"the stages are {', '.join(f'`{name}`' for name in declared)}, and no other"
        return None, (Fault("--set", None, STAGES, message, None),)
    found: dict[Fault, None] = {}
    before: Manifest | None = None
    for index, name in enumerate(declared):
        manifest, of_stage = _validated(document, stage_of(merged, name), imported)
        found |= dict.fromkeys(of_stage)
        if manifest is not None:
            before = manifest.as_stage(StageOf(name, index, len(declared)), before)
    return (None, tuple(found)) if found else (before, ())


def _validated(
    document: Document, merged: Merged, imported: set[str] | None
) -> tuple[Manifest | None, tuple[Fault, ...]]:
    table = _frozen_arrays(merged.table)
    written = _with_derived_defaults(table)
    context = {"folder": document.folder, "imported": imported}
    try:
        manifest = Manifest.model_validate(written, context=context)
        found = list(find_problems(manifest, table))
    except ValidationError as error:
        manifest = None
        found = problems(error, written)
        found += _problems_beside(found, written)
    if manifest is None or found:
        return None, tuple(_locate(found, merged, document))
    return manifest.placed_in(document.folder), ()


def _profile_faults(document: Document, profile: str | None) -> Iterator[Fault]:
    name, line = document.name, document.line(("profiles",))
    profiles = document.table.get("profiles", {})
    if not isinstance(profiles, dict):
        message = f"expected a table of profiles, got {describe(profiles)}"
        yield Fault(name, line, "profiles", message, "write `[profiles.quick]`")
        return
    for key, value in profiles.items():
        if not isinstance(value, dict):
            yield Fault(
                name,
                document.line(("profiles", key)),
                f"profiles.{key}",
                f"expected a table, got {describe(value)}",
                f"write `[profiles.{key}]`",
            )
    if profile is not None and profile not in profiles:
        known = list(profiles)
        hint = suggest(profile, known) if known else "it has no profiles"
        yield Fault(name, line, "profiles", f"there is no profile `{profile}`", hint)


def _stage_faults(document: Document) -> Iterator[Fault]:
    for problem in stage_problems(document.table):
        line, key = document.line(problem.key), _dotted(problem.key)
        yield Fault(document.name, line, key, problem.message, problem.hint or None)


def _with_derived_defaults(table: dict[str, Any]) -> dict[str, Any]:
    """Rows of plain text are learnt whole unless `train.loss_on` says otherwise."""
    data, train = table.get("data", {}), table.get("train", {})
    if isinstance(data, dict) and isinstance(train, dict) and _learnt_whole(data.get("format")):
        return {**table, "train": {"loss_on": "all", **train}}
    return table


def _learnt_whole(format: Any) -> bool:
    try:
        return isinstance(format, str) and bool(extensions.load("formats", format).learnt_whole)
    except InvalidInput:  # reported as a fault of `data.format`
        return False


def _problems_beside(found: Iterable[Problem], table: dict[str, Any]) -> list[Problem]:
    """What the checks find in the keys that are not faulty."""
    faulty = {problem.key[:2] for problem in found}
    sound: dict[str, Any] = {}
    for name in Manifest.model_fields:
        value = table.get(name)
        keys = value if isinstance(value, dict) and (name,) not in faulty else {}
        sound[name] = _STAND_INS.get(name, {}) | {
            key: value for key, value in keys.items() if (name, key) not in faulty
        }
    if any(key[0] == "method" for key in faulty):
        sound["method"] = MethodTable(kind="unnamed")
        faulty.add(("method",))
    if any(key[0] == "objective" for key in faulty):
        sound["objective"] = ObjectiveTable(kind="unnamed")
        faulty.add(("objective",))
    elif "objective" not in table:
        del sound["objective"]
    if not sound["start"]:
        del sound["start"]
    return list(find_problems(Manifest.model_validate(sound), sound, faulty))


def _locate(found: Iterable[Problem], merged: Merged, document: Document) -> Iterator[Fault]:
    for problem in found:
        key, hint = _dotted(problem.key), problem.hint or None
        origin = merged.origin(problem.key)
        if origin.override is not None:
            message = f"{problem.message} (in `{origin.override}`)"
            yield Fault("--set", None, key, message, hint)
        else:
            yield Fault(document.name, document.line(origin.path), key, problem.message, hint)


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _frozen_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen_arrays(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_frozen_arrays(item) for item in value)
    return value
