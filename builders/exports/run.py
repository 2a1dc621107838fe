"""One export: gather → object → write → prove → move into place → note in the release's log.

Invariant: under the name that was asked for there is a proved export or nothing. What is not
proved, because its engine is not installed, is written when that is asked for, and its name says
so.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.exports import EXPORTS
from adapterworks.builders.exports.export import Export, Settings
from adapterworks.builders.exports.material import Material, gather
from adapterworks.builders.exports.proof import Proof, prove
from adapterworks.manifests.digests import digest_file, digest_json
from adapterworks.manifests.errors import InvalidInput, Refused, Unavailable

if TYPE_CHECKING:
    from adapterworks.registry.bases.store import BaseStore
    from adapterworks.registry.registry import Registry

UNPROVED = ".unproved"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        digest: of the file; of a folder, of its files' digests by name.
        proof: None if it was not proved.
        note: what the form says of it besides (`Export.note`).
    """

    ref: str
    form: str
    type: str
    place: Path
    size: int
    digest: str
    proof: Proof | None
    note: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For `--json` and the log."""
        return {
            "form": self.form,
            "type": self.type,
            "size": self.size,
            "digest": self.digest,
            **self.note,
            "proof": None if self.proof is None else self.proof.to_json(),
        }


def run_export(
    ref: str,
    form: str,
    *,
    registry: Registry,
    bases: BaseStore,
    who: str,
    type_: str | None = None,
    out: Path | None = None,
    base_file: Path | None = None,
    unproved: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Write a release in a form of another engine, and prove it there.

    Args:
        form: a name of `EXPORTS`.
        type_: of its numbers; the form's first if None.
        out: the file or folder; `NAME-vVERSION-FORM-TYPE` in the working directory if None.
        unproved: write it although its engine is not installed.

    Raises:
        InvalidInput: the form has no such type, or something stands at `out`.
        Refused: the release cannot have the form, or the engine does not give its answers.
        Unavailable: the engine is not installed.
        NotFound: no such release, or its base is not here.
    """
    export = EXPORTS[form]
    settings = Settings(_type(export, form, type_), base_file)
    here = _installed(export.package)
    install = f"pip install 'adapterworks[{export.extra}]'"
    if not _installed(export.writer):
        raise Unavailable(f"`{form}` is written with {export.writer}, which is not installed",
                          hint=install)  # fmt: skip
    if not here and not unproved:
        raise Unavailable(
            f"`{form}` is proved in {export.engine}, which is not installed",
            hint=f"{install} ({export.package}), or `--unproved` to write a file that says so",
        )
    material = gather(registry, bases, ref)
    place = _place(out, material, form, export, settings, proved=here)
    objections = list(export.objections(material, settings))
    if objections:
        raise Refused(f"`{material.ref}` cannot be exported as {form}: " + "; ".join(objections))
    place.parent.mkdir(parents=True, exist_ok=True)
    with (
        registry.hold(material.release.digest, kind="build"),
        # In somebody's own folder: nothing else in it is touched.
        tempfile.TemporaryDirectory(prefix=".adapters-export-", dir=place.parent) as made,
    ):
        scratch = Path(made)
        written = scratch / f"export{export.suffix}"
        progress(f"writing {material.ref} as {form} ({settings.type})")
        export.write(material, settings, written)
        proof = None
        if here:
            (scratch / "reading").mkdir()
            with export.reader(material, settings, written, scratch / "reading") as reader:
                proof = prove(reader, material, settings.type, progress)
        size, digest = _measure(written)
        note = export.note(settings, written)
        done = Exported(material.ref, form, settings.type, place, size, digest, proof, note)
        if place.exists():  # somebody was faster
            raise _taken(place)
        shutil.move(written, place)
    registry.log.note(material.name, material.version, "export", who=who, **done.to_json())
    return done


def _installed(module: str | None) -> bool:
    return module is None or importlib.util.find_spec(module) is not None


def _type(export: Export, form: str, asked: str | None) -> str:
    if asked is not None and asked not in export.types:
        raise InvalidInput(
            f"`{form}` has no type `{asked}`", hint=f"use one of {', '.join(export.types)}"
        )
    return asked or export.types[0]


def _place(
    out: Path | None,
    material: Material,
    form: str,
    export: Export,
    settings: Settings,
    *,
    proved: bool,
) -> Path:
    name = f"{material.name}-v{material.version}-{form}-{settings.type}{export.suffix}"
    place = out if out is not None else Path(name)
    if not proved:
        place = place.with_name(f"{place.stem}{UNPROVED}{place.suffix}")
    if place.exists():
        raise _taken(place)
    return place


def _taken(place: Path) -> InvalidInput:
    return InvalidInput(f"`{place}` exists already", hint="name another with `--out`, or remove it")


def _measure(written: Path) -> tuple[int, str]:
    """Bytes and digest of what was written."""
    if written.is_file():
        return written.stat().st_size, digest_file(written)
    files = {path.name: path for path in sorted(written.iterdir())}
    size = sum(path.stat().st_size for path in files.values())
    return size, digest_json({name: digest_file(path) for name, path in files.items()})
