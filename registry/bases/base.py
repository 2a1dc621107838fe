"""A prepared base, and its record: what `base.json` beside its files says of it.

Invariant: a base that is read has the bytes that it was prepared with. Stamps of its files tell at
once that they are as they were; where they differ, the bytes are hashed again.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from adapterworks.manifests.atomic import write_atomic
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.bases.files import GENERATION, base_digest, chat_template, stamps
from adapterworks.registry.releases.base_names import public_name
from adapterworks.registry.releases.release import BaseIdentity

RECORD = "base.json"


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


def read_record(folder: Path) -> Base:
    """The base that a folder holds.

    Raises:
        IntegrityError: its files changed since it was prepared, or its record cannot be read.
    """
    try:
        record = json.loads((folder / RECORD).read_text())
        noted = record["stamps"]
        # A later version may have written more: that is passed over, as in other records.
        known = {one.name: record[one.name] for one in fields(Base)}
        places = {name: _absolute(folder, known[name]) for name in ("checkpoint", "served")}
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"`{folder / RECORD}` is no record of a base: {type(error).__name__}",
            hint=f"remove `{folder}` to prepare the base again",
        ) from error
    base = Base(**{**known, **places})
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
            hint=f"restore them, or remove `{folder}` to prepare it again under a new digest",
        )
    # The same bytes, copied or restored: so that they are not hashed each time from now on.
    with contextlib.suppress(OSError):
        table = {**json.loads((folder / RECORD).read_text()), "stamps": seen}
        write_atomic(folder / RECORD, json.dumps(table, indent=2, sort_keys=True))
    return base


def write_record(path: Path, base: Base, folder: Path) -> None:
    """Write the record of a base whose files lie beside it, to be moved to `folder` together."""
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
    write_atomic(path, json.dumps(record, indent=2, sort_keys=True))


def _relative(folder: Path, path: Path) -> str:
    if path.is_relative_to(folder.parent):
        return os.path.relpath(path, folder)
    return str(path)


def _absolute(folder: Path, path: str) -> Path:
    return Path(os.path.normpath(folder / path))
