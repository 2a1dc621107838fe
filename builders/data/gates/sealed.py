"""Training rows that were ever test rows, of a dataset or of a release in this registry, and rows
of any split that were erased from it.

What a model is once tested on must never be learnt, or its scores and those of all that come after
it say nothing. The manifest's own test rows are another gate's (`contamination`). What somebody had
erased is not read again, from whatever file it comes.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of training rows that are sealed or erased; None without a registry."""
    from adapterworks.builders.data.gates.erased import erased_among
    from adapterworks.builders.data.gates.seals import sealed_rows

    train = rows["train"]
    if context.seals is None:
        return Finding((), None)
    found = {m.index: str(m) for m in sealed_rows(train, context.seals, threshold)}
    found |= {index: str(row) for index, row in erased_among(train, context.erased)}
    offences = [offence("train", index, train[index], found[index]) for index in sorted(found)]
    for split in ("validation", "test"):
        for index, row in erased_among(rows[split], context.erased):
            offences.append(offence(split, index, rows[split][index], str(row)))
    return Finding(tuple(offences), len(found) / len(train) if train else 0.0)


GATE = Gate(
    name="sealed",
    description="Training rows that were ever test rows in this registry, and rows that were "
    "erased from it; threshold: share of a test question found (0–1).",
    check=check,
    threshold=0.8,
    unit="share",
    action="fail",
    binding=True,
)
