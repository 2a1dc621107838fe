"""The failures of a release's own evaluation: test rows, so none of them may be learnt."""

from __future__ import annotations

from adapterworks.builders.evaluation.comparison import CANDIDATE
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.failures.failure import Failure
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.json_lines import read_json_lines
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved

PREDICTIONS = "predictions.jsonl"
_RIGHT = 0.5  # of a score from 0 to 1


def evaluated_failures(
    registry: Registry, release: Resolved, name: str | None = None
) -> tuple[list[Failure], int]:
    """What the candidate got wrong, and how many rows it was asked.

    Args:
        name: the metric that says what is right; the first of the evaluation, if not given.

    Raises:
        NotFound: the release has no predictions here.
        InvalidInput: the metric was not among the evaluated, or is none of right and wrong.
    """
    told = registry.read_if_here(release.digest, PREDICTIONS)
    if told is None:
        raise NotFound(
            f"`{release}` has no `{PREDICTIONS}` here",
            hint="name a release that was built here with test rows",
        )
    lines = read_json_lines(told)
    known = list(lines[0]["scores"][CANDIDATE]) if lines else []
    wanted = name or next(iter(known), "")
    if wanted not in known:
        raise InvalidInput(
            f"`{release}` was not evaluated by `{wanted}`",
            hint=f"name one of {', '.join(f'`{one}`' for one in known)}",
        )
    if not metric(wanted).binary:
        raise InvalidInput(
            f"`{wanted}` does not say which answers are wrong",
            hint="name a metric of right and wrong, such as `exact_match`, with `--metric`",
        )
    failures = [
        Failure(
            prompt=tuple(line["prompt"]),
            answer=line["answers"][CANDIDATE],
            correction=None,
            place=f"test row {line['row']}",
            meta={"reference": line["reference"]},
        )
        for line in lines
        if line["scores"][CANDIDATE][wanted] < _RIGHT and not isinstance(line["prompt"], str)
    ]
    return failures, len(lines)
