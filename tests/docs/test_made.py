"""The pages that are made from the code are what it says now."""

from __future__ import annotations

import ast
import json
import re
from types import SimpleNamespace

import pytest

from docs.make import hooks, pictures, reference
from docs.make.reference import commands_with
from tests.docs.blocks import ROOT

PAGES = reference.pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    page = (reference.FOLDER / name).read_text(encoding="utf-8")
    assert page == PAGES[name], "run `python -m docs.make.reference`"


def test_every_variable_that_the_code_reads_is_on_the_page() -> None:
    """`os.environ[…]`, `.get(…)` and click's `envvar`, but for those that we set for children."""
    read = set()
    for package in ("adapterworks", "builders", "gateway", "registry"):
        for file in (ROOT / package).rglob("*.py"):
            source = file.read_text(encoding="utf-8")
            if "environ" not in source and "envvar" not in source:
                continue
            for node in ast.walk(ast.parse(source)):
                text = ast.unparse(node) if isinstance(node, ast.Call | ast.Subscript) else ""
                read |= set(re.findall(r"environ(?:\.get\(|\[)'([A-Z][A-Z_]+)'", text))
                read |= set(re.findall(r"envvar='([A-Z_]+)'", text))
    assert {"ADAPTERS_KEY", "ADAPTERS_URL", "NO_COLOR"} <= read
    assert sorted(name for name in read - OURS if f"`{name}`" not in PAGES["environment.md"]) == []


def test_a_page_names_the_commands_that_read_a_variable() -> None:
    assert commands_with("ADAPTERS_URL") == "`adapters chat`"
    (row,) = (line for line in PAGES["environment.md"].splitlines() if "`ADAPTERS_URL`" in line)
    assert "the gateway that `adapters chat` asks" in row
    assert "{" not in row


# Set by whoever starts a process of ours or of a library, and read back there.
OURS = {
    *(
        "LOCAL_RANK",
        "RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "TERM",
        "PYTHONSAFEPATH",
        "LD_PRELOAD",
    ),
    *("ADAPTERS_SERVABLES", "ADAPTERS_READER_KEY", "TQDM_DISABLE", "VLLM_CPU_KVCACHE_SPACE"),
    *("NUMBA_NUM_THREADS", "VLLM_CPU_NUM_OF_RESERVED_CPU"),
    *("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT_HTTPS", "ADAPTERS_RAY_TASK"),
    *("COMP_LINE", "COMP_WORDBREAKS"),
}


def test_the_house_is_drawn_from_the_contracts() -> None:
    drawn = (pictures.FOLDER / "house.svg").read_text(encoding="utf-8")
    assert drawn == pictures.house(), "run `python -m docs.make.pictures`"
    for folder in ("evaluation", "residency", "lifecycle", "importing"):
        assert f">{folder}" in drawn or f"·  {folder}" in drawn, folder


def test_the_recordings_are_of_the_tutorial_as_it_is() -> None:
    made = json.loads((pictures.FOLDER / "made.json").read_text())
    assert made["from"] == pictures.made_from(), "run `make docs`"
    tutorial = (ROOT / "docs" / "tutorials" / "own-data.md").read_text(encoding="utf-8")
    for commands in pictures.RECORDED.values():
        assert [line for line in commands if f"$ {line}\n" not in tutorial] == []
    for picture in pictures.FOLDER.glob("*.svg"):
        assert "://" not in picture.read_text().replace("http://www.w3.org/", "")


def test_chinese_lines_are_joined_and_blocks_are_not() -> None:
    page = "在这篇\n教程里\nsee\n\n```text\n中\n文\n```\n前\n后\n"
    joined = hooks.on_page_markdown(page, page=None)
    assert joined == "在这篇教程里\nsee\n\n```text\n中\n文\n```\n前后\n"


def test_nothing_is_fetched_from_elsewhere() -> None:
    shim = '<script src="https://unpkg.com/iframe-worker/shim"></script>'
    page = SimpleNamespace(file=SimpleNamespace(url="zh/how-to/keys.html"))
    assert "../../iframe-worker.js" in hooks.on_post_page(shim, page=page, config=None)
    assert "unpkg" not in hooks.on_post_template(shim, template_name="404.html", config=None)
