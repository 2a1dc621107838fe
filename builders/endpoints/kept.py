"""What endpoints said, on disk as it arrives: the same request is paid for once.

An answer is known by the digest of address, model and request. The key that was sent is neither in
the digest nor in the file.

Invariant: an answer is on the disk before the next request is sent in its place, so a kill costs
the answers that were under way and no others. One process holds the file (`data/kept_lines.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from adapterworks.builders.data.kept_lines import KeptLines, kept_lines
from adapterworks.builders.endpoints.asking import PARALLEL, Again, Chat, Said, ask_endpoint
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import Conflict


class KeptAnswers:
    """The answers of one file; made by `kept_answers`.

    Attributes:
        asked: how many requests were sent.
        sent_tokens: what those cost, as the endpoints count.
        sent: tokens of prompts and answers that those cost each endpoint, at most.
        paid: what all answers of the file have cost, at most.
    """

    def __init__(self, lines: KeptLines, known: dict[str, Said], paid: int = 0) -> None:
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
        again: Again | None = None,
        heard: Callable[[int, Said], None] | None = None,
    ) -> list[Said]:
        """An answer to each chat, in their order; the endpoint is asked for those that are new.

        Args:
            again: as of `ask_endpoint`.
            heard: called with the number of a chat and its answer as soon as it is known: before
                anything is sent for those that are kept.

        Raises:
            Refused, Unavailable, Unaffordable: as `ask_endpoint`; what had arrived is kept.
        """
        names = [_name(endpoint, chat) for chat in chats]
        new = [name for name in dict.fromkeys(names) if name not in self._known]

        places: dict[str, list[int]] = {}
        for at, name in enumerate(names):
            places.setdefault(name, []).append(at)

        def tell(name: str) -> None:
            if heard is not None:
                for at in places[name]:
                    heard(at, self._known[name])

        def put(number: int, said: Said) -> None:
            self._put(new[number], said, asked[number], endpoint)
            tell(new[number])

        for name in places.keys() & self._known.keys():
            tell(name)
        asked = [chats[places[name][0]] for name in new]
        if new:
            ask_endpoint(endpoint, asked, parallel=parallel, heard=put, again=again)
        return [self._known[name] for name in names]

    def _put(self, name: str, said: Said, chat: Chat, endpoint: Endpoint) -> None:
        cost = said.cost(chat)
        told = {"request": name, "cost": cost, **asdict(said)}
        if not said.lost:
            del told["lost"]
        self._lines.add([json.dumps(told).encode()])
        self._known[name] = said
        self.paid += cost
        self.asked += 1
        self.sent_tokens += said.prompt_tokens + said.completion_tokens
        prompt, completion = self.sent.get(endpoint, (0, 0))
        more = said.spent(chat)
        self.sent[endpoint] = prompt + more[0], completion + more[1]


@contextmanager
def kept_answers(path: Path) -> Iterator[KeptAnswers]:
    """Hold a file of answers; a line that a kill has torn off goes.

    Raises:
        Conflict: another process holds it.
        IntegrityError: a line is none of an answer; what is paid stays.
    """
    known: dict[str, Said] = {}
    paid = 0

    def take(line: bytes) -> bool:
        nonlocal paid
        try:
            values = json.loads(line)
            name, cost = values.pop("request"), int(values.pop("cost", 0))
            values["tool_calls"] = tuple(values["tool_calls"])
            said = Said(**values)
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        known[name] = said
        paid += cost or said.prompt_tokens + said.completion_tokens
        return True

    busy = Conflict(
        f"another process is asking, and keeps what it hears in `{path}`",
        hint="wait for it, or end it: what it heard is kept",
    )
    with kept_lines(path, take, busy) as lines:
        yield KeptAnswers(lines, known, paid)


def _name(endpoint: Endpoint, chat: Chat) -> str:
    return digest_json({"url": endpoint.url, "model": endpoint.model, "request": chat.fields()})
