"""Who teaches a training: a ref or a base of a manifest → digest and folders.

Invariant: teacher and student have one vocabulary, token by token, or nothing is trained. A teacher
that can stand in the student's place is no second model in memory; every other one is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.building.origins import FoundOrigins, require_beside
from adapterworks.builders.evaluation.subjects import base_of
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import read_shape
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, NotFound, Refused
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import BASE
from adapterworks.registry.releases.release import Parent

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adapterworks.registry.bases.base import Base
    from adapterworks.registry.bases.store import BaseStore
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.release import Release


@dataclass(frozen=True, slots=True)
class _Teacher:
    """What `with_teacher` finds.

    Attributes:
        digest: `base`, or of a release or another base.
        adapter, model: folders, as of `FoundOrigins`.
        parameters: in memory beside the policy's base.
        parent: a release, as the record names it.
    """

    digest: str
    adapter: Path | None = None
    model: Path | None = None
    parameters: int = 0
    parent: Parent | None = None


def with_teacher(
    begun: FoundOrigins,
    manifest: Manifest,
    registry: Registry | None,
    bases: BaseStore,
    base: Base,
    tokenizer: PreTrainedTokenizerBase,
    progress: Callable[[str], None] | None = None,
) -> FoundOrigins:
    """The origins, and with them the teacher, where the objective has one.

    Raises:
        NotFound: there is no such release or base.
        Refused: it has another vocabulary, or cannot teach here.
    """
    named: str | None = getattr(manifest.objective, "teacher", None)
    other: str | None = getattr(manifest.objective, "teacher_base", None)
    if named is None and other is None:
        return begun
    if other is not None:
        theirs = bases.ensure(other, progress=progress)
        parameters = read_shape(theirs.checkpoint).parameters
        found = _Teacher(theirs.digest, model=theirs.served, parameters=parameters)
    elif named == BASE:
        found = _own_base(manifest, base)
    else:
        assert named is not None
        found = _release(manifest, named, registry, bases, base)
    if found.model is not None:
        require_same_vocabulary(tokenizer, found.model, named or other or "")
    parents = begun.origins.parents
    origins = replace(
        begun.origins,
        teacher=found.digest,
        teacher_parameters=found.parameters,
        parents=parents if found.parent is None else (*parents, found.parent),
    )
    return replace(begun, origins=origins, teacher=found.adapter, teacher_model=found.model)


def require_room(begun: FoundOrigins, longest: int) -> None:
    """Refuse sequences that are longer than a teacher with a base of its own can read.

    Args:
        longest: tokens of the longest sequence.

    Raises:
        InvalidInput: they exceed its positions.
    """
    if begun.teacher_model is None:
        return
    most = read_shape(begun.teacher_model).max_positions
    if longest > most:
        raise InvalidInput(
            f"the teacher is shown up to {longest} tokens, and its base has {most} positions",
            hint="lower `train.max_length`, `objective.max_completion`, or shorten its prompt",
        )


def require_same_vocabulary(tokenizer: PreTrainedTokenizerBase, folder: Path, name: str) -> None:
    """Refuse a teacher whose vocabulary is not the student's, token by token.

    Args:
        folder: its base's checkpoint.
        name: what the manifest calls it.

    Raises:
        Refused: a token has another id, or there is none.
    """
    from transformers import AutoTokenizer

    own = tokenizer.get_vocab()
    theirs = AutoTokenizer.from_pretrained(folder).get_vocab()
    odd = [token for token in {**own, **theirs} if own.get(token) != theirs.get(token)]
    if odd:
        token = min(odd, key=lambda each: (own.get(each, theirs.get(each)), each))
        raise Refused(
            f"`{name}` cannot teach this base: {len(odd)} tokens differ, {token!r} is "
            f"{theirs.get(token, 'missing')} there and {own.get(token, 'missing')} here",
            hint="a teacher has to have the same tokenizer: another size of the same family",
        )


def _own_base(manifest: Manifest, base: Base) -> _Teacher:
    """Without the adapter; beside a model that is trained whole, a second time in memory."""
    if not METHODS[manifest.method.kind].whole_model:
        return _Teacher(BASE)
    return _Teacher(BASE, model=base.served, parameters=read_shape(base.checkpoint).parameters)


def _release(
    manifest: Manifest, ref: str, registry: Registry | None, bases: BaseStore, base: Base
) -> _Teacher:
    if registry is None:
        raise InvalidInput(
            f"`{ref}` teaches, and no registry was given", hint="prepare it with a registry"
        )
    resolved = registry.resolve(ref)
    release, name = registry.release(resolved.digest), f"{resolved.name}@{resolved.version}"
    if any(p.startswith(f"{release.trained}/") for p in registry.absences(resolved.digest)):
        raise NotFound(f"the weights of `{name}` are not here, erased or withheld")
    folder = registry.checkout(release.digest, release.trained)
    parent = Parent(relation="teacher", digest=resolved.digest, ref=name)
    if release.whole_model:
        parameters = read_shape(folder).parameters
        return _Teacher(release.digest, None, folder, parameters, parent)
    if stands_in(manifest, release, name, base):
        return _Teacher(release.digest, folder, None, 0, parent)
    theirs = base if release.base.digest == base.digest else base_of(bases, release)
    parameters = read_shape(theirs.checkpoint).parameters
    return _Teacher(release.digest, folder, theirs.served, parameters, parent)


def stands_in(manifest: Manifest, release: Release, name: str, base: Base) -> bool:
    """Whether a release's adapter can take the policy's place on its own base for a moment."""
    if METHODS[manifest.method.kind].whole_model or release.base.digest != base.digest:
        return False
    try:
        require_beside(manifest, release, name, "the teacher")
    except AdapterworksError:
        return False
    return True
