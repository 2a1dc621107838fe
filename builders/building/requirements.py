"""What rows have to be before anything is trained on them.

Invariant: what the end of a build would refuse – gates, the evaluation, rewards – is refused here,
before the training is paid for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.needs import check_test_rows
from adapterworks.builders.evaluation.report import slices_of
from adapterworks.builders.objectives.graders import require_columns
from adapterworks.builders.rewards.sandbox import require as require_sandbox
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import PythonGrader, leaves_of
from adapterworks.manifests.models import Manifest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def require_rows(
    manifest: Manifest, tokenizer: PreTrainedTokenizerBase, rows: Mapping[str, Sequence[Row]]
) -> None:
    """Refuse splits without the rows that the training or the evaluation needs.

    Args:
        rows: by split.

    Raises:
        InvalidInput: there are no training rows; there are no test rows, and gates, retention or
            safety would judge by them; or the evaluation cannot read a test row.
    """
    if not rows["train"]:
        raise InvalidInput("there are no training rows", hint="check `data.train` and the gates")
    table = manifest.evaluate
    if not rows["test"] and (table.gates or table.retention.on or table.safety.on):
        # The alias would move without anybody's judgement.
        raise InvalidInput(
            "there are no test rows, and so nothing by which gates, retention or safety are judged",
            hint="equal rows count once, and data gates may drop some: name `data.test`, raise "
            "`data.test_share`, or add rows",
        )
    for row in rows["test"]:
        slices_of(row)  # what the evaluation will read of it
    check_test_rows(tokenizer, rows["test"], table, manifest.train.max_length)


def require_rewards(manifest: Manifest, rows: Sequence[Row]) -> None:
    """Refuse rewards that cannot be given on this machine or to these rows.

    Raises:
        InvalidInput: a row lacks what a reward reads of it.
        Refused: there is no sandbox, say.
    """
    for name in getattr(manifest.objective, "rewards", ()):
        reward = metric(name)
        if reward.require is not None:
            reward.require(rows)
    for grader in getattr(manifest.objective, "graders", ()):
        if any(isinstance(leaf, PythonGrader) for leaf in leaves_of(grader).values()):
            require_sandbox()
        for row in rows:
            require_columns(grader, row)
