"""What a data gate is: a pure check of the rows, and its setting where the manifest is silent.

A gate that is built in is on unless the manifest turns it off; one of an installed distribution, or
of a file beside the manifest, is on where `[data.gates.NAME]` names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from adapterworks.builders.data.gates.report import Action, Context, Finding, Rows

# What a threshold is: a share from 0 to 1, a positive number, or any number.
Unit = Literal["share", "positive", "number"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One data gate.

    Attributes:
        name: as the manifest says it, `[data.gates.NAME]`.
        description: one sentence: what offends; with a threshold, what that is.
        check: rows by split, threshold (0.0 where there is none), context → what was found.
        threshold: where the manifest gives none; None for a gate without thresholds.
        unit: of the threshold; None for a gate without.
        action: what happens to offending rows where the manifest does not say.
        reads_tokens: it needs `Context.lost`, for which rows are encoded.
        binding: a manifest can neither turn it off nor let it only warn.
    """

    name: str
    description: str
    check: Callable[[Rows, float, Context], Finding]
    threshold: float | None = None
    unit: Unit | None = None
    action: Action = "warn"
    reads_tokens: bool = False
    binding: bool = False

    def __post_init__(self) -> None:
        assert (self.threshold is None) == (self.unit is None), "a threshold has a unit"
