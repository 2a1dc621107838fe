"""A judge that is asked while somebody trains: kept on disk, within its budget.

Invariant: the same request is paid for once in a training, however often it is killed and goes on,
and its answer is what it was: what is learnt is a function of the answers that are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from adapterworks.builders.endpoints.asking import require_answering
from adapterworks.builders.endpoints.budget import Budget
from adapterworks.builders.endpoints.cache import AnswerCache, open_cache
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.endpoint import Endpoint, parse_endpoint
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.judging import JudgeTable

KEPT = "judge.jsonl"  # in the folder of a build


class Judge:
    """Answers a training's questions.

    Args:
        table: who it is, and what it may cost.
        path: keeps what it says; held from the first question until `close`.
        environ: where its key is read.

    Raises:
        InvalidInput: the variable that is to hold its key is empty.
    """

    def __init__(self, table: JudgeTable, path: Path, environ: Mapping[str, str]) -> None:
        self.table, self.path = table, path
        self.endpoint = parse_endpoint(table.endpoint, environ, table.key_env)
        self._held = ExitStack()
        self._kept: AnswerCache | None = None

    def ask(self, chats: Sequence[Chat], *, model: str | None = None) -> list[Answer]:
        """An answer to each.

        Args:
            model: another one at the same address.

        Raises:
            Refused: the budget is not sure to allow them, or the endpoint refuses.
            Unavailable: it does not answer.
        """
        if self._kept is None:
            self._kept = self._held.enter_context(open_cache(self.path))
        asked = self.endpoint
        if model is not None:
            asked = Endpoint(asked.url, model, asked.key)
        new = self._kept.unknown(asked, chats)
        budget = Budget(self.table.max_tokens, self._kept.paid)
        if len(budget.ask(self._kept, asked, new, parallel=self.table.parallel)) < len(new):
            raise Refused(
                f"the judge's budget of {self.table.max_tokens} tokens is used up: it has cost "
                f"{self._kept.paid}, and what is to be asked now could cost more than is left",
                hint="raise `max_tokens` of the judge and build again: what it said is kept, and "
                "the training goes on where it ended",
            )
        return self._kept.ask(asked, chats, parallel=self.table.parallel)

    @property
    def paid(self) -> int:
        """Tokens that it has cost in this training, at most."""
        return self._kept.paid if self._kept is not None else 0

    def close(self) -> None:
        """Let the file go."""
        self._kept = None
        self._held.close()


def require_judge(table: JudgeTable, path: Path, environ: Mapping[str, str]) -> Endpoint:
    """Refuse, before anything long begins, a judge that does not answer; who it is, if it does.

    Args:
        path: keeps what it said; where there is something, it has answered.

    Raises:
        InvalidInput, Refused, Unavailable: as `parse_endpoint` and `require_answering`.
    """
    endpoint = parse_endpoint(table.endpoint, environ, table.key_env)
    if not path.exists():
        require_answering(endpoint)
    return endpoint
