"""What every method's conversion to its served form is given and gives back.

Invariant: the error in `Conversion.servable` is measured on the numbers written, never assumed, and
an exact form's is 0.0. What a form cannot carry is in `left_out`, by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.manifests.models import Manifest
from adapterworks.registry.releases.release import Servable


@dataclass(frozen=True, slots=True)
class Source:
    """What was trained, and on what.

    Attributes:
        adapter: the method's own adapter; for full fine-tuning the whole checkpoint.
        served: `Base.served`, the dense values that training saw.
        shape: of the base.
        manifest: resolved.
        goes_on: it is of a training that has not ended, and may change nothing yet.
    """

    adapter: Path
    served: Path
    shape: BaseShape
    manifest: Manifest
    goes_on: bool = False

    def paths(self, modules: Iterable[str]) -> list[str] | None:
        """Modules as PEFT's `target_modules`: by their paths where the base has others of the same
        last names that text does not pass through; None where those names say all."""
        return sorted(modules) if self.shape.beside else None


@dataclass(frozen=True, slots=True)
class Conversion:
    """The servable form that was written.

    Attributes:
        servable: its record; `error` is relative, Frobenius, of the weight delta LoRA can carry.
        modules: relative error by module, for approximate forms.
        left_out: relative size (Frobenius) of each change that the form cannot carry.
    """

    servable: Servable
    modules: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, float] = field(default_factory=dict)
