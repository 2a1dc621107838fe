"""The whole life in a real browser: send rows, begin a job, watch it, compare, use it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.console.chromium import CHROMIUM, Visitor, chromium
from tests.gateway.files.test_files import ROWS
from tests.gateway.jobs_support import House
from tests.registry import releases

CARD = """# tickets

Routes a bank's tickets, on `smollm2-135m-instruct`.

## Scores

| metric | base | adapter |
|---|---|---|
| exact_match | 0.00 | 0.78 |

![base and adapter](plots/scores.png)

![loss](plots/loss.png)

## Use

```python
client.chat.completions.create(model="tickets", messages=messages)
```
"""
ROOT = Path(__file__).resolve().parents[3]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]


@pytest.fixture
def worker(house: House, tmp_path: Path) -> Iterator[None]:
    """A worker whose builds are a stand-in's."""
    environment = {
        **os.environ,
        "ADAPTERS_HOME": str(house.registry.home),
        "ADAPTERS_BLOBS": str(house.registry.home / "blobs"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-P", "-m", "tests.workers.run_worker", "10"]
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
    yield
    process.terminate()
    assert process.wait() == 0


def test_from_rows_to_an_answer(house: House, worker: None, tmp_path: Path) -> None:
    with chromium() as browser:
        me = Visitor.of(browser, house.running.url, tmp_path, locale="en-GB")
        page = me.page
        me.go("/jobs")
        me.look("login")
        me.log_in(house.keys["acme"])
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"

        me.go("/files")
        lines = ROWS.splitlines(keepends=True)
        lines[2], lines[7] = b'{"messages": [}\n', b'{"messages": [{"role": "user"}]}\n'
        _send(me, "faulty.jsonl", b"".join(lines))
        assert page.get_by_role("alert").get_by_role("cell").first.inner_text() == "3"
        me.look("files-faults")
        assert "400" in me.complaints.pop(), "the refusal itself, which the browser notes"
        _send(me, "rows.jsonl", ROWS)
        me.look("files")

        page.get_by_role("status").get_by_role("link", name="Train on it").click()
        page.get_by_label("Name of the result").fill("console-slow")
        page.get_by_label("Epochs").fill("2")
        me.look("jobs-new")
        page.get_by_role("button", name="Begin a job").click()
        page.wait_for_url("**/jobs/ftjob-*")
        job = page.url.rpartition("/")[2]
        page.wait_for_selector("figure.chart svg polyline", state="attached")
        page.wait_for_selector("h1 .job-running")
        me.look("job-running")
        (house.registry.home / f"go-{job}").touch()
        page.wait_for_selector("h1 .job-succeeded", timeout=120_000)
        page.wait_for_selector("figure.chart svg polyline", state="attached")
        me.look("job")
        model = page.locator(".done code").inner_text()
        me.go("/jobs")
        me.look("jobs")

        me.go(f"/jobs/{job}")
        page.get_by_role("link", name="Compare it with its base").click()
        page.get_by_label("Question").fill("hello?")
        page.get_by_role("button", name="Ask").click()
        page.wait_for_selector("button.main:not(:disabled)")
        texts = page.locator("#answers [data-slot=text]").all_inner_texts()
        assert len(texts) == 2
        assert all(texts)
        release = house.registry.resolve(model)
        shown = page.locator("#answers [data-slot=release]").nth(1).get_attribute("title")
        assert shown == release.digest
        line = page.locator(".command code").inner_text()
        assert line == shlex.join(["adapters", "chat", house.standin.base, model, "hello?"])
        me.look("playground")
        me.go("/usage")
        me.look("usage")
        me.go("/")
        me.look("overview")
        assert release.digest in page.content()
        page.get_by_role("button", name="中文").click()
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"
        for path in ("/", "/files", "/jobs", f"/jobs/{job}", "/playground", "/usage"):
            me.go(path)
            me.look("zh" + path.replace("/", "-").replace(job, "job"))
        assert me.complaints == []


def test_the_registry_is_looked_through(house: House, tmp_path: Path) -> None:
    name = _three_versions(house, tmp_path)
    with chromium() as browser:
        me = Visitor.of(browser, house.running.url, tmp_path, locale="en-GB")
        page = me.page
        me.log_in(house.keys["acme"])
        page.get_by_role("link", name="Adapters").click()
        page.get_by_label("Words in name or description").fill("tickets")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/adapters?q=tickets")
        me.look("adapters")
        page.get_by_role("link", name=name).click()
        page.wait_for_url(f"**/adapters/{name}")
        me.look("adapter")
        page.get_by_role("button", name="Compare the two").click()
        page.wait_for_url("**/console/diff?*")
        me.look("diff")
        page.go_back()
        page.get_by_role("link", name="@2", exact=True).first.click()
        page.wait_for_url("**/versions/2")
        plots = page.locator("article img").all()
        assert len(plots) == 2
        for plot in plots:
            plot.scroll_into_view_if_needed()
            plot.evaluate("image => image.decode()")
        me.look("release")
        page.go_back()
        page.get_by_role("button", name="Promote …").first.click()
        page.wait_for_url("**/move?*")
        me.look("move")
        page.get_by_label("Why").fill("passes the gate")
        page.get_by_role("button", name="Promote").click()
        page.wait_for_url(f"**/adapters/{name}")
        assert house.registry.resolve(f"{name}:next").version == 3
        assert "tenant:acme" in page.content()
        page.locator(".row", has_text="prod").get_by_role("button", name="Promote …").click()
        page.wait_for_url("**/move?*")
        page.get_by_role("button", name="Promote").click()
        page.wait_for_url(f"**/adapters/{name}")
        assert house.registry.resolve(name).version == 3
        page.locator(".row", has_text="prod").get_by_role("button", name="Roll back …").click()
        page.wait_for_url("**/move?*")
        me.look("rollback")
        page.get_by_role("button", name="Roll back").click()
        page.wait_for_url(f"**/adapters/{name}")
        assert house.registry.resolve(name).version == 2
        house.registry.approvals.request(
            name, 3, "prod", who="another", why="fewer faults", expect=2
        )
        me.go("/requests")
        me.look("requests")
        page.get_by_role("button", name="Approve").click()
        page.wait_for_selector(".empty")
        assert house.registry.resolve(name).version == 3
        assert me.complaints == []


def _three_versions(house: House, folder: Path) -> str:
    """An adapter with the plots of this documentation."""
    name, plots = "tickets", ROOT / "docs" / "pictures"
    for number in (1, 2, 3):
        files = releases.folder(folder / str(number), number)
        (files / "README.md").write_text(CARD)
        (files / "plots").mkdir()
        for plot in ("scores.png", "loss.png"):
            shutil.copy(plots / plot, files / "plots" / plot)
        draft = releases.draft(
            number,
            name,
            description="Routes a bank's tickets to the team that answers them",
            metrics={"exact_match": (0.41, 0.78, 0.76)[number - 1], "macro_f1": 0.73},
        )
        house.registry.publish(files, draft, alias="prod" if number < 3 else "next", who="tester")
    return name


def test_everything_works_without_scripts(house: House, tmp_path: Path) -> None:
    with chromium() as browser:
        me = Visitor.of(
            browser, house.running.url, tmp_path, locale="en-GB", java_script_enabled=False
        )
        page = me.page
        me.log_in(house.keys["globex"])
        me.go("/files")
        _send(me, "rows.jsonl", ROWS)
        page.get_by_role("status").get_by_role("link", name="Train on it").click()
        page.get_by_role("button", name="Begin a job").click()
        page.wait_for_url("**/jobs/ftjob-*")
        page.get_by_role("button", name="Cancel").click()
        assert page.locator("h1 .badge").inner_text() == "cancelled"
        me.go("/playground")
        page.get_by_label("Question").fill("hello?")
        page.get_by_role("button", name="Ask").click()
        assert page.locator("#answers [data-slot=text]").first.inner_text()
        assert page.locator("button.copy:visible").count() == 0


def _send(me: Visitor, name: str, data: bytes) -> None:
    file = {"name": name, "mimeType": "application/jsonl", "buffer": data}
    me.page.get_by_label("File (JSON Lines)").set_input_files(files=[file])  # type: ignore[list-item]
    me.page.get_by_role("button", name="Send a file").click()
