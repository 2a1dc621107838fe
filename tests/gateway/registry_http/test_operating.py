"""Jobs, usage and settings over HTTP: in pages, and what makes no sense is refused."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.gateway.http.routes.registry.access import PREFIX
from adapterworks.gateway.tokens.roles import Role
from adapterworks.registry.jobs import events, putting, schema
from adapterworks.registry.jobs.job import BUILD_LANE, DETACHED, FINE_TUNING, OPERATOR, NewJob
from tests.gateway.registry_http.conftest import Offered
from tests.gateway.registry_http.test_tenants import ask


@pytest.fixture
def queued(offered: Offered) -> list[str]:
    """The ids of four jobs, the oldest first; the last one has five events."""
    schema.migrate(offered.registry.database)
    with offered.registry.database.write() as connection:
        made = [
            putting.put(connection, NewJob(kind, tenant, BUILD_LANE, {}), now=1.0).id
            for kind, tenant in (
                (FINE_TUNING, "a"),
                (DETACHED, OPERATOR),
                (FINE_TUNING, "b"),
                (FINE_TUNING, "a"),
            )
        ]
        for number in range(5):
            events.add(connection, made[-1], str(number), float(number))
    return made


def test_pages_of_jobs(offered: Offered, queued: list[str]) -> None:
    first = ask(offered, "GET", "/jobs", limit=3)
    assert ([job["id"] for job in first["data"]], first["has_more"]) == (queued[:0:-1], True)
    rest = ask(offered, "GET", "/jobs", limit=3, after=first["last_id"])
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == (queued[:1], False)
    for query, which in (
        ({"tenant": "a"}, (3, 0)),
        ({"kind": DETACHED}, (1,)),
        ({"state": "x"}, ()),
    ):
        found = ask(offered, "GET", "/jobs", **query)["data"]
        assert [job["id"] for job in found] == [queued[number] for number in which]


def test_pages_of_what_happened(offered: Offered, queued: list[str]) -> None:
    path, told, after = f"/jobs/{queued[-1]}/events", [], None
    for _ in range(3):
        page = ask(offered, "GET", path, limit=2, **({} if after is None else {"after": after}))
        told += [event["message"] for event in page["data"]]
        after = page["last_id"]
    assert (told, page["has_more"]) == ([str(number) for number in range(5)], False)
    assert ask(offered, "GET", path, begin=after)["data"] == []
    ask(offered, "GET", "/jobs/ftjob-none/events", 404)


def test_it_is_for_administrators(offered: Offered, queued: list[str]) -> None:
    """Whoever publishes or promotes sees nothing of what tenants train and use."""
    client, job = offered.ask(Role.PROMOTER), f"/jobs/{queued[0]}"
    for path in ("/usage", "/jobs", job, f"{job}/events"):
        assert client.get(PREFIX + path).status_code == 403, path
    for path in (f"{job}/pause", f"{job}/resumption", f"{job}/cancellation", "/settings"):
        assert client.post(PREFIX + path, json={}).status_code == 403, path
    assert client.get(PREFIX + "/settings").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "values", "status", "words"),
    [
        ("GET", "/usage", {"by": "tenant,colour"}, 400, "`by` names something else"),
        ("GET", "/usage", {"since": "now"}, 400, "day"),
        ("GET", "/usage", {"tenant": "nobody"}, 404, "no tenant"),
        ("GET", "/jobs", {"after": "ftjob-none"}, 400, "after"),
        ("GET", "/jobs/ID/events", {"after": "x"}, 400, "not a number"),
        ("POST", "/jobs/ID/resumption", {}, 409, "not paused"),
        ("POST", "/settings", {"settings": {"aliases": {"prod": {"colour": 1}}}}, 400, "colour"),
        ("POST", "/settings", {"settings": {"alias": {}}}, 400, "settings.alias"),
    ],
)
def test_what_makes_no_sense_is_refused(
    offered: Offered,
    queued: list[str],
    method: str,
    path: str,
    values: dict[str, Any],
    status: int,
    words: str,
) -> None:
    answer = ask(offered, method, path.replace("ID", queued[0]), status, **values)
    assert words in answer["error"]["message"]
