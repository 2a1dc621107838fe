"""kill -9 at random points of publish, promote, import, delete and gc, and what is left.

Each round starts two processes on one registry, each doing one kind of operation over and over and
acknowledging what it did; after a random time both are killed. Then the whole registry is verified,
everything ever acknowledged is looked for, and a fresh publish must succeed.

    python -m bench.registry_crash [--kills 200] [--postgresql] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.registry_workers import ACTS, NAME, Place, publish, work
from tests.registry.imports.hostile.good import write_base
from tests.registry.releases import draft, folder

OPERATIONS = tuple(ACTS)
# Seconds in which a kill may fall: a few operations long, so that it falls anywhere in one.
SPANS = {"publish": 0.4, "promote": 0.1, "import": 1.0, "delete": 0.4, "gc": 0.2}
# A registry is used for this many rounds, so that verifying all of it stays quick.
ROUNDS_A_REGISTRY = 20


@dataclass
class Tally:
    """What happened to one kind of operation."""

    kills: int = 0
    during: int = 0
    acknowledged: int = 0
    lost: int = 0


@dataclass
class Result:
    """The whole run. `unclean` are verifications that found something, `stuck` later publishes."""

    operations: dict[str, Tally] = field(default_factory=lambda: {o: Tally() for o in OPERATIONS})
    unclean: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Processes killed."""
        return sum(tally.kills for tally in self.operations.values())

    @property
    def during(self) -> int:
        """Kills that hit an operation between its start and its acknowledgement."""
        return sum(tally.during for tally in self.operations.values())

    @property
    def good(self) -> bool:
        """Whether nothing was lost, damaged or stuck."""
        lost = sum(tally.lost for tally in self.operations.values())
        return not (lost or self.unclean or self.stuck)


def run(
    kills: int,
    root: Path,
    new_database: Callable[[Path], str],
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> Result:
    """Kill at least `kills` processes, in pairs, and check after each pair."""
    chance = random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.registry_workers"])  # a worker starts in milliseconds
    result = Result()
    write_base(root / "base")
    turn = 0
    while result.kills < kills:
        place = Place("", root)
        acknowledged: list[tuple[str, dict[str, Any]]] = []
        for _ in range(ROUNDS_A_REGISTRY):
            if not place.database:
                place = Place(new_database(root / f"{turn}"), root / f"{turn}")
                _prepare(place)
            pair = OPERATIONS[turn % len(OPERATIONS)], chance.choice(OPERATIONS)
            acknowledged += _round(context, place, pair, turn, chance, result)
            _check(place, acknowledged, turn, result)
            turn += 1
            if result.kills >= kills:
                break
        progress(f"{result.kills} kills, {result.during} of them during an operation")
    return result


def _round(
    context: Any,
    place: Place,
    pair: tuple[str, str],
    turn: int,
    chance: random.Random,
    result: Result,
) -> list[tuple[str, dict[str, Any]]]:
    """Start both, kill both; returns what they acknowledged."""
    workers = []
    for side, operation in enumerate(pair):
        receiver, sender = context.Pipe(duplex=False)
        arguments = (sender, place, operation, f"{turn}-{side}")
        process = context.Process(target=work, args=arguments, daemon=True)
        process.start()
        sender.close()
        workers.append((operation, process, receiver))
    for operation, _, receiver in workers:
        assert receiver.poll(120), f"the {operation} worker did not start"
    time.sleep(chance.uniform(0.0, max(SPANS[operation] for operation in pair)))
    for _, process, _ in workers:
        process.kill()
    acknowledged = []
    for operation, process, receiver in workers:
        process.join()
        messages = list(_messages(receiver))
        tally = result.operations[operation]
        tally.kills += 1
        tally.during += messages[-1] == ("begin", {})
        done = [(kind, said) for kind, said in messages if kind == operation]
        failed = [said for kind, said in messages if kind == "failed"]
        if failed:
            result.stuck.append(f"round {turn}: {operation} failed: {failed}")
        tally.acknowledged += len(done)
        acknowledged += done
    return acknowledged


def _messages(receiver: Connection) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything a dead worker said; its last words may be cut off."""
    while True:
        try:
            yield receiver.recv()
        except (EOFError, OSError):
            receiver.close()
            return


def _prepare(place: Place) -> None:
    with place.open() as registry:
        for number in (1, 2, 3):
            files = folder(place.root / f"first-{number}", number)
            registry.publish(files, draft(number), who="prepare")
        for version in (1, 2):
            registry.promote(NAME, version, "prod", who="prepare")


def _check(
    place: Place, acknowledged: list[tuple[str, dict[str, Any]]], turn: int, result: Result
) -> None:
    """Verify everything, look for everything acknowledged, publish once more."""
    with place.open() as registry:
        report = registry.upkeep.verify()
        if not report.clean:
            result.unclean.append(f"round {turn}: {report.problems}")
        moves = {move.sequence: asdict(move) for move in registry.history(NAME, "prod")}
        for operation, said in acknowledged:
            found = True
            if operation in ("publish", "import"):
                name = NAME if operation == "publish" else "imported"
                row = registry.version(name, said["version"])
                found = row.digest == said["digest"] and row.deleted is None
            elif operation == "promote":
                found = moves.get(said["sequence"]) == said
            elif operation == "delete":
                found = registry.version("doomed", said["version"]).deleted is not None
            result.operations[operation].lost += not found
        label = f"after-{turn}"
        try:
            publish(registry, place.root, label, random.Random(label))
        except Exception as error:
            result.stuck.append(f"round {turn}: {error!r}")


def table(result: Result) -> str:
    """The result for people."""
    lines = ["operation  kills  during one  acknowledged  lost"]
    for operation, tally in result.operations.items():
        lines.append(
            f"{operation:<9}  {tally.kills:>5}  {tally.during:>10}  "
            f"{tally.acknowledged:>12}  {tally.lost:>4}"
        )
    acknowledged = sum(tally.acknowledged for tally in result.operations.values())
    lost = sum(tally.lost for tally in result.operations.values())
    lines.append(
        f"{'all':<9}  {result.kills:>5}  {result.during:>10}  {acknowledged:>12}  {lost:>4}"
    )
    lines.append(
        f"verifications that were not clean: {len(result.unclean)}; "
        f"publishes that failed afterwards: {len(result.stuck)}"
    )
    return "\n".join([*lines, *result.unclean, *result.stuck])


def sqlite_in(root: Path) -> str:
    """The URL of a new SQLite database."""
    root.mkdir(parents=True)
    return f"sqlite:///{root / 'index.db'}"


def main() -> int:
    """Run and print; exit code 1 if anything was lost, damaged or stuck."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--postgresql", action="store_true", help="the index on a real PostgreSQL")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()

    def progress(line: str) -> None:
        sys.stderr.write(line + "\n")

    with tempfile.TemporaryDirectory(prefix="crash-") as root:
        if arguments.postgresql:
            from tests.postgres import new_database, running_server

            with running_server() as server:
                result = run(
                    arguments.kills,
                    Path(root),
                    lambda _: new_database(server),
                    seed=arguments.seed,
                    progress=progress,
                )
        else:
            result = run(
                arguments.kills, Path(root), sqlite_in, seed=arguments.seed, progress=progress
            )
    if arguments.json:
        json.dump({"good": result.good, **asdict(result)}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(table(result) + "\n")
    return 0 if result.good else 1


if __name__ == "__main__":
    sys.exit(main())
