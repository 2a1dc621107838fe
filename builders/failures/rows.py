"""Clusters of failures → rows to learn from: corrections, and rows of a pool that are like them.

Invariant: a test row is never learnt: where a failure is one, its reference is left alone and rows
that nobody was ever tested on stand in for it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adapterworks.builders.data.rows import Row
from adapterworks.builders.failures.clusters import Cluster, Pool


def corrected(clusters: Sequence[Cluster]) -> list[Row]:
    """The failures that somebody corrected, as rows."""
    return [
        Row(
            (*failure.prompt, {"role": "assistant", "content": failure.correction}),
            {"cluster": cluster.number, "failed": failure.answer, "place": failure.place},
        )
        for cluster in clusters
        for failure in cluster.failures
        if failure.correction is not None
    ]


def like_failures(
    clusters: Sequence[Cluster], pool: Sequence[Row], *, without: Collection[str], each: int
) -> list[Row]:
    """Rows of a pool that are like the failures, each once.

    Args:
        without: digests of rows that were learnt already.
        each: how many for every failure, at most.
    """
    fresh = [row for row in pool if row.digest not in without and row.text is None]
    if not clusters or not fresh:
        return []
    known = [failure for cluster in clusters for failure in cluster.failures]
    among = Pool([row.question for row in fresh], known)
    found: dict[int, int] = {}
    for cluster in clusters:
        for at in among.nearest(cluster.failures, each=each):
            found.setdefault(at, cluster.number)
    return [fresh[at].with_meta(cluster=number) for at, number in sorted(found.items())]
