"""What is wrong in a manifest, and where: every fault of a file is reported at once.

Invariant: a `ManifestError` carries at least one fault, in the order of the file's lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from adapterworks.manifests.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        file: the manifest as the caller named it; or the option or variable that said it instead,
            `--set` for an override.
        line: 1-based line in `file`; None for an override.
        key: the key's path in dotted form, `evaluate.gates[0].metric`; empty for the whole file.
        message: what is wrong, without a trailing period.
        hint: what to do about it.
    """

    file: str
    line: int | None
    key: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.key, self.message) if part)

    def to_json(self) -> dict[str, Any]:
        """The fault as a JSON value."""
        return asdict(self)


def in_file_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Faults sorted by line; those of overrides first."""
    return tuple(sorted(faults, key=lambda fault: (fault.line or 0, fault.key)))


class ManifestError(InvalidInput):
    """A manifest has faults; `.faults` holds all of them.

    Args:
        source: the file, or what stands in its place, as the caller named it.
        faults: one at least.
    """

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.faults = in_file_order(faults)
        first = self.faults[0]
        if len(faults) == 1 and first.line is None and first.file != source:  # of an option, say
            what = ": ".join(part for part in (first.key, first.message) if part)
            super().__init__(f"invalid `{first.file}`: {what}", hint=first.hint)
            return
        count = "1 error" if len(faults) == 1 else f"{len(faults)} errors"
        lines = [f"{source}: {count}"]
        for fault in self.faults:
            lines.append(f"  {fault}")
            if fault.hint:
                lines.append(f"    hint: {fault.hint}")
        super().__init__("\n".join(lines))
