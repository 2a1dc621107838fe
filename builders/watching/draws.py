"""What counts as one draw: a row, or all rows of one `group` (a document, a patient) together.

Rows of a group stand and fall together, and bounds that took them for independent draws would be
too narrow. So a group's rows stand side by side in the order in which rows are asked, and once all
are answered their mean is one draw. The mean that is bounded is then that of groups, each of which
weighs the same, however many rows it has.

Invariant: the order depends on the rows alone; where no row names a group, each is a draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.data.rows import Row

Floats = NDArray[np.float64]
_ORDER = 0  # seed of the shuffle


def ordered(rows: Sequence[Row]) -> list[list[Row]]:
    """The draws in an order that does not depend on the file's: rows of a file are often sorted."""
    groups: dict[object, list[Row]] = {}
    for at, row in enumerate(sorted(rows, key=lambda row: row.digest)):
        name = row.meta.get("group")
        groups.setdefault(at if name is None else ("group", name), []).append(row)
    found = [*groups.values()]
    order = np.random.Generator(np.random.PCG64(_ORDER)).permutation(len(found))
    return [found[at] for at in order]


def means(values: Floats, sizes: Sequence[int]) -> Floats:
    """[draws] the mean of each draw whose rows are all there.

    Args:
        values: [rows] of the first rows, in order.
        sizes: rows of each draw, in order.
    """
    ends = np.cumsum(np.asarray(sizes, dtype=np.int64))
    whole = ends[ends <= len(values)]
    begins = np.concatenate([[0], whole[:-1]]) if len(whole) else whole
    sums = np.concatenate([[0.0], np.cumsum(values)])
    found: Floats = (sums[whole] - sums[begins]) / (whole - begins)
    return found
