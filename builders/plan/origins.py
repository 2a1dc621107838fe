"""What a training begins from and is held near, as plan and lock know it: digests, no paths.

Invariant: the reference is always said. Where the objective has one it is `start` (the policy as it
is before the first step), `base`, or the digest of a release; never left to be guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapterworks.builders.objectives.objective import objective_of
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import BASE, START
from adapterworks.registry.releases.release import Parent


@dataclass(frozen=True, slots=True)
class Origins:
    """The releases that a training begins from and is held near.

    Attributes:
        start: whose training is continued, if any.
        reference: `start`, `base`, or the digest of a release; None where the objective has none.
        reward: the digest of the release that says what an answer is worth, if one does.
        parents: `start`, `reference`, `reward` and `teacher`, as the record names them.
        teacher: who teaches, if somebody does: `base`, the digest of a release or of another base.
        teacher_parameters: those that are in memory for it, beside the policy's base.
    """

    start: Parent | None = None
    reference: str | None = None
    reward: str | None = None
    parents: tuple[Parent, ...] = ()
    teacher: str | None = None
    teacher_parameters: int = 0

    @classmethod
    def declared(cls, manifest: Manifest) -> Origins:
        """What a manifest says where no registry was asked: no release is known."""
        if not objective_of(manifest).reference:
            return cls()
        said = getattr(manifest.objective, "reference", START)
        return cls(reference=said if said in (START, BASE) else START)

    def to_json(self) -> dict[str, Any]:
        """What the training's digest covers; empty where there is neither."""
        found = {
            "start": self.start and self.start.digest,
            "reference": self.reference,
            "reward": self.reward,
            "teacher": self.teacher,
        }
        return {name: value for name, value in found.items() if value is not None}
