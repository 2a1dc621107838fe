"""What people said of answers, for whoever runs the registry: listed, added to, exported.

`over_http.py` has the same methods for a registry behind a server.
"""

from __future__ import annotations

from collections.abc import Iterator

from adapterworks.gateway.capture.answered import answered
from adapterworks.gateway.capture.asked import AskedFeedback
from adapterworks.gateway.capture.saying import say
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.registry.exchanges import feedback
from adapterworks.registry.exchanges.exchange import Exchange, Feedback
from adapterworks.registry.exchanges.store import Exchanges


class Judgements:
    """The feedback of everybody.

    Args:
        exchanges: with what was captured of answers.
    """

    def __init__(self, exchanges: Exchanges) -> None:
        migrate(exchanges.database)
        self._exchanges = exchanges

    def listed(
        self,
        *,
        tenant: str | None = None,
        adapter: str | None = None,
        release: str | None = None,
        limit: int | None = None,
        before: int | None = None,
    ) -> Iterator[tuple[int, Feedback]]:
        """As `feedback.listed`.

        Args:
            tenant: by its id.
        """
        return feedback.listed(
            self._exchanges,
            tenant=tenant,
            adapter=adapter,
            release=release,
            limit=limit,
            before=before,
        )

    def add(self, tenant: str, asked: AskedFeedback) -> tuple[Feedback, bool]:
        """Say something of a tenant's answer; whether it is new.

        Args:
            tenant: by its name.

        Raises:
            NotFound: the tenant was given no such answer.
            InvalidInput, Refused, Conflict: as `say`.
        """
        admin = TenantAdmin(self._exchanges.database, who="")
        owner = admin.show(tenant)[0]
        subject = answered(self._exchanges, owner.id, asked.id)
        on_personal = "redact" if owner.consent is None else owner.consent.on_personal
        return say(self._exchanges, owner.id, subject, asked.new(), on_personal)

    def exchanges(
        self, *, tenant: str | None = None, adapter: str | None = None
    ) -> Iterator[Exchange]:
        """Captured answers that somebody said something of, with it.

        Args:
            tenant: by its id.
        """
        for item in self._exchanges.read(tenant=tenant, adapter=adapter):
            if item.feedback:
                yield item
