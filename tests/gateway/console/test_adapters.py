"""The registry's pages: lists, cards as text, plots, lineage, differences; and who may see them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest

from adapterworks.builders.evaluation.gates.gate import GateOutcome
from adapterworks.gateway.console.inside import Denied, part
from adapterworks.gateway.console.markdown import card_html
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.tokens import Tokens
from adapterworks.registry.bases.base import Base
from tests.gateway.console.browsing import Browser
from tests.gateway.jobs_support import House
from tests.registry.releases import draft, folder

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 40
CARD = """---
license: apache-2.0
---
# <script>alert(1)</script> "><img src=x onerror=alert(2)>

[a](javascript:alert(3)) [b](https://example.org/x) [c](data:text/html,x) [d](/console/logout)
[e]( JavaScript:alert(4)) <a href="javascript:alert(5)">f</a> <javascript:alert(6)>

![loss](plots/loss.png) ![far](https://evil.example/p.png) ![up](plots/../../x.png)

| metric | base |
|---|---|
| <b>x</b> | 1 |
"""


@pytest.fixture(scope="module")
def shown(house: House, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an adapter of three versions; the second has the card above and a plot."""
    name, place = "shown", tmp_path_factory.mktemp("shown")
    for number in (1, 2, 3):
        files = folder(place / str(number), number)
        if number == 2:
            (files / "README.md").write_text(CARD)
            (files / "plots").mkdir()
            (files / "plots" / "loss.png").write_bytes(PNG)
            (files / "plots" / "fake.png").write_bytes(b"<html><script>alert(7)</script>")
        house.registry.publish(
            files, draft(number, name, description="<i>shown</i>"), alias="prod", who="tester"
        )
    return name


@pytest.fixture
def reader(house: House) -> Iterator[Browser]:
    """A browser that a token of the registry is logged in with, and no tenant's key."""
    tokens = Tokens(house.registry.database)
    name = f"reader-{time.monotonic_ns()}"
    token = tokens.create(name, Role.READER, who="tester").text
    with Browser(house.running.url) as browser:
        assert browser.log_in(token).status_code == 303
        yield browser


def links(page: str) -> set[str]:
    """Every address of a page."""
    return {unescape(found) for found in re.findall(r'(?:href|src|action)="([^"]*)"', page)}


def test_a_token_of_the_registry_opens_its_pages_and_no_others(
    reader: Browser, globex: Browser, shown: str
) -> None:
    assert reader.get("/").headers["location"] == "/console/adapters"
    page = reader.get("/adapters").text
    assert f"/console/adapters/{shown}" in links(page)
    assert "/console/jobs" not in links(page)
    assert reader.get("/jobs").status_code == 401
    assert reader.get("/adapters").status_code == 200, "still logged in"
    assert "/console/adapters" not in links(globex.get("/").text)
    refused = globex.get(f"/adapters/{shown}")
    assert refused.status_code == 401
    assert "tester" not in refused.text
    assert globex.get("/jobs").status_code == 200


def test_an_adapter_and_its_versions_are_shown(acme: Browser, house: House, shown: str) -> None:
    page = acme.get(f"/adapters/{shown}").text
    for version in (1, 2, 3):
        assert f"/console/adapters/{shown}/versions/{version}" in links(page)
        assert house.registry.version(shown, version).digest in page
    assert "&lt;i&gt;shown&lt;/i&gt;" in page
    assert "<i>shown" not in page
    search = acme.get("/adapters", params={"q": "shown"}).text
    assert f"/console/adapters/{shown}" in links(search)
    assert "No adapter is found." in acme.get("/adapters", params={"q": "nonesuch"}).text
    assert acme.get("/adapters/none-such").status_code == 404
    assert acme.get(f"/adapters/{shown}/versions/9").status_code == 404


def test_what_gates_said_and_what_it_can_be_compared_with(
    acme: Browser, reader: Browser, house: House, base: Base, tmp_path: Path
) -> None:
    files = folder(tmp_path / "gated", 1)
    gates = [
        GateOutcome("quality", "exact_match", True, "0.78 against <b>0.41").to_json(),
        GateOutcome("safety", "refusals", False, "3 more", judged=False).to_json(),
        {"passed": "yes", "of": "a stranger's"},
    ]
    (files / "report.json").write_text(json.dumps({"gates": gates}))
    made = draft(1, "gated", base=base.identity)
    house.registry.publish(files, made, alias="prod", who="tester")
    found = acme.get("/adapters/gated/versions/1")
    assert found.status_code == 200
    assert re.findall(r'badge gate-(\w+)">', found.text) == ["passed", "failed", "failed"]
    assert "0.78 against &lt;b&gt;0.41" in found.text
    assert "3 more" in found.text
    compared = f"/console/playground?model={base.name}&model=gated%401"
    assert compared in links(found.text), "the base by the name that it is served under"
    assert acme.get(compared.removeprefix("/console")).status_code == 200
    page = reader.get("/adapters/gated/versions/1").text
    assert not [link for link in links(page) if "playground" in link], "its key opens none"


def test_a_card_is_shown_without_anything_of_its_own_running(acme: Browser, shown: str) -> None:
    page = acme.get(f"/adapters/{shown}/versions/2").text
    assert "license: apache-2.0" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"<script(?! type=\"module\" src=\"/console/static/)", page)
    tags = re.findall(r"<(?:img|a)\b[^>]*>", page)
    assert not [tag for tag in tags if " on" in tag.lower()]
    for link in links(page):
        assert link.startswith(("/console/", "#", "https://example.org/", "?")), link
    assert f"/console/adapters/{shown}/versions/2/plots/loss.png" in links(page)
    assert "<td>&lt;b&gt;x&lt;/b&gt;</td>" in page
    assert 'href="/console/logout"' not in page, "no link of a card leads into the console"


def test_a_card_cannot_break_out() -> None:
    for text in (
        '[x](https://a" onclick="alert(1))',
        '![x" onerror="alert(1)](plots/loss.png)',
        "```html\n<script>alert(1)</script>\n```",
        '<https://a.example/"onmouseover=alert(1)>',
        "[x][r]\n\n[r]: javascript:alert(1)",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "---\n<script>\n---\n<script>x</script>",
    ):
        html = str(card_html(text, lambda file: f"/plots/{file}"))
        assert "<script" not in html
        assert "javascript:" not in re.sub(r">[^<]*<", "><", html)
        for tag in re.findall(r"<[a-z][^>]*>", html):
            names = re.findall(r'([\w-]+)="[^"]*"', tag)
            assert set(names) <= {"href", "rel", "src", "alt", "loading", "class", "title"}, tag


def test_a_plot_is_a_picture_and_nothing_else(acme: Browser, shown: str) -> None:
    path = f"/adapters/{shown}/versions/2/plots"
    plot = acme.get(f"{path}/loss.png")
    assert (plot.content, plot.headers["content-type"]) == (PNG, "image/png")
    for name in ("fake.png", "none.png", "..%2fREADME.md", "README.md"):
        answer = acme.get(f"{path}/{name}")
        assert answer.status_code == 404
        assert "alert(7)" not in answer.text


def test_two_versions_are_compared_and_lineage_is_shown(acme: Browser, shown: str) -> None:
    page = acme.get("/diff", params={"before": f"{shown}@1", "after": f"{shown}@3"}).text
    assert "exact_match" in page
    assert f"adapters diff {shown}@1 {shown}@3" in page
    same = acme.get("/diff", params={"before": f"{shown}@1", "after": f"{shown}@1"}).text
    assert "They are the same." in same
    assert acme.get("/diff").status_code == 404
    assert acme.get("/diff", params={"before": "../x", "after": f"{shown}@1"}).status_code == 404


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "../me", "/", "a\x00b", "shown@1/diff"])
def test_what_stands_for_one_part_of_a_path_is_one(text: str) -> None:
    with pytest.raises(Denied) as caught:
        part(text)
    assert caught.value.status == 404
    assert part("shown@1") == "shown@1"


def test_a_move_is_shown_before_it_is_made(acme: Browser, house: House, shown: str) -> None:
    page = acme.get(f"/adapters/{shown}/move", params={"alias": "prod", "version": "1"}).text
    assert f"adapters promote {shown}@1 prod --expect {shown}@3" in unescape(page)
    assert 'name="expect" value="3"' in page
    back = acme.get(f"/adapters/{shown}/move", params={"alias": "prod", "back": "yes"}).text
    assert f"adapters rollback {shown}:prod --expect {shown}@3" in unescape(back)
    assert house.registry.resolve(shown).version == 3


def test_a_move_goes_by_what_the_page_showed(
    acme: Browser, reader: Browser, house: House, shown: str
) -> None:
    house.registry.promote(shown, 2, "stage", who="tester")
    form = {"alias": "stage", "version": "3", "expect": "2", "why": "better", "percent": "100"}
    refused = reader.send(f"/adapters/{shown}/move", form)
    assert refused.status_code == 403
    assert "promoter" in refused.text
    assert acme.send(f"/adapters/{shown}/move", form).status_code == 303
    assert house.registry.resolve(f"{shown}:stage").version == 3
    event = house.registry.log.events(shown, alias="stage")[0]
    assert (event.who, event.why) == ("tenant:acme", "better")
    stale = acme.send(f"/adapters/{shown}/move", {**form, "version": "1"})
    assert stale.status_code == 409
    assert 'name="expect" value="3"' in stale.text, "what holds it now, to decide again"
    assert house.registry.resolve(f"{shown}:stage").version == 3
    back = {"alias": "stage", "back": "yes", "expect": "3"}
    assert acme.send(f"/adapters/{shown}/move", back).status_code == 303
    assert house.registry.resolve(f"{shown}:stage").version == 2
    new = {"alias": "fresh", "version": "1", "expect": "none", "percent": "100"}
    assert acme.send(f"/adapters/{shown}/move", new).status_code == 303
    assert acme.send(f"/adapters/{shown}/move", new).status_code == 409, "somebody was first"
    odd = acme.send(f"/adapters/{shown}/move", {**new, "version": "one", "expect": "1"})
    assert odd.status_code == 400


def test_one_asks_for_a_move_and_another_approves_it(
    acme: Browser, house: House, shown: str
) -> None:
    token = Tokens(house.registry.database).create("second", Role.PROMOTER, who="tester").text
    house.registry.promote(shown, 1, "eyes", who="tester")
    form = {"alias": "eyes", "version": "2", "expect": "1", "ask": "yes", "percent": "100"}
    without = acme.send(f"/adapters/{shown}/move", form)
    assert without.status_code == 400, "who asks says why"
    why = "<script>alert(1)</script>"
    asked = acme.send(f"/adapters/{shown}/move", {**form, "why": why})
    assert asked.headers["location"] == "/console/requests"
    (request,) = house.registry.approvals.requests(limit=10)
    page = acme.get("/requests").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page
    path = f"/requests/{request.id}"
    assert acme.send(f"{path}/approve").status_code in (403, 409, 422), "not one's own"
    assert house.registry.resolve(f"{shown}:eyes").version == 1
    with Browser(house.running.url) as other:
        assert other.log_in(token).status_code == 303
        assert other.send(f"{path}/agree").status_code == 404
        assert other.send(f"{path}/approve", {"why": "seen"}).status_code == 303
        assert "Nothing waits." in other.get("/requests").text
    assert house.registry.resolve(f"{shown}:eyes").version == 2


def test_every_page_of_the_registry_is_there_in_chinese(acme: Browser, shown: str) -> None:
    acme.send("/settings", {"lang": "zh", "next": "/console/"})
    for path, words in (
        ("/adapters", "适配器"),
        (f"/adapters/{shown}", "比较这两个"),
        (f"/adapters/{shown}/versions/2", "来源"),
        (f"/adapters/{shown}/move?alias=prod&version=1", "当前持有者"),
        (f"/diff?before={shown}@1&after={shown}@2", "差异"),
        ("/usage", "用量"),
        ("/requests", "等待批准的移动"),
    ):
        assert words in acme.get(path).text, path


def test_usage_is_ones_own(house: House, acme: Browser, globex: Browser) -> None:
    chat = house.client().chat.completions.create(
        model=house.standin.base, messages=[{"role": "user", "content": "x"}], max_tokens=3
    )
    assert chat.usage is not None
    deadline = time.monotonic() + 60
    while house.standin.base not in acme.get("/usage").text:
        assert time.monotonic() < deadline
    with httpx.Client(base_url=house.running.url) as client:
        own, other = (
            client.get(
                "/v1/usage",
                params={"by": "day,ref"},
                headers={"authorization": f"Bearer {house.keys[tenant]}"},
            ).json()
            for tenant in ("acme", "globex")
        )
        assert sum(row["total_tokens"] for row in own["data"]) >= chat.usage.total_tokens
        assert other["data"] == []
        for query in ({"by": "tenant"}, {"by": "x"}, {"since": "yesterday"}):
            refused = client.get(
                "/v1/usage",
                params=query,
                headers={"authorization": f"Bearer {house.keys['acme']}"},
            )
            assert refused.status_code == 400
    assert "Nothing has been used" in globex.get("/usage").text


def test_engines_name_nothing_of_another_tenant(house: House, tmp_path: Path) -> None:
    from adapterworks.gateway.tenants.admin import TenantAdmin
    from adapterworks.gateway.tenants.tenant import Limits

    admin = TenantAdmin(house.registry.database, who="tester")
    _, key = admin.add("few", allow=("nothing-here",), limits=Limits())
    tenants = house.running.gateway.tenants
    assert tenants is not None
    tenants.refresh()
    answer = httpx.get(
        house.running.url + "/v1/engines", headers={"authorization": f"Bearer {key.text}"}
    )
    assert answer.json()["data"] == []
    whole = httpx.get(
        house.running.url + "/v1/engines",
        headers={"authorization": f"Bearer {house.keys['acme']}"},
    ).json()["data"]
    assert [engine["id"] for engine in whole] == ["standin"]
