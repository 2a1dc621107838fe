"""Thresholds of `[data.gates]` that mean nothing, and gates that may not be loosened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapterworks.manifests.checking import KeyPath, Problem, check
from adapterworks.manifests.extensions import load
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.user_code import UserCode, names_a_file


@check("data.gates")
def _gate_thresholds(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    for name, gate in manifest.data.gates.items():
        if gate.threshold is None or (names_a_file(name) and not isinstance(name, UserCode)):
            continue
        key: KeyPath = ("data", "gates", name, "threshold")
        match load("data_gates", name).unit:
            case None:
                yield Problem(key, f"gate `{name}` has no threshold", "remove it")
            case "share" if not 0.0 <= gate.threshold <= 1.0:
                yield Problem(key, f"{gate.threshold} is not a share", "use a number from 0 to 1")
            case "positive" if gate.threshold <= 0.0:
                yield Problem(key, f"{gate.threshold} is not positive", "use a number such as 6")


@check("data.gates")
def _binding_gates(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    for name, gate in manifest.data.gates.items():
        if names_a_file(name) or not load("data_gates", name).binding:
            continue
        if not gate.on:
            yield Problem(
                ("data", "gates", name, "on"),
                f"gate `{name}` cannot be turned off",
                'remove it; `action = "drop"` leaves the rows out',
            )
        elif gate.action == "warn":
            yield Problem(
                ("data", "gates", name, "action"),
                f"gate `{name}` cannot only warn",
                'use "fail", or "drop" to leave the rows out',
            )
        elif _is_looser(name, gate.threshold):
            yield Problem(
                ("data", "gates", name, "threshold"),
                f"gate `{name}` finds less above {load('data_gates', name).threshold:g}, its own "
                "threshold",
                "remove it, or set a lower one",
            )


def _is_looser(name: str, threshold: float | None) -> bool:
    own = load("data_gates", name).threshold
    return threshold is not None and own is not None and threshold > own


DATA_GATE_CHECKS = (_gate_thresholds, _binding_gates)
