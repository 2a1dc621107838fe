"""What is read over HTTP is what the registry says, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_jsonable_python

from adapterworks.gateway.http.routes.registry.access import PREFIX
from tests.gateway.registry_http.conftest import Offered, offer, open_at
from tests.registry.releases import draft, folder, publish


def get(offered: Offered, path: str, **query: Any) -> Any:
    answer = offered.ask().get(PREFIX + path, params=query or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(offered: Offered, path: str, **query: Any) -> tuple[int, str]:
    answer = offered.ask().get(PREFIX + path, params=query or None)
    return answer.status_code, answer.json()["error"]["code"]


def walk(offered: Offered, path: str, **query: Any) -> list[dict[str, Any]]:
    """Every object of a list, three a page."""
    found, after = [], None
    while True:
        page = get(offered, path, limit=3, **query, **({"after": after} if after else {}))
        assert len(page["data"]) <= 3
        found += page["data"]
        if not page["has_more"]:
            return found
        after = page["last_id"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offered]:
    """Seven versions of `medical`, one each of five others; tests only read it."""
    place = tmp_path_factory.mktemp("filled")
    with open_at(place) as registry:
        for number in range(1, 8):
            publish(registry, place, number)
        for number, name in enumerate(("legal", "code", "kb", "icd-10", "notes"), 20):
            method = "dora" if name == "legal" else "lora"
            publish(registry, place, number, name=name, method=method, description=f"for {name}")
        registry.promote("medical", 6, "prod", who="ann", why="better")
        registry.promote("medical", 7, "prod", who="ann", weight=10)
        yield offer(registry)


def test_adapters_are_listed_by_name_in_pages(filled: Offered) -> None:
    found = walk(filled, "/adapters")
    assert [row["id"] for row in found] == ["code", "icd-10", "kb", "legal", "medical", "notes"]
    medical = found[4]
    assert medical | {"aliases": None, "updated": None} == {
        "id": "medical",
        "object": "registry.adapter",
        "name": "medical",
        "description": "ICD-10-CM coding of clinical terms",
        "latest": 7,
        "versions": 7,
        "updated": None,
        "aliases": None,
        "base": "smollm2-135m-instruct",
        "method": "lora",
    }
    shares = [(held["version"], held["weight"]) for held in medical["aliases"]["prod"]]
    assert shares == [(6, 90), (7, 10)]
    assert get(filled, "/adapters/medical") == medical


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("clinical", ["medical"]),
        ("FOR legal", ["legal"]),
        ("icd", ["icd-10", "medical"]),
        ("dora", ["legal"]),
        ("smollm2 lora", ["code", "icd-10", "kb", "medical", "notes"]),
        ("100%", []),
        ("_", []),
    ],
)
def test_adapters_are_found_by_words(filled: Offered, text: str, names: list[str]) -> None:
    assert [row["id"] for row in walk(filled, "/adapters", q=text)] == names


def test_versions_are_listed_newest_first(filled: Offered) -> None:
    found = walk(filled, "/adapters/medical/versions")
    assert [row["version"] for row in found] == [7, 6, 5, 4, 3, 2, 1]
    row = filled.registry.version("medical", 6)
    assert found[1] == {
        "id": "medical@6",
        "object": "registry.version",
        **to_jsonable_python(row),
    }
    assert get(filled, "/adapters/medical/versions/6") == found[1]


def test_a_tombstone_is_seen_by_who_asks_for_it(offered: Offered, tmp_path: Path) -> None:
    for number in (1, 2):
        publish(offered.registry, tmp_path, number)
    offered.registry.delete("medical", 1, who="ann", why="wrong rows")
    assert [row["version"] for row in walk(offered, "/adapters/medical/versions")] == [2]
    both = walk(offered, "/adapters/medical/versions", deleted="true")
    assert [row["version"] for row in both if row["deleted"]] == [1]
    assert refusal(offered, "/releases/medical@1") == (404, "not_found")


def test_aliases_say_who_holds_them(filled: Offered) -> None:
    (alias,) = get(filled, "/adapters/medical/aliases")["data"]
    assert alias["id"] == "prod"
    assert alias["protected"] is False
    assert [held["version"] for held in alias["holders"]] == [6, 7]


def test_the_log_is_listed_newest_first(filled: Offered) -> None:
    told = walk(filled, "/adapters/medical/log")
    assert told == [
        {"id": str(event.sequence), "object": "registry.event", **to_jsonable_python(event)}
        for event in filled.registry.log.events("medical")
    ]
    of_alias = walk(filled, "/adapters/medical/log", alias="prod")
    assert [(event["kind"], event["who"]) for event in of_alias] == [
        ("canary", "ann"),
        ("promote", "ann"),
    ]
    assert len(walk(filled, "/adapters/medical/log", version="2")) == 1


def test_lineage_is_the_registrys(filled: Offered) -> None:
    of_seven = get(filled, "/adapters/medical/lineage")
    assert of_seven.pop("object") == "registry.lineage"
    assert of_seven == to_jsonable_python(filled.registry.origins.lineage("medical@7"))
    assert get(filled, "/adapters/medical/lineage", version=2)["seed"] == 2


def test_search_and_difference_are_the_registrys(filled: Offered) -> None:
    found = walk_search(filled, method="lora")
    rows = filled.registry.search(method="lora")
    assert [row["id"] for row in found] == [f"{row.name}@{row.version}" for row in rows]
    told = get(filled, "/releases/medical@1/diff/medical:prod")
    assert told.pop("object") == "registry.diff"
    assert told == to_jsonable_python(filled.registry.diff("medical@1", "medical:prod"))


def walk_search(offered: Offered, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = get(offered, "/search", limit=3, offset=len(found), **query)
        found += page["data"]
        if not page["has_more"]:
            return found


def test_a_release_is_told_with_all_that_is_known(offered: Offered, tmp_path: Path) -> None:
    registry = offered.registry
    place = folder(tmp_path / "one", 1)
    gates = [{"metric": "exact_match", "passed": True, "why": "+0.2"}]
    (place / "report.json").write_text(json.dumps({"gates": gates}))
    made = registry.publish(place, draft(1), who="ann")
    registry.log.note_proof(made.digest, "proved", engine="vllm")
    registry.tag("medical", 1, add=("reviewed",), who="ann")
    told = get(offered, "/releases/medical@1")
    assert get(offered, f"/releases/{made.digest}") == told
    assert told["record"] == registry.release(made.digest).to_json()
    assert told["gates"] == gates
    assert told["card"] == "# medical\n"
    assert [proof["data"]["result"] for proof in told["proofs"]] == ["proved"]
    assert [event["kind"] for event in told["later"]] == ["tag", "proof"]
    assert told["tags"] == ["icd", "coding", "reviewed"]
    files = {file["path"]: file for file in told["files"]}
    assert files["adapter.lock"]["size"] == (place / "adapter.lock").stat().st_size
    assert files["adapter.lock"]["absent"] is None
    short = get(offered, "/refs/medical@1")
    assert (short["version"], short["digest"]) == (1, made.digest)


def test_a_strangers_report_is_no_fault(offered: Offered, tmp_path: Path) -> None:
    for number, report in enumerate((b"[", b"[1]", b'{"gates": 3}', b'{"gates": [1]}'), 1):
        place = folder(tmp_path / str(number), number)
        (place / "report.json").write_bytes(report)
        offered.registry.publish(place, draft(number), who="ann")
        assert get(offered, f"/releases/medical@{number}")["gates"] == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/adapters/absent", 404, "not_found"),
        ("/adapters/absent/versions", 404, "not_found"),
        ("/adapters/medical/versions/9", 404, "not_found"),
        ("/adapters/medical/versions/x", 400, "invalid_request"),
        ("/adapters/NO", 400, "invalid_request"),
        ("/adapters?limit=1001", 400, "invalid_request"),
        ("/adapters?limit=0", 400, "invalid_request"),
        ("/adapters?after=../x", 400, "invalid_request"),
        ("/adapters/medical/versions?after=-1", 400, "invalid_request"),
        ("/adapters/medical/versions?deleted=yes", 400, "invalid_request"),
        ("/adapters/medical/log?alias=absent", 404, "not_found"),
        ("/releases/medical@9", 404, "not_found"),
        ("/releases/medical@latest", 400, "invalid_request"),
        (f"/releases/sha256:{'1' * 64}", 404, "not_found"),
        ("/releases/medical@1/diff/absent", 404, "not_found"),
        ("/nothing", 404, "path_not_found"),
    ],
)
def test_what_is_not_there_is_said(filled: Offered, path: str, status: int, code: str) -> None:
    assert refusal(filled, path) == (status, code)


def test_a_name_without_versions_says_who_deleted_them(offered: Offered, tmp_path: Path) -> None:
    publish(offered.registry, tmp_path, 1)
    offered.registry.delete("medical", 1, who="ann", why="gone")
    told = get(offered, "/adapters/medical")
    assert (told["latest"], told["versions"], told["base"]) == (None, 0, "")
    assert refusal(offered, "/adapters/medical/lineage") == (404, "not_found")
