"""Copies of the home that the code of 0c1a7fc left, and today's `adapters` command run on them.

Invariant: the fixture is only read; a test changes copies, and asks them as a user would, by the
command and by HTTP, so that nothing here knows how today's code is laid out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from bench.apart import environment
from tests.forked import adapters
from tests.hub_git import Blob, Repository
from tests.hub_standin import GITATTRIBUTES, LFS_SUFFIXES, HubStandin
from tests.warm.python import COMMAND, Kind, warm_python

FIXTURE = Path(__file__).resolve().parent / "0c1a7fc"
FACTS: Mapping[str, Any] = json.loads((FIXTURE / "facts.json").read_text(encoding="utf-8"))
PUBLIC_KEY = FIXTURE / "release.pub"
BASE = "smollm2-135m-instruct"
TOKEN = "hf_owner"
_SCHEMA = "adapterworks_0c1a7fc"


@dataclass
class Home:
    """An ADAPTERS_HOME and the settings to use it with."""

    folder: Path
    side: str = "sqlite"
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        apart = environment(self.folder)
        return {
            **{k: v for k, v in apart.items() if not k.startswith("HF_")},
            "ADAPTERS_USER": "tester",
            "HF_HOME": str(self.folder.parent / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            **self.extra,
        }

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the old code said of the index of this kind."""
        facts: Mapping[str, Any] = FACTS["sides"][self.side]
        return facts

    def use(self, hub: HubStandin) -> None:
        """Let the command find a Hub."""
        self.extra |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        words = [*map(str, arguments)]
        return adapters(words, env=self.environment, cwd=self.folder.parent)

    def ok(self, *arguments: str | Path) -> str:
        """Run a command that must succeed; returns what it printed."""
        done = self.run(*arguments)
        line = f"adapters {' '.join(map(str, arguments))}"
        assert done.returncode == 0, f"{line} ended with {done.returncode}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str | Path) -> Any:
        """Run a command that must succeed with `--json`."""
        return json.loads(self.ok(*arguments, "--json"))

    def holder(self, name: str, alias: str) -> list[tuple[int, int]]:
        """The versions that an alias points to, with their percentages."""
        (row,) = (row for row in self.json("list") if row["name"] == name)
        return [(held["version"], held["weight"]) for held in row["aliases"][alias]]

    def answered(self, **group: str) -> int:
        """The metered requests of a tenant, a release, or both that did not fail."""
        return sum(
            row["requests"] - row["failures"]
            for row in self.json("usage", "--by", "tenant", "--by", "release")
            if all(row[key] == value for key, value in group.items())
        )

    @contextmanager
    def gateway(
        self, *options: str | Path, kind: Kind = "gateway", seconds: float = 600.0
    ) -> Iterator[httpx.Client]:
        """A gateway that is ready; ended with SIGTERM.

        Args:
            kind: of the warm process that it is forked from; its engines are forked from that, too.
        """
        with tempfile.TemporaryFile("w+") as told:
            process = subprocess.Popen(
                [warm_python(kind), "-c", COMMAND, "serve", "--port", "0", *map(str, options)],
                env=self.environment,
                cwd=self.folder.parent,
                stdout=subprocess.PIPE,
                stderr=told,
                text=True,
            )
            assert process.stdout is not None
            with process.stdout:
                try:
                    url = process.stdout.readline().strip()  # once it can answer, or at its end
                    if not url.startswith("http://"):
                        told.seek(0)
                        raise AssertionError(told.read())
                    with httpx.Client(base_url=url, timeout=300.0) as client:
                        wait_until(lambda: client.get("/ready").status_code == 200, seconds)
                        yield client
                finally:
                    process.terminate()
                    try:
                        process.wait(timeout=60)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()


def old_home(folder: Path) -> Home:
    """A copy of the home on SQLite, with what git does not keep: blobs are read-only."""
    shutil.copytree(FIXTURE / "home", folder / "home")
    for blob in (folder / "home" / "blobs").glob("sha256/*/*"):
        blob.chmod(0o444)
    return Home(folder / "home")


def old_postgresql(folder: Path, server: str) -> Home:
    """The same releases with their index in a schema of its own on a PostgreSQL server."""
    home = old_home(folder)
    (home.folder / "index.db").unlink()
    shutil.rmtree(home.folder / "metering")  # the other index's events
    schema = f"upgrade_{os.urandom(8).hex()}"
    dump = (FIXTURE / "postgresql" / "index.sql").read_text(encoding="utf-8")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(dump.replace(_SCHEMA, schema).encode())
    home.side = "postgresql"
    home.extra["ADAPTERS_DATABASE"] = f"{server}&options=-csearch_path%3D{schema}"
    return home


def fill(hub: HubStandin) -> None:
    """Put the repositories on the Hub as they were pushed, by the same commits, with their tags."""
    for id, facts in FACTS["hub"].items():
        folder = FIXTURE / "hub" / id
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        repository = hub.repositories[id] = Repository(id, private=True)
        tree = {".gitattributes": Blob(GITATTRIBUTES, False)}
        repository.commit("initial commit", tree)
        tree |= {path: Blob(data, path.endswith(LFS_SUFFIXES)) for path, data in files.items()}
        repository.tags[facts["tag"]] = repository.commit(f"{facts['name']}@1", tree)
        assert repository.main == pushed_commit(facts["name"]), "not what was pushed"


def pushed_commit(name: str) -> str:
    """The commit that the old log says a name's first version was pushed as."""
    log = FACTS["sides"]["sqlite"]["said"][f"log {name}"]
    (push,) = (event for event in log if event["kind"] == "push")
    return str(push["data"]["commit"])


def differences(then: Any, now: Any, where: str = "") -> list[str]:
    """Where today's answer is not what was said then; it may say more in tables, not in lists."""
    if isinstance(then, dict) and isinstance(now, dict):
        found = [f"{where}.{key} is missing" for key in then if key not in now]
        for key in then.keys() & now.keys():
            found += differences(then[key], now[key], f"{where}.{key}")
        return found
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [
            line
            for number, (one, other) in enumerate(zip(then, now, strict=True))
            for line in differences(one, other, f"{where}[{number}]")
        ]
    return [] if then == now else [f"{where} was {then!r}, is {now!r}"]


def ask(
    client: httpx.Client, key: str | None, model: str, prompt: str, tokens: int = 4
) -> httpx.Response:
    """A gateway's greedy answer; a cold adapter on a busy machine may be refused with 503 first,
    and is loaded meanwhile."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    for _ in range(10):
        answer = client.post("/v1/chat/completions", json=body, headers=headers)
        if answer.status_code != 503:
            break
    return answer


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.1)
