"""What a build runs with: its code, packages and Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Environment:
    """The code and the packages a build runs with (read in `builders/building/surroundings.py`).

    Attributes:
        code: the digests and numbers that `adapter.lock` has of our own code.
        packages: name → version of those that compute.
        python: its version.
        metrics: name → digest of the file of each metric that is used.
        scorers: name → version of each package that those metrics score with.
        rewarding: the same, of each that scores sampled answers in a training.
        asking: the same, of each that brings what retention asks.
    """

    code: Mapping[str, str]
    packages: Mapping[str, str]
    python: str
    metrics: Mapping[str, str] = field(default_factory=dict)
    scorers: Mapping[str, str] = field(default_factory=dict)
    rewarding: Mapping[str, str] = field(default_factory=dict)
    asking: Mapping[str, str] = field(default_factory=dict)
