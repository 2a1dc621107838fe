"""Training rows that were ever test rows, of a dataset or of a release in this registry.

What a model is once tested on must never be learnt, or its scores and those of all that come after
it say nothing. The manifest's own test rows are another gate's (`contamination`).
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of training rows that are sealed; None where no registry was asked."""
    from adapterworks.builders.data.gates.seals import sealed_rows

    train = rows["train"]
    if context.seals is None:
        return Finding((), None)
    found = sealed_rows(train, context.seals, threshold)
    offences = (offence("train", match.index, train[match.index], str(match)) for match in found)
    return Finding(tuple(offences), len(found) / len(train) if train else 0.0)


GATE = Gate(
    name="sealed",
    description="Training rows that were ever test rows in this registry; "
    "threshold: share of a test question found (0–1).",
    check=check,
    threshold=0.8,
    unit="share",
    action="fail",
    binding=True,
)
