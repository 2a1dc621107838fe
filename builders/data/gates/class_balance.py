"""One answer dominates: always giving it scores well and learns nothing.

For classification only: not more than half as many different answers as rows. Offending is the
surplus, the rows of the dominating answer with the largest digests; dropping it leaves that answer
with the accepted share.
"""

from __future__ import annotations

from collections import Counter
from math import floor

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.text import hashed, normalise
from adapterworks.builders.data.rows import Row


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: the most frequent answer's share of the training rows; threshold: accepted."""
    train = rows["train"]
    answers = [_told(row) for row in train]
    ranking = Counter(answers)
    if not any(answers) or 2 * len(ranking) > len(answers):
        return Finding((), 0.0)
    usual, count = ranking.most_common(1)[0]
    share = count / len(answers)
    if share <= threshold or threshold >= 1.0:
        return Finding((), share)
    kept = floor(threshold * (len(answers) - count) / (1.0 - threshold))
    members = [index for index, answer in enumerate(answers) if answer == usual]
    surplus = sorted(members, key=lambda index: (train[index].digest, index))[kept:]
    shown = " ".join(train[members[0]].answer.split())[:60]
    reason = f"`{shown}` is the answer of {share:.0%} of the rows"
    return Finding(
        tuple(offence("train", index, train[index], reason) for index in sorted(surplus)), share
    )


def _told(row: Row) -> bytes:
    """An answer by its hash; nothing of a row without one."""
    text = normalise(row.messages[-1]) if row.text is None else ""
    return hashed(text) if text else b""


GATE = Gate(
    name="class_balance",
    description="One answer dominates; threshold: its share of the training rows (0–1).",
    check=check,
    threshold=0.5,
    unit="share",
)
