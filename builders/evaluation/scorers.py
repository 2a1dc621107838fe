"""What a score depends on beside the answer and its row: the metric's code, a grader's definition,
and the versions of the packages that score.

Invariant: a score that was kept, or an evaluation of a release, is taken again only where all of
this is equal.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any

from adapterworks.builders.evaluation.metrics import metric as metric_named
from adapterworks.manifests.extensions import origin, source_digest
from adapterworks.manifests.graders import GraderMetric
from adapterworks.manifests.installing import installed_versions

PYTHON = "python"
"""Among packages: the language, where a metric reads or runs programs."""


def versions(names: Iterable[str]) -> dict[str, str]:
    """Package → version of all that the metrics of these names score with; those that are not
    installed are left out.

    Raises:
        InvalidInput, Refused: as `metric`.
    """
    packages = {one for name in names for one in metric_named(name).packages}
    found = installed(packages)
    for name in names:
        added = origin("metrics", name)
        if added.distribution is not None:  # its module may call others of it
            found[added.distribution] = added.version or "?"
    return dict(sorted(found.items()))


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Package → version of those that are installed."""
    wanted = sorted(packages)
    python = ".".join(platform.python_version_tuple()[:2])
    return installed_versions(wanted) | ({PYTHON: python} if PYTHON in wanted else {})


def scorer(name: str) -> dict[str, Any]:
    """All that decides what a metric says of an answer, as JSON values.

    Args:
        name: of the metric; a grader's with its definition (`GraderMetric`).

    Raises:
        InvalidInput, Refused: as `metric`.
    """
    found = {
        "name": str(name),
        "code": source_digest("metrics", name),
        "packages": versions([name]),
    }
    if isinstance(name, GraderMetric):
        found["grader"] = name.grader.model_dump(mode="json")
    return found
