"""A cache of endpoints' answers, on disk as they arrive: the same request is paid for once.

An answer is known by the digest of address, model and request. The key that was sent is neither in
the digest nor in the file.

Invariant: an answer is on the disk before the next request is sent in its place, so a kill costs
the answers that were under way and no others; what a request can cost is there before it is sent,
so those count as paid, as what failed does. One process holds the file (`data/journal.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adapterworks.builders.data.journal import Journal, open_journal
from adapterworks.builders.endpoints.account import Account, Free
from adapterworks.builders.endpoints.asking import PARALLEL, ask_endpoint
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import Conflict

_SELDOM = ("lost", "declined")  # is written where it says something


class AnswerCache:
    """The answers of one file; made by `open_cache`.

    Attributes:
        asked: how many requests were sent.
        sent_tokens: what those cost, as the endpoints count.
        sent: tokens of prompts and answers that those cost each endpoint, at most.
        paid: what all requests of the file have cost, at most: those that were answered, that may
            have been billed unheard, and that were under way when a process ended.
    """

    def __init__(self, lines: Journal, known: dict[str, Answer], paid: int = 0) -> None:
        self._lines = lines
        self._known = known
        self.asked = 0
        self.sent_tokens = 0
        self.sent: dict[Endpoint, tuple[int, int]] = {}
        self.paid = paid

    def unknown(self, endpoint: Endpoint, chats: Sequence[Chat]) -> list[Chat]:
        """Those that would be sent, each once."""
        new = {_name(endpoint, chat): chat for chat in chats}
        return [chat for name, chat in new.items() if name not in self._known]

    def ask(
        self,
        endpoint: Endpoint,
        chats: Sequence[Chat],
        *,
        parallel: int = PARALLEL,
        account: Account | None = None,
    ) -> list[Answer]:
        """An answer to each chat, in their order; the endpoint is asked for those that are new.

        Args:
            account: as of `ask_endpoint`; told of an answer as soon as it is known: of those that
                are kept before anything is sent.

        Raises:
            Refused, Unavailable, Unaffordable: as `ask_endpoint`; what had arrived is kept.
        """
        account = account or Free()
        names = [_name(endpoint, chat) for chat in chats]
        places: dict[str, list[int]] = {}
        for at, name in enumerate(names):
            places.setdefault(name, []).append(at)
        for name in places.keys() & self._known.keys():
            for at in places[name]:
                account.heard(at, self._known[name])
        new = [name for name in places if name not in self._known]
        asked = [chats[places[name][0]] for name in new]
        if new:
            own = _Written(self, account, endpoint, asked, [(n, places[n]) for n in new])
            ask_endpoint(endpoint, asked, parallel=parallel, account=own)
        return [self._known[name] for name in names]

    def _pay(self, name: str, cost: int, **told: Any) -> None:
        """Write down what a request costs more, or less, than was written of it."""
        self._lines.add([json.dumps({"request": name, "cost": cost, **told}).encode()])
        self.paid += cost

    def _put(self, name: str, said: Answer, chat: Chat, endpoint: Endpoint, held: int) -> None:
        told = {key: value for key, value in asdict(said).items() if value or key not in _SELDOM}
        self._pay(name, said.cost(chat) - held, **told)
        self._known[name] = said
        self.asked += 1
        self.sent_tokens += said.prompt_tokens + said.completion_tokens
        prompt, completion = self.sent.get(endpoint, (0, 0))
        more = said.spent(chat)
        self.sent[endpoint] = prompt + more[0], completion + more[1]


class _Written:
    """The account of what is sent, on the disk before it is; another is told after it.

    Args:
        kept: the file.
        other: the account that is told.
        asked: the chats.
        named: of each its name in the file, and where the other account has it.
    """

    def __init__(
        self,
        kept: AnswerCache,
        other: Account,
        endpoint: Endpoint,
        asked: Sequence[Chat],
        named: Sequence[tuple[str, Sequence[int]]],
    ) -> None:
        self._kept, self._other, self._endpoint = kept, other, endpoint
        self._asked, self._named = asked, named
        self._held = [0] * len(asked)

    def sent(self, number: int) -> None:
        self._hold(number, self._asked[number].most_tokens)
        self._other.sent(self._named[number][1][0])

    def unbilled(self, number: int) -> None:
        self._hold(number, -self._asked[number].most_tokens)
        self._other.unbilled(self._named[number][1][0])

    def again(self, number: int) -> bool:
        return self._other.again(self._named[number][1][0])

    def heard(self, number: int, said: Answer) -> None:
        name, places = self._named[number]
        self._kept._put(name, said, self._asked[number], self._endpoint, self._held[number])
        for at in places:
            self._other.heard(at, said)

    def _hold(self, number: int, cost: int) -> None:
        self._kept._pay(self._named[number][0], cost)
        self._held[number] += cost


@contextmanager
def open_cache(path: Path) -> Iterator[AnswerCache]:
    """Hold a file of answers; a line that a kill has torn off goes.

    Raises:
        Conflict: another process holds it.
        IntegrityError: a line is none of an answer; what is paid stays.
    """
    known: dict[str, Answer] = {}
    paid = 0

    def take(line: bytes) -> bool:
        nonlocal paid
        try:
            values = json.loads(line)
            name, cost = values.pop("request"), values.pop("cost", None)
            if values:
                values["tool_calls"] = tuple(values["tool_calls"])
                said = known[name] = Answer(**values)
                cost = said.prompt_tokens + said.completion_tokens if cost is None else cost
            paid += int(cost)
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    busy = Conflict(
        f"another process is asking, and keeps what it hears in `{path}`",
        hint="wait for it, or end it: what it heard is kept",
    )
    with open_journal(path, take, busy) as lines:
        yield AnswerCache(lines, known, paid)


def _name(endpoint: Endpoint, chat: Chat) -> str:
    return digest_json({"url": endpoint.url, "model": endpoint.model, "request": chat.fields()})
