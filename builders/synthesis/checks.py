"""What a written row has to stand: what costs nothing first, then a verifier, then a judge.

A verifier is a metric. One that reads columns of the row (`json_schema`, `unit_tests`) judges the
written answer by them; another compares: the question is asked once more of the writer, who is not
shown the first answer, and both must agree.

Invariant: nothing is asked about a row that a check before has left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapterworks.builders.data.rows import Row
from adapterworks.builders.endpoints.chat import Chat
from adapterworks.builders.evaluation.metrics.metric import Metric
from adapterworks.builders.synthesis.against import Against
from adapterworks.builders.synthesis.making import Asking
from adapterworks.builders.synthesis.novelty import MOST
from adapterworks.builders.synthesis.prompts import read_score
from adapterworks.manifests.errors import InvalidInput

AGREES = 0.5  # of a score from 0 to 1


@dataclass(frozen=True, slots=True)
class Checks:
    """What is asked of a row.

    Attributes:
        novelty: ROUGE-L from which a question is not new.
        min_score: of the judge's 1–5.
        verifier: its score has to be at least a half; None leaves that out.
        against: test sets that it may be no question of.
    """

    novelty: float = MOST
    min_score: int = 4
    verifier: Metric | None = None
    against: Against | None = None

    @property
    def reads_columns(self) -> bool:
        """Whether the verifier reads columns of a row, and no reference."""
        return self.verifier is not None and self.verifier.reads_columns

    def allowed(self, row: Row, asking: Asking) -> bool:
        """Whether its question is none of a test set's."""
        if self.against is None or self.against.found(row) is None:
            return True
        asking.leave_out("against")
        return False

    def verified(self, rows: Sequence[Row], again: Sequence[Chat], asking: Asking) -> list[Row]:
        """Those that the verifier takes; with its score.

        Args:
            again: asks each row's question once more, where the verifier compares answers.

        Raises:
            InvalidInput: a row lacks the verifier's column.
        """
        if self.verifier is None:
            return [*rows]
        if self.reads_columns:
            given = [row.answer for row in rows]
        else:
            given = [one.text.strip() for one in asking.write(again)]
        found = []
        # Those that the budget left unanswered are left out with it.
        answered = rows[: len(given)]
        for row, score in zip(answered, self.verifier.scores(given, answered), strict=True):
            if score < AGREES:
                asking.leave_out("verifier")
            else:
                found.append(row.with_meta(verifier=self.verifier.name, verifier_score=score))
        return found

    def judged(self, rows: Sequence[Row], chats: Sequence[Chat], asking: Asking) -> list[Row]:
        """Those that the judge gives enough; with its score.

        Args:
            chats: what the judge is asked of each row.
        """
        if asking.judge is None:
            return [*rows]
        found = []
        # Those that the budget left unjudged are left out with it.
        for row, said in zip(rows, asking.judged(chats), strict=False):
            score = read_score(said.text)
            if score is None or score < self.min_score:
                asking.leave_out("judge")
            else:
                found.append(row.with_meta(judge=asking.judge.name, judge_score=score))
        return found


def require_verifier(metric: Metric) -> Metric:
    """Refuse a metric that says nothing of one answer.

    Raises:
        InvalidInput: it is one of many answers, of likelihoods, or no share.
    """
    fits = metric.alone and metric.is_mean and metric.unit == "share"
    if not fits or not metric.higher_is_better:
        raise InvalidInput(
            f"`{metric.name}` does not say of one answer how right it is",
            hint="name a metric of answers from 0 to 1, such as `exact_number` or `json_schema`",
        )
    return metric
