"""What batches were answered goes with their files, and all of a tenant's with the tenant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.cli.main import cli
from adapterworks.registry.bases.base import Base
from tests.gateway.files.test_files import put
from tests.gateway.jobs.test_batches import begin, lines, request, wait
from tests.gateway.jobs.test_graders import CHECK
from tests.gateway.jobs.test_reinforcement import method, rows
from tests.gateway.jobs_support import House, house
from tests.registry import releases

__all__ = ["house"]

ANSWER, QUESTION, NAME = "Jane Doe of ward seven", "what ails Jane Doe", "jane-doe.txt"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def places(home: Path, *markers: str) -> set[str]:
    """The files under a home that have one of the markers, the index and its log included."""
    wanted = [marker.encode() for marker in markers]
    files = [path for path in home.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(home))
        for path in files
        if any(marker in path.read_bytes() for marker in wanted)
    }


@pytest.fixture
def home(house: House, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry's home, as the command line finds it; a batch in it was answered."""
    home = house.registry.home
    monkeypatch.setenv("ADAPTERS_HOME", str(home))
    house.standin.tokens = [*(f"{word} " for word in ANSWER.split())]
    return home


def test_a_batchs_answers_are_nowhere_when_its_files_are_deleted(house: House, home: Path) -> None:
    client, model = house.client(), house.standin.base
    rows = [request(number, model) for number in range(3)]
    for row in rows:
        row["body"]["messages"][0]["content"] = QUESTION
        row["body"]["max_tokens"] = 20
    batch = wait(client, begin(client, rows).id, "completed", "failed")
    answers = lines(client, batch.output_file_id)
    assert all(ANSWER in json.dumps(line) for line in answers)
    assert places(home, ANSWER, QUESTION)
    for file in (batch.output_file_id, batch.input_file_id):
        assert file is not None
        client.files.delete(file)
    run("gc", "--grace", "0", "--yes")
    assert places(home, ANSWER, QUESTION) == set()
    again = client.batches.retrieve(batch.id)  # what it cost is known yet
    assert (again.request_counts, again.usage) == (batch.request_counts, batch.usage)


def test_all_of_a_tenant_goes_with_it(house: House, home: Path, base: Base, tmp_path: Path) -> None:
    client = house.client()
    put(client, NAME, QUESTION.encode(), purpose="user_data")
    left = client.uploads.create(
        filename=NAME, bytes=1000, mime_type="text/plain", purpose="user_data"
    )
    client.uploads.parts.create(left.id, data=ANSWER.encode())
    house.standin.holds_after = 0  # a batch that does not end by itself
    batch = begin(client, [request(1, house.standin.base)])
    wait(client, batch.id, "in_progress")
    kept = put(house.client("globex"), "other.txt", b"a neighbour's", purpose="user_data")
    made = releases.publish(
        house.registry, tmp_path, name=f"{house.acme.prefix}mine", base=base.identity
    )
    told = json.loads(run("erase", "tenant:acme", "--why", "withdrawn", "--yes", "--json"))
    assert (told["uploaded"], told["uploads"], told["running"]) == (2, 1, 1)
    assert [item["digest"] for item in told["releases"]] == [made.digest]
    assert client.files.list().data == []
    wait(client, batch.id, "cancelled")
    again = json.loads(run("erase", "tenant:acme", "--why", "withdrawn", "--yes", "--json"))
    assert again["running"] == 0
    run("gc", "--grace", "0", "--yes")
    assert places(home, ANSWER, QUESTION, NAME) == set()
    house.standin.holds_after = None
    assert house.client("globex").files.content(kept.id).read() == b"a neighbour's"


def test_the_texts_of_a_tenants_graders_go_with_it(house: House, home: Path) -> None:
    client, model = house.client(), house.standin.base
    given: Any = {"training_file": put(client, data=rows()).id}
    asked = {**CHECK, "name": NAME, "reference": f"{{{{item.label}}}} {ANSWER}"}
    ended = client.fine_tuning.jobs.create(model=model, method=method(asked), **given)
    client.fine_tuning.jobs.cancel(ended.id)
    queued = client.fine_tuning.jobs.create(model=model, method=method(asked), **given)
    other = house.client("globex")
    theirs: Any = {"training_file": put(other, data=rows()).id, "method": method(CHECK)}
    kept = other.fine_tuning.jobs.create(model=model, **theirs)
    assert places(home, ANSWER, NAME)
    run("erase", "tenant:acme", "--why", "withdrawn", "--yes")
    run("gc", "--grace", "0", "--yes")
    assert places(home, ANSWER, NAME) == set()
    for job in (ended, queued):  # they are answered yet
        shown = client.fine_tuning.jobs.retrieve(job.id)
        assert (shown.status, shown.model) == ("cancelled", model)
        assert shown.method is not None
        assert shown.method.reinforcement is not None
    left = other.fine_tuning.jobs.retrieve(kept.id)
    assert left.method == kept.method
