"""What an administrator sees of all tenants, and the rows of a file: paged, escaped, one's own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from html import unescape

import pytest

from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.metering.usage import insert_events
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.tokens import Tokens
from adapterworks.registry.jobs import events, lookup, putting
from adapterworks.registry.jobs.job import BUILD_LANE, DETACHED, FINE_TUNING, OPERATOR, NewJob
from tests.gateway.console.browsing import Browser
from tests.gateway.jobs_support import House

EVIL = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"


@pytest.fixture
def operator(house: House) -> Iterator[Browser]:
    """A browser that an administrator's token is logged in with."""
    tokens = Tokens(house.registry.database)
    name = f"operator-{len(tokens.list())}"
    token = tokens.create(name, Role.ADMIN, who="tester").text
    with Browser(house.running.url) as browser:
        assert browser.log_in(token).status_code == 303
        yield browser


def rows(page: str) -> dict[str, list[str]]:
    """The cells of a page's table, by the first one."""
    found = {}
    for row in re.findall(r"<tr>\s*<th scope=\"row\".*?</tr>", page, re.S):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
        texts = [unescape(re.sub(r"<[^>]+>", " ", cell)).strip() for cell in cells]
        found[texts[0]] = texts[1:]
    return found


def test_usage_and_limits_of_all_tenants(house: House, operator: Browser) -> None:
    admin = TenantAdmin(house.registry.database, who="tester")
    limited, _ = admin.add("limited", allow=("medical",), limits=Limits(rpm=7, monthly_tokens=100))
    event = UsageEvent(
        request_id="of-limited",
        tenant=limited.id,
        release="sha256:1",
        ref="medical@1",
        endpoint="/v1/chat/completions",
        status=200,
        cold_load=False,
        started=time.time(),
        seconds=1.0,
        prompt_tokens=60,
        completion_tokens=30,
    )
    insert_events(house.registry.database, [event])
    page = operator.get("/tenants").text
    shown = rows(page)
    assert {"acme", "globex", "limited"} <= shown.keys()
    allow, weight, limits, requests, tokens, *_ = shown["limited"]
    assert (allow, weight, requests, tokens) == ("medical", "1.0", "1", "90")
    assert re.sub(r"\s+", " ", limits) == "Requests per minute: 7 Tokens per month: 100"
    assert '<meter min="0" max="100" high="80.0" value="90"' in page
    assert "adapters usage --by tenant --since " in page
    assert 'href="/console/tenants" aria-current="page"' in page


def test_tenants_come_in_pages(operator: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterworks.gateway.console.pages.tenants._PAGE", 1)
    first = operator.get("/tenants").text
    (following,) = re.findall(r'<a href="\?after=([^"]+)">', first)
    second = operator.get(f"/tenants?after={following}").text
    assert [*rows(first)] == ["acme"] == [following]
    assert [*rows(second)] == ["globex"]


def queue(house: House, kind: str, tenant: str, **arguments: str) -> str:
    with house.registry.database.write() as connection:
        job = putting.put(connection, NewJob(kind, tenant, BUILD_LANE, arguments), now=1.0)
        events.add(connection, job.id, f"begun {EVIL}", 2.0)
    return job.id


def state(house: House, job: str) -> str:
    with house.registry.database.read() as connection:
        return lookup.get(connection, job).state


def test_builds_of_the_command_line_are_watched_and_asked(house: House, operator: Browser) -> None:
    build = queue(house, DETACHED, OPERATOR, name=EVIL)
    of_tenant = queue(house, FINE_TUNING, house.acme.id, name="x")
    page = operator.get("/builds").text
    assert build in page
    assert of_tenant not in page
    shown = operator.get(f"/builds/{build}").text
    assert f"begun {ESCAPED}" in shown
    assert EVIL not in page + shown
    for act, expected in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert f"adapters jobs {act} {build}" in operator.get(f"/builds/{build}").text
        assert operator.send(f"/builds/{build}/{act}").status_code == 303
        assert state(house, build) == expected
    assert "<form" not in operator.get(f"/builds/{build}").text.partition("<main")[2]
    assert operator.send(f"/builds/{build}/cancel").status_code == 409
    # A tenant's job is its tenant's affair.
    assert operator.get(f"/builds/{of_tenant}").status_code == 404
    assert operator.send(f"/builds/{of_tenant}/cancel").status_code == 404
    assert operator.send(f"/builds/{build}/erase").status_code == 404
    assert state(house, of_tenant) == "queued"


def test_only_an_administrator_sees_others(house: House, acme: Browser) -> None:
    build = queue(house, DETACHED, OPERATOR, name="own")
    page = acme.get("/").text
    for path in ("/tenants", "/builds", f"/builds/{build}"):
        assert f'href="/console{path}"' not in page
        refused = acme.get(path)
        assert refused.status_code == 403
        assert "globex" not in refused.text
        assert "own" not in rows(refused.text)
    assert acme.send(f"/builds/{build}/cancel").status_code == 403
    assert state(house, build) == "queued"


def sent(browser: Browser, data: bytes, purpose: str = "user_data") -> str:
    answer = browser.upload("rows.jsonl", data, purpose=purpose)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"].rpartition("=")[2])


def test_the_rows_of_a_file_come_in_pages(acme: Browser, globex: Browser) -> None:
    asked = [{"role": "user", "content": f"q0 {EVIL}"}]
    lines = [json.dumps({"messages": asked, "n": number}) for number in range(45)]
    lines[1:1] = ["", "  "]  # blank lines have numbers and are not shown
    file = sent(acme, "\n".join(lines).encode())
    seen, path = {}, f"/files/{file}"
    for _ in range(3):
        page = acme.get(path).text
        assert EVIL not in page
        seen |= rows(page)
        path = f"/files/{file}?after=" + (re.findall(r'href="\?after=(\d+)"', page) or ["0"])[0]
    assert path.endswith("after=0"), "the third page is the last"
    assert [int(number) for number in seen] == [1, *range(4, 48)]
    assert "q0 <script>alert(1)</script>" in seen["1"][0]
    assert '{"n": 44}' in seen["47"][0]
    assert f'href="/console/files/{file}"' in acme.get("/files").text
    whole = f'href="/console/files/{file}/content" download="rows.jsonl"'
    assert whole in acme.get(f"/files/{file}").text, "saved under its own name"
    assert globex.get(f"/files/{file}").status_code == 404


def test_what_is_no_conversation_is_shown_as_it_stands(acme: Browser) -> None:
    said = {"role": "assistant", "content": "x"}
    call = {"messages": [{**said, "name": "a text, too"}]}
    texts = [b"\xff\xfe not text", json.dumps(call).encode(), b"[1]\r", b"y" * 5000]
    file = sent(acme, b"\n".join([*texts, b"z" * (5 << 20)]))
    shown = rows(acme.get(f"/files/{file}").text)
    assert shown["1"] == ["\ufffd\ufffd not text"]
    assert shown["2"] == [json.dumps(call)], "nothing of a turn is left out"
    assert shown["3"] == ["[1]"]
    assert shown["4"][0].startswith("y" * 4000 + " ")
    assert "It goes on" in shown["4"][0]
    assert shown["5"] == ["It goes on: this is its beginning."]
    assert "no further rows" in acme.get(f"/files/{file}?after=5").text
    assert acme.get(f"/files/{file}?after=x").status_code == 400
