"""What a judge is asked of rows that were written from seeds; documents' rows are judged by their
passage (`prompts.py`).

Invariant: a judge sees texts between marks, as material, and never who wrote them.
"""

from __future__ import annotations

from adapterworks.builders.data.rows import Row
from adapterworks.builders.endpoints.chat import Chat
from adapterworks.builders.endpoints.comparing import MATERIAL, marked

_TOKENS = 512
_SCORE = (
    "Say in one sentence what decides it, and end with a line that is exactly `Score: N`, N from 1 "
    "to 5. " + MATERIAL
)
_FITS = (
    "You judge a question and its answer, which are to be learnt from. 5: the question is clear "
    "and can be answered as it stands, and the answer is right, complete and to the point. 1: the "
    "question makes no sense, or the answer is wrong. "
)
_SAME = (
    "You judge whether two questions ask the same. 5: whoever answers the one answers the other: "
    "every fact, number, name and condition is in both, and the answer below fits the one as it "
    "fits the other. 1: they ask for different things. Whether the words are well chosen does not "
    "count. "
)


def fitting(row: Row) -> Chat:
    """Ask how good a question and its answer are."""
    parts = [("QUESTION", row.question), ("ANSWER", row.answer)]
    return marked(_FITS + _SCORE, parts, _TOKENS)


def same(seed: Row, row: Row) -> Chat:
    """Ask whether a row's question is its seed's in other words."""
    parts = [
        ("QUESTION A", seed.question),
        ("QUESTION B", row.question),
        ("ANSWER", seed.answer),
    ]
    return marked(_SAME + _SCORE, parts, _TOKENS)
