"""Which releases a training begins from and is held near: refs of a manifest → digests and folders.

Invariant: what cannot be continued exactly is refused before anything is trained: another base,
another method, other shapes. A reference is never chosen silently: the plan and the lock name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.lora_keys import as_lora
from adapterworks.builders.objectives.objective import OBJECTIVES, objective_of
from adapterworks.builders.plan.origins import Origins
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.naming import of_record
from adapterworks.manifests.objective import BASE, START, reference_ref
from adapterworks.registry.releases.release import Parent

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.release import Release

# Keys of a method's table that do not change what its weights mean.
_FREE = {"kind", "dropout", "init", "learning_rate_ratio", "keep_ranks", "orthogonality"}


@dataclass(frozen=True)
class FoundOrigins:
    """The releases with their folders: what the training process is given.

    Attributes:
        start: the folder of the adapter, or of the whole model, that is continued.
        reference: the folder of the adapter that the policy is held near, where it is one.
        reward: the folder of the reward's adapter, where a release rewards.
        separator: what its steps end with, where it judges steps.
        teacher: the folder of the teacher's adapter, where it has one.
        teacher_model: the folder of the teacher's own checkpoint, where it is not the policy's base
            that teaches.
    """

    origins: Origins
    start: Path | None = None
    reference: Path | None = None
    reward: Path | None = None
    separator: str | None = None
    teacher: Path | None = None
    teacher_model: Path | None = None


def find_origins(manifest: Manifest, registry: Registry | None, base: str) -> FoundOrigins:
    """Resolve `[start]` and `objective.reference`.

    Args:
        registry: where their releases are; None where nobody has one.
        base: digest of the base that is trained on.

    Raises:
        NotFound: there is no such release.
        Refused: it cannot be continued, or cannot be a reference, here.
    """
    has_reference = objective_of(manifest).reference
    said = getattr(manifest.objective, "reference", START)
    other = reference_ref(manifest.objective) if has_reference else None
    rewarding = getattr(manifest.objective, "reward_release", None)
    if manifest.start is None and other is None and rewarding is None:
        return FoundOrigins(Origins(reference=said if has_reference else None))
    if registry is None:
        raise InvalidInput(
            "the manifest begins with a release, and no registry was given",
            hint="prepare it with a registry",
        )
    whole = METHODS[manifest.method.kind].whole_model
    parents: list[Parent] = []
    start = reference = judge = rewarded = separator = None
    if manifest.start is not None:
        resolved, release = _find(registry, manifest.start.ref, base)
        _require_same_method(manifest, release, resolved.ref or "")
        start = registry.checkout(release.digest, release.trained)
        parents.append(resolved)
    if other is not None:
        resolved, release = _find(registry, other, base)
        if whole or release.whole_model:
            raise Refused(
                f"`{resolved.ref}` cannot be the reference: with a model that is trained whole, a "
                "second one would have to be in memory",
                hint='use `reference = "start"`, or a method that trains an adapter',
            )
        require_beside(manifest, release, resolved.ref or "", "the reference")
        reference = registry.checkout(release.digest, release.trained)
        said = release.digest
        parents.append(resolved.model_copy(update={"relation": "reference"}))
    elif said == BASE and whole and start is not None:
        raise Refused(
            "the base cannot be the reference of a whole model that is trained on: it is not in "
            "memory",
            hint='use `reference = "start"`, or a method that trains an adapter',
        )
    elif has_reference and said == START and not whole:
        reference = start
    if rewarding is not None:
        resolved, release = _find(registry, rewarding, base)
        separator = _require_reward(manifest, release, resolved.ref or "")
        judge, rewarded = registry.checkout(release.digest, release.trained), release.digest
        parents.append(resolved.model_copy(update={"relation": "reward"}))
    origins = Origins(
        parents[0] if manifest.start is not None else None,
        said if has_reference else None,
        rewarded,
        tuple(parents),
    )
    return FoundOrigins(origins, start, reference, judge, separator)


def _require_reward(manifest: Manifest, release: Release, name: str) -> str | None:
    """A reward, as an adapter that can stand in the policy's place for a moment; returns what its
    steps end with, where it judges steps."""
    objective = release.provenance.objective
    judges = OBJECTIVES.named(objective).judges if objective and objective in OBJECTIVES else ""
    if not judges:
        raise Refused(
            f"`{name}` was trained for `{objective or 'something unknown'}`, not for a reward",
            hint='train one with `objective.kind = "reward"`, or `"prm"` for steps',
        )
    if judges != "steps" and getattr(manifest.objective, "reward_aggregate", None) is not None:
        raise Refused(
            f"`{name}` rewards whole answers, so there are no steps to aggregate",
            hint="leave `objective.reward_aggregate` out",
        )
    policy = METHODS[manifest.method.kind]
    soft = policy.soft_prompt or METHODS[release.method].soft_prompt
    if policy.whole_model or release.whole_model or soft:
        raise Refused(
            f"`{name}` cannot reward a training of `{manifest.method.kind}`: both must be LoRA, as "
            "one stands in the other's place while answers are judged",
            hint="train policy and reward with `lora`, `qlora` or `dora`",
        )
    require_beside(manifest, release, name, "the reward")
    if judges != "steps":
        return None
    return str(of_record(release.manifest or {}).objective.separator)  # type: ignore[attr-defined]


def require_beside(manifest: Manifest, release: Release, name: str, role: str) -> None:
    """Refuse an adapter that cannot be put in the policy's place on the same base.

    Both have to be of one kind. Adapters of LoRA's kind may differ in size; of other kinds, both
    need the same `[method]`: their adapters share shapes, or scores are read by them.

    Args:
        name: the release's, for the message.
        role: what it is to be, as `the reference`.

    Raises:
        Refused: it is of another kind, or was trained with another `[method]`.
    """
    policy, other = METHODS[manifest.method.kind], METHODS[release.method]
    table: MethodTable = other.table(kind=other.kind)
    if release.manifest is not None:
        table = of_record(release.manifest).method
    if policy.adopt(table) is None:
        raise Refused(
            f"`{name}` cannot be {role} of a training of `{policy.kind}`: it is `{other.kind}`, "
            "and an adapter takes the place of one of its own kind only",
            hint="train both with one method; `lora`, `qlora` and `dora` are of one kind",
        )
    free = _FREE | {"init_text"}
    was, now = (one.model_dump(exclude=free) for one in (table, manifest.method))
    if as_lora(table) is None and was != now:
        differs = {key: value for key, value in was.items() if value != now.get(key)}
        raise Refused(
            f"`{name}` cannot be {role}: it was trained with another `[method]`: {differs}",
            hint="declare its method with the same keys; `adapters show REF` prints them",
        )


def _find(registry: Registry, ref: str, base: str) -> tuple[Parent, Release]:
    resolved = registry.resolve(ref)
    release = registry.release(resolved.digest)
    name = f"{resolved.name}@{resolved.version}"
    if release.base.digest != base:
        raise Refused(
            f"`{name}` was trained on another base ({release.base.model}, "
            f"{release.base.quantization}, {release.base.digest[:19]}…)",
            hint="declare that base, quantization included; an adapter means nothing on another",
        )
    absent = registry.absences(resolved.digest)
    if any(path.startswith(f"{release.trained}/") for path in absent):
        raise NotFound(f"the weights of `{name}` are not here, erased or withheld")
    return Parent(relation="start", digest=resolved.digest, ref=name), release


def _require_same_method(manifest: Manifest, release: Release, name: str) -> None:
    """The same shapes with the same meaning; LoRA and QLoRA are one method to this."""
    technique = METHODS[manifest.method.kind]
    if not technique.continues:
        raise Refused(
            f"a training of `{manifest.method.kind}` cannot be continued from what a release keeps",
            hint="train it from the base, or choose another `method.kind`",
        )
    if release.manifest is None:
        raise Refused(
            f"`{name}` was not built from a manifest, so what its weights mean is not known",
            hint="begin with a release that `adapters build` made",
        )
    before = of_record(release.manifest).method
    held = METHODS[before.kind].held(before)
    adopted = technique.adopt(held)
    wanted = technique.begun_with(manifest.method)
    # What ranks that stay were scaled by goes into them, so they may be scaled by something else.
    free = _FREE if wanted is manifest.method else _FREE | {"alpha", "rslora"}
    now = wanted.model_dump(exclude=free)
    if adopted is None or adopted.model_dump(exclude=free) != now:
        was = {key: value for key, value in held.model_dump().items() if value != now.get(key)}
        lora = as_lora(held)
        if lora is not None and held != before:
            raise Refused(
                f"`{name}` holds another `[method]` than it was trained with, and than this one: "
                f"{was}; what `init` took out of the base is in its ranks",
                hint=f"declare `rank = {lora.rank}`, `alpha = {lora.alpha}` and no `init`",
            )
        raise Refused(
            f"`{name}` was trained with another `[method]`: {was}",
            hint="declare its method with the same keys; `adapters show REF` prints them",
        )
