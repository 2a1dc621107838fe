"""The metrics a manifest can name: one file per family, one line each in `manifests/builtin.py`."""

from __future__ import annotations

from adapterworks.builders.evaluation.metrics.metric import Metric
from adapterworks.manifests.extensions import Table

METRICS: Table[Metric] = Table("metrics", Metric)


def metric(name: str) -> Metric:
    """The metric of this name.

    Raises:
        InvalidInput: there is none, or it cannot be loaded.
        Refused: it is code in a file, and the manifest that names it is a release's.
    """
    return METRICS.named(name)
