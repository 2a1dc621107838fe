"""How many sequences a training computes at once where they are not laid out as planned.

Invariant: no more tokens than the memory was planned for. A micro batch of answers behind their
prompt has its tokens once; a base that cannot be asked so, a reward release and the check of the
reference have them once a row.
"""

from __future__ import annotations

from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan.plan import Plan


def behind_one_prompt(plan: Plan) -> bool:
    """Whether a micro batch is answers of one group, planned with their prompt once."""
    if not plan.shared_prefix:
        return False
    group = objective_of(plan.manifest).behind_one_prompt
    return group > 1 and group % plan.micro_batch == 0


def rows_apart(plan: Plan) -> int:
    """Sequences at once, each with its prompt to itself."""
    if not behind_one_prompt(plan):
        return plan.micro_batch
    own: int = plan.manifest.objective.max_completion  # type: ignore[attr-defined]
    return 1 + (plan.micro_batch - 1) * own // plan.longest
