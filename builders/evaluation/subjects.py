"""Releases and their base as subjects of an evaluation: from a ref to something that answers.

Invariant: a release is evaluated on its own base with exactly the values it was trained on; if that
base cannot be had, it is not evaluated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from adapterworks.builders.evaluation.huggingface import HfGenerator, load_generator
from adapterworks.manifests.errors import IntegrityError, InvalidInput
from adapterworks.manifests.models import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapterworks.registry.bases.store import Base, BaseStore
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.release import Release


@dataclass(frozen=True)
class Subject:
    """A release that can be opened: `open` loads it, `open_base` loads its base alone."""

    name: str
    release: Release
    open: Callable[[], HfGenerator]
    open_base: Callable[[], HfGenerator]

    @property
    def manifest(self) -> Manifest:
        """The manifest it was built from.

        Raises:
            InvalidInput: it was imported or merged and has none.
        """
        if self.release.manifest is None:
            raise InvalidInput(
                f"`{self.name}` was not built from a manifest and carries none",
                hint="name one with `--manifest`: its `[data]` and `[evaluate]` are used",
            )
        return Manifest.model_validate_json(json.dumps(self.release.manifest))


def find_subject(registry: Registry, bases: BaseStore, ref: str) -> Subject:
    """The release behind a ref, ready to be opened.

    Raises:
        NotFound: no such release, or its base is not known here.
        IntegrityError: the base that can be had is not the one it was built on.
    """
    resolved = registry.resolve(ref)
    release = registry.release(resolved.digest)
    base = base_of(bases, release)
    trained = registry.checkout(resolved.digest, release.trained)
    if release.whole_model:
        opened = partial(load_generator, trained)
    else:
        opened = partial(load_generator, base.served, trained)
    return Subject(str(resolved), release, opened, partial(load_generator, base.served))


def base_of(bases: BaseStore, release: Release) -> Base:
    """The base a release was built on, prepared if need be.

    Raises:
        NotFound: it is not known here.
        IntegrityError: what is known under its name is another one.
    """
    known = bases.find(release.base.digest)
    if known is not None:
        return known
    table = (release.manifest or {}).get("base", {})
    base = bases.ensure(
        release.base.model,
        quantization=release.base.quantization,
        double_quantization=table.get("double_quantization", True),
    )
    if base.digest != release.base.digest:
        raise IntegrityError(
            f"`{release.name}` was built on base {release.base.digest}, "
            f"but `{release.base.model}` here is {base.digest}",
            hint="fetch the base at the revision that `adapters show` prints",
        )
    return base
