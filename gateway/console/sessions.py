"""Who is logged in: an id in a signed cookie, the key in this process's memory.

Invariants: no key is ever in a cookie, a page or on disk; a session ends when it was logged out,
when its time is over, when its key stops working, and with the process.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from itsdangerous import BadSignature, Signer

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """A browser.

    Attributes:
        key: what it logged in with; None before, empty where the gateway needs none.
        ends: seconds since the epoch.
        doors: parts of the API that took the key.
        who: the person, where an issuer says it.
    """

    id: str
    ends: float
    doors: frozenset[str] = frozenset()
    who: str = ""
    key: str | None = field(default=None, repr=False)


class Sessions:
    """The sessions of one gateway.

    Args:
        seconds: how long one lasts, however much it is used.
        most: at once; the oldest ends for one more.
    """

    def __init__(
        self, seconds: float, *, most: int = _MOST, now: Callable[[], float] = time.time
    ) -> None:
        self.seconds = seconds
        self._most, self._now = most, now
        self._open: OrderedDict[str, Session] = OrderedDict()
        secret = secrets.token_bytes(32)
        self._cookies = Signer(secret, salt="cookie")
        self._tokens = Signer(secret, salt="form")

    def visitor(self) -> Session:
        """Somebody who has not logged in; nothing is kept of it here."""
        return Session(secrets.token_urlsafe(32), self._now() + self.seconds)

    def log_in(self, key: str, doors: frozenset[str], who: str = "") -> Session:
        """A new session, under an id that nobody knew before."""
        session = replace(self.visitor(), key=key, doors=doors, who=who)
        self._open[session.id] = session
        while len(self._open) > self._most:
            self._open.popitem(last=False)
        return session

    def log_out(self, session: Session) -> None:
        """End it here too: its cookie is worth nothing any more."""
        self._open.pop(session.id, None)

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None if we did not sign it."""
        try:
            found = self._cookies.unsign(cookie or "").decode("latin-1")
        except BadSignature:
            return None
        session = self._open.get(found)
        if session is not None and session.ends <= self._now():
            self.log_out(session)
            session = None
        return session or Session(found, self._now() + self.seconds)

    def cookie(self, session: Session) -> str:
        """What the browser is given."""
        return self._cookies.sign(session.id).decode("latin-1")

    def token(self, session: Session) -> str:
        """What the session's forms carry."""
        return self._tokens.get_signature(session.id).decode("latin-1")

    def is_token(self, session: Session, token: str) -> bool:
        """Whether a form is one that we gave to this session."""
        return self._tokens.verify_signature(session.id, token)
