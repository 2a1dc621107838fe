"""What the pages show and do: through the public API, escaped, each tenant its own."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields
from html import unescape
from pathlib import Path

import click
import httpx
import pytest
from jinja2 import meta, nodes

from adapterworks.cli.main import cli as adapters
from adapterworks.gateway.console.page import Page, Templates
from adapterworks.gateway.console.pages.jobs import JobForm
from adapterworks.gateway.console.words import CATALOGUES
from tests.gateway.console.browsing import OWN, Browser
from tests.gateway.files.test_files import ROWS
from tests.gateway.jobs_support import House
from tests.gateway.running import Start
from tests.registry.releases import publish

PAGES = ("/", "/files", "/jobs", "/playground", "/usage")
EVIL = '"><img src=x onerror=alert(1)><script>alert(2);.jsonl'
CONSOLE = Path(__file__).resolve().parents[3] / "gateway/console"


def sent_file(browser: Browser, name: str = "rows.jsonl") -> str:
    """The id of a file that was sent through the form."""
    answer = browser.upload(name, ROWS)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("=")[2]


def begun_job(browser: Browser, house: House, **more: str) -> str:
    """The id of a job that was begun through the form."""
    form = {"model": house.standin.base, "training_file": sent_file(browser), **more}
    answer = browser.send("/jobs", form)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("/")[2]


def test_the_overview_shows_engines_and_what_they_hold(
    house: House, acme: Browser, tmp_path: Path
) -> None:
    base = house.running.gateway.pool.engines[0].base
    identity = dict(zip(("model", "digest"), (base.name, base.digest), strict=True))
    release = publish(house.registry, tmp_path, 1, name="held", alias="prod", base=_base(identity))
    house.client().chat.completions.create(
        model="held", messages=[{"role": "user", "content": "x"}], max_tokens=1
    )
    page = acme.get("/").text
    assert release.digest in page
    assert ">held" in page
    assert "The gateway can answer." in page
    assert base.digest in page


def _base(identity: dict[str, str]) -> object:
    from tests.registry.releases import BASE

    return BASE.model_copy(update=identity)


def test_a_file_goes_through_and_its_faults_are_shown_by_line(acme: Browser) -> None:
    file = sent_file(acme)
    page = acme.get("/files").text
    assert file in page
    assert acme.get(f"/files/{file}/content").content == ROWS
    lines = ROWS.splitlines(keepends=True)
    lines[2], lines[7] = b'{"messages": [}\n', b'{"messages": [{"role": "user"}]}\n'
    refused = acme.upload("bad.jsonl", b"".join(lines))
    assert refused.status_code == 400
    cells = re.findall(r'<td class="lines">(.*?)</td><td>(.*?)</td>', refused.text)
    assert [line for line, _ in cells] == ["3", "8"]
    assert "bad.jsonl" not in acme.get("/files").text
    assert acme.send(f"/files/{file}/delete").status_code == 303
    assert file not in acme.get("/files").text


def test_a_job_is_begun_watched_and_cancelled(house: House, acme: Browser) -> None:
    job = begun_job(acme, house, n_epochs="2", seed="7", suffix="console")
    made = house.client().fine_tuning.jobs.retrieve(job)
    assert (made.seed, made.hyperparameters.n_epochs) == (7, 2)
    assert job in acme.get("/jobs").text
    page = acme.get(f"/jobs/{job}").text
    assert f"adapters jobs show {job}" in page
    assert json.loads(acme.get(f"/jobs/{job}/state").text)["id"] == job
    for act, said in (("pause", "pause"), ("resume", "resume"), ("cancel", "cancel")):
        assert acme.send(f"/jobs/{job}/{act}").status_code == 303
        assert f"{said} was asked for" in acme.get(f"/jobs/{job}").text
    assert house.client().fine_tuning.jobs.retrieve(job).status == "cancelled"
    ended = acme.get(f"/jobs/{job}").text
    assert f"/console/jobs/{job}/cancel" not in ended
    stream = acme.get(f"/jobs/{job}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.text.endswith("data: [DONE]\n\n")
    assert acme.send(f"/jobs/{job}/delete").status_code == 404


def test_what_the_api_refuses_is_said_and_the_form_stays_filled_in(
    house: House, acme: Browser
) -> None:
    file = sent_file(acme)
    form = {"model": house.standin.base, "training_file": file, "n_epochs": "many", "suffix": "s"}
    refused = acme.send("/jobs", form)
    assert refused.status_code == 400
    assert 'role="alert"' in refused.text
    assert 'value="many"' in refused.text
    assert f'value="{file}" selected' in refused.text


def test_a_job_is_begun_with_the_file_that_was_chosen_however_old(
    house: House, acme: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = sent_file(acme, "old.jsonl")
    sent_file(acme, "new.jsonl")
    monkeypatch.setattr("adapterworks.gateway.console.pages.jobs._PAGE", 1)
    page = acme.get("/jobs", params={"file": old})
    assert re.findall(r'value="([^"]+)" selected', page.text) == [old]
    assert acme.get("/jobs", params={"file": "file-none"}).status_code == 404
    refused = acme.send("/jobs", {"model": house.standin.base, "training_file": "file-none"})
    assert refused.status_code == 400
    assert "file-none" in refused.text


def test_colours_lead_back_from_what_a_form_led_to(acme: Browser) -> None:
    """A page that is no answer to GET, and an address with the form's token, cannot be gone to."""
    pages = [
        acme.send("/playground", {"model1": "", "question": "?"}),
        acme.upload("rows.jsonl", b"no row"),
        acme.send("/files/file-none/delete"),
    ]
    assert [page.status_code for page in pages] == [200, 400, 404]
    found = [re.findall(r'name="next" value="([^"]*)"', page.text) for page in pages]
    assert found == [["/console/playground"], ["/console/files"], ["/console/"]]
    for (path,) in found:
        assert acme.get(path.removeprefix("/console")).status_code == 200


def test_a_form_is_the_apis_own_words() -> None:
    form = {"form": "x", "model": "m", "training_file": "f", "validation_file": "", "seed": "3"}
    numbers = {"n_epochs": "2", "batch_size": " ", "learning_rate_multiplier": "0.5"}
    assert JobForm.of({**form, **numbers, "method": "dpo"}).asked() == {
        "model": "m",
        "training_file": "f",
        "seed": 3,
        "method": {
            "type": "dpo",
            "dpo": {"hyperparameters": {"n_epochs": 2, "learning_rate_multiplier": 0.5}},
        },
    }


def test_answers_stand_side_by_side_with_receipts(
    house: House, acme: Browser, tmp_path: Path
) -> None:
    base = house.running.gateway.pool.engines[0].base
    release = publish(
        house.registry,
        tmp_path,
        2,
        name="compared",
        alias="prod",
        base=_base({"model": base.name, "digest": base.digest}),
    )
    form = {"model1": base.name, "model2": "compared", "model3": "none-such", "question": "hello?"}
    page = acme.send("/playground", form).text
    texts = re.findall(r'data-slot="text"[^>]*>(.*?)</div>', page)
    assert len(texts) == 4, "three answers and what a script begins with"
    assert texts[0]
    assert texts[1]
    receipts = re.findall(r'data-slot="release" title="(.*?)"', page)
    assert receipts[:3] == ["", release.digest, ""]
    assert "there is no model" in page or "does not exist" in page
    assert shlex.join(["adapters", "chat", base.name, "compared", "none-such", "hello?"]) in (
        unescape(page)
    )
    streamed = acme.client.post(
        "/console/playground/answer",
        json={
            "model": "compared",
            "messages": [{"role": "user", "content": "x"}],
            "stream": True,
            "max_tokens": 3,
        },
        headers={**OWN, "x-form-token": acme.token()},
    )
    assert streamed.headers["x-adapter-digest"] == release.digest
    assert streamed.text.rstrip().endswith("data: [DONE]")


def test_hostile_names_are_text(house: House, acme: Browser) -> None:
    file = sent_file(acme, EVIL)
    job = begun_job(acme, house)
    names = [file.filename for file in house.client().files.list()]
    assert any(
        name.endswith("<img src=x onerror=alert(1)><script>alert(2);.jsonl") for name in names
    )
    pages = [acme.get(path).text for path in ("/files", f"/jobs?file={file}", f"/jobs/{job}")]
    pages += [
        acme.get("/playground", params={"model": EVIL, "question": EVIL}).text,
        acme.send("/playground", {"model1": EVIL, "question": EVIL}).text,
        acme.get("/files", params={"sent": EVIL}).text,
        acme.get("/jobs", params={"after": EVIL}).text,
        acme.get(f"/jobs/{EVIL}").text,
        acme.get("/login", params={"next": f"/console/{EVIL}"}).text,
        acme.send("/jobs", {"model": EVIL, "suffix": EVIL, "training_file": EVIL}).text,
        acme.upload("bad.jsonl", json.dumps({EVIL: 1}).encode() + b"\n").text,
    ]
    for page in pages:
        assert "onerror=alert(1)>" not in page
        assert "<script>" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in pages[0]


def test_two_tenants_never_meet(house: House, acme: Browser, globex: Browser) -> None:
    file, job = sent_file(acme, "acmes.jsonl"), begun_job(acme, house)
    for path in (*PAGES, f"/jobs?file={file}"):
        page = globex.get(path).text.replace(f"?file={file}", "")
        assert job not in page
        assert f'value="{file}"' not in page
        assert "acmes.jsonl" not in page
    for path in (f"/jobs/{job}", f"/jobs/{job}/events", f"/jobs/{job}/state"):
        assert globex.get(path).status_code == 404
        missing = globex.get(path.replace(job, "ftjob-none"))
        assert missing.text.replace("ftjob-none", job) == globex.get(path).text
    assert globex.get(f"/files/{file}/content").status_code == 404
    for path in (f"/files/{file}/delete", *(f"/jobs/{job}/{a}" for a in ("cancel", "pause"))):
        assert globex.send(path).status_code == 404
    assert globex.send("/jobs", {"model": house.standin.base, "training_file": file}).is_error
    assert house.client().fine_tuning.jobs.retrieve(job).status == "queued"
    assert file in acme.get("/files").text


def test_without_jobs_the_pages_say_so(start: Start) -> None:
    running = start()
    with Browser(running.url) as browser:
        browser.log_in("")
        for path in ("/files", "/jobs"):
            assert "[jobs] on = true" in browser.get(path).text
        assert browser.get("/").status_code == 200


def test_both_languages_say_the_same_things() -> None:
    names = re.compile(r"{(\w+)}")
    english, chinese = CATALOGUES["en"], CATALOGUES["zh"]
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert sorted(names.findall(text)) == sorted(names.findall(chinese[key])), key
        assert chinese[key].strip()
        assert "<" not in text + chinese[key], "texts are no HTML"


def test_every_text_is_used_and_every_used_one_is_there() -> None:
    """Keys are written out in the templates, or begun (`"job." ~ act`) and looked up as known."""
    sources = "".join(p.read_text() for p in CONSOLE.rglob("*.html"))
    sources += "".join(p.read_text() for p in CONSOLE.rglob("*.py"))
    written = set(re.findall(r"""\bt\(\s*["']([\w.-]+)["']\s*[,)]""", sources))
    written |= set(re.findall(r"""words\(["']([\w.-]+)["']""", sources))
    written |= set(re.findall(r"[:,] \"(problem\.\w+)\"", sources))
    begun = set(re.findall(r"""\bt\(\s*["']([\w.-]+\.)["'] ~""", sources))
    begun |= {f"{kind}." for kind in re.findall(r"""(?:known|badge)\("(\w+)",""", sources)}
    assert written <= CATALOGUES["en"].keys()
    unused = [
        key
        for key in CATALOGUES["en"]
        if key not in written and not any(key.startswith(start) for start in begun)
    ]
    assert not unused


def test_pages_speak_the_browsers_language_until_told_otherwise(house: House) -> None:
    for said, expected in (
        ("zh-CN,zh;q=0.9,en;q=0.5", "zh-Hans"),
        ("de;q=0.9, en;q=0.1, zh;q=0.8", "zh-Hans"),
        ("en-GB,zh;q=0.9", "en"),
        ("fr", "en"),
        ("zh;q=0, en", "en"),
        ("zh;q=many", "en"),
        ("", "en"),
    ):
        answer = httpx.get(house.running.url + "/console/login", headers={"accept-language": said})
        assert f'<html lang="{expected}"' in answer.text, said


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_is_there_in_both_languages_and_all_colours(
    house: House, acme: Browser, language: str
) -> None:
    acme.send("/settings", {"lang": language, "next": "/console/"})
    words = CATALOGUES[language]
    for theme in ("dark", "light", "auto", "none"):
        acme.send("/settings", {"theme": theme, "next": "/console/"})
        for path in PAGES:
            page = acme.get(path).text
            title = words["nav." + (path.strip("/") or "overview")]
            assert f"<h1>{title}</h1>" in page
            expected = "auto" if theme == "none" else theme
            assert f'data-theme="{expected}"' in page


def _pages(page: type[Page] = Page) -> list[type[Page]]:
    found = [page] if "template" in vars(page) else []
    return found + [inner for sub in page.__subclasses__() for inner in _pages(sub)]


def test_a_page_has_a_field_for_each_thing_its_template_shows() -> None:
    environment = Templates().environment
    assert environment.loader is not None
    assert len(_pages()) >= 7
    for page in _pages():
        source, _, _ = environment.loader.get_source(environment, page.template)
        parsed = environment.parse(source)
        macros = {name for i in parsed.find_all(nodes.FromImport) for name in i.names}
        used = meta.find_undeclared_variables(parsed) - macros - {"shell", "t", "area"}
        own = {field.name for field in fields(page)} - {"commands"}
        assert used == own, page.template
        assert page.__doc__
        for name in own:
            assert re.search(rf"\b{name}\b", page.__doc__), (page.__name__, name)


def test_every_head_of_a_table_says_what_it_is_the_head_of() -> None:
    """A screen reader reads it with each cell."""
    templates = (CONSOLE / "templates").glob("*.html")
    heads = re.findall(r"<th\b[^>]*>", "".join(path.read_text("utf-8") for path in templates))
    assert len(heads) > 50
    assert {head for head in heads if ' scope="' not in head} == set()


def test_the_command_lines_are_ones_that_there_are(house: House, acme: Browser) -> None:
    job = begun_job(acme, house)
    seen = set()
    for path in (*PAGES, f"/jobs/{job}", "/login"):
        page = acme.get(path).text
        lines = [unescape(line) for line in re.findall(r"<pre[^>]*><code>(.*?)</code>", page)]
        assert lines, path
        for line in lines:
            words = shlex.split(line)
            seen.add(words[0])
            if words[0] == "adapters":
                _parse(adapters, words[1:])
    assert seen == {"adapters", "curl"}


def _parse(command: click.Command, words: list[str]) -> None:
    """Its options and arguments are read as the command line reads them, and nothing is done."""
    context = command.make_context(command.name or "", list(words))
    with context:
        if isinstance(command, click.Group):
            name, found, rest = command.resolve_command(context, words)
            assert found is not None, name
            _parse(found, rest)
