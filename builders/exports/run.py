"""One export: gather → object → write → prove → move into place → note in the release's log.

Invariant: under the name that was asked for there is a proved export or nothing. What is not
proved, because its engine is not installed, is written when that is asked for, and its name says
so.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.exports import EXPORTS
from adapterworks.builders.exports.export import Export, Settings
from adapterworks.builders.exports.material import Material, gather
from adapterworks.builders.exports.proof import Proof, prove
from adapterworks.manifests.digests import digest_file, digest_json
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, Refused, Unavailable
from adapterworks.manifests.installing import install

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
        noted: whether it is in the release's log.
    """

    ref: str
    form: str
    type: str
    place: Path
    size: int
    digest: str
    proof: Proof | None
    note: Mapping[str, Any] = field(default_factory=dict)
    noted: bool = True

    def remarks(self) -> Iterator[str]:
        """What whoever uses it should know, that its proof does not refuse."""
        if self.proof is not None and EXPORTS[self.form].beside and self.proof.template is None:
            yield (
                "the chat template and the ends of answers are the base's in that engine: `--base "
                "FILE` keeps the one that this was proved on, with the values and the template "
                "that it was trained under"
            )
        if self.proof is not None and not self.proof.composes:
            yield (
                f"{self.proof.engine} does not compose characters (NFC) as the release's tokenizer "
                "does: give it composed texts; decomposed ones (names of files from macOS, some "
                "Vietnamese and Korean) are other tokens there"
            )

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
        base_file: of a form beside a base: the base, written there if it is not there.
        unproved: write it although its engine is not installed.

    Raises:
        InvalidInput: the form has no such type or no base beside it, or something stands at `out`.
        Refused: the release cannot have the form, or the engine does not give its answers.
        Unavailable: the engine is not installed.
        NotFound: no such release, or its base is not here.
    """
    export = EXPORTS[form]
    settings = Settings(_type(export, form, type_))
    if base_file is not None and not export.beside:
        raise InvalidInput(
            f"`{form}` is a whole model: no base is used beside it",
            hint="leave `--base` out, or name a form beside a base with `--to` "
            f"({', '.join(f'`{name}`' for name, one in EXPORTS.items() if one.beside)})",
        )
    here = _installed(export.package)
    command = install(export.extra)
    if not _installed(export.writer):
        raise Unavailable(f"`{form}` is written with {export.writer}, which is not installed",
                          hint=command)  # fmt: skip
    if not here and not unproved:
        raise Unavailable(
            f"`{form}` is proved in {export.engine}, which is not installed",
            hint=f"{command} ({export.package}), or `--unproved` to write a file that says so",
        )
    if base_file is not None and out is not None and base_file.absolute() == out.absolute():
        raise InvalidInput(f"`{out}` cannot be both the adapter and its base",
                           hint="name another with `--out`")  # fmt: skip
    resolved = registry.resolve(ref)
    with registry.hold(resolved.digest, kind="build"):
        material = gather(registry, bases, resolved)
        place = _place(out, material, form, export, settings, proved=here)
        objections = list(export.objections(material, settings))
        if objections:
            raise Refused(
                f"`{material.ref}` cannot be exported as {form}: " + "; ".join(objections)
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        # In somebody's own folder: nothing else in it is touched.
        with tempfile.TemporaryDirectory(prefix=".adapters-export-", dir=place.parent) as made:
            scratch = Path(made)
            written = scratch / f"export{export.suffix}"
            progress(f"writing {material.ref} as {form} ({settings.type})")
            export.write(material, settings, written)
            coming = None
            if export.beside and base_file is not None and base_file.exists():
                settings = replace(settings, base_file=base_file)
            elif export.beside and (here or base_file is not None):
                coming = scratch / f"base{export.suffix}"
                export.write_base(material, settings, coming)
                settings = replace(settings, base_file=coming)
            proof = None
            if here:
                (scratch / "reading").mkdir()
                with export.reader(material, settings, written, scratch / "reading") as reader:
                    proof = prove(reader, material, settings.type, progress)
                if export.beside and base_file is None:  # what had the template goes
                    proof = replace(proof, template=None)
            size, digest = _measure(written)
            note = export.note(settings, written)
            done = Exported(material.ref, form, settings.type, place, size, digest, proof, note)
            if place.exists():  # somebody was faster
                raise _taken(place)
            if coming is not None and base_file is not None:
                _keep(coming, _named(base_file, proved=here))
            shutil.move(written, place)
    return _noted(done, material, registry, who, progress)


def _noted(
    done: Exported,
    material: Material,
    registry: Registry,
    who: str,
    progress: Callable[[str], None],
) -> Exported:
    """Note it in the release's log, where that takes it: what was exported is there either way."""
    try:
        registry.log.note(material.name, material.version, "export", who=who, **done.to_json())
    except AdapterworksError as error:  # whoever may only read exports too
        progress(f"it is not noted in the log of {material.ref}: {error.message}")
        return replace(done, noted=False)
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
    place = _named(place, proved=proved)
    if place.exists():
        raise _taken(place)
    return place


def _named(place: Path, *, proved: bool) -> Path:
    """A name that says whether what bears it was proved."""
    return place if proved else place.with_name(f"{place.stem}{UNPROVED}{place.suffix}")


def _keep(coming: Path, base_file: Path) -> None:
    """Move a base that was written beside an export to where it is asked for."""
    if base_file.exists():  # somebody was faster, or it is an earlier one that was not proved
        return
    base_file.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(coming, base_file)


def _taken(place: Path) -> InvalidInput:
    return InvalidInput(f"`{place}` exists already", hint="name another with `--out`, or remove it")


def _measure(written: Path) -> tuple[int, str]:
    """Bytes and digest of what was written."""
    if written.is_file():
        return written.stat().st_size, digest_file(written)
    files = {path.name: path for path in sorted(written.iterdir())}
    size = sum(path.stat().st_size for path in files.values())
    return size, digest_json({name: digest_file(path) for name, path in files.items()})
