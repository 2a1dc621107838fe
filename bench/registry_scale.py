"""What the registry costs with 1,000, 100,000 and a million versions of one name.

Versions are inserted in bulk through the index's own `insert_versions`; then the same calls are
timed at each size, on SQLite and on a real PostgreSQL, `resolve` in turn with one bare indexed read
of the same database. What a release's bytes cost is in `bench.registry_bytes`, which runs with it.

    python -m bench.registry_scale [--sizes 1000 100000 1000000] [--database both] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from adapterworks.registry.index import schema, versions
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import FileEntry, Release
from bench.registry_bytes import rows as rows_of_bytes
from bench.report import Row, figure, save, show
from tests.postgres import new_database, running_server
from tests.registry.releases import draft, folder

NAME = "medical"
BATCH = 1000
T = TypeVar("T")
# A release has about this many files; the many that only make the tables large have one.
FILES, FEW = 8, 1
MANY = 10_000


def release(number: int) -> Release:
    """A record as large as a real one; its blobs are not there, and nothing here reads them."""
    files = {
        (path := f"servable/file-{position}"): FileEntry.at(
            path, digest=f"sha256:{number:060d}{position:04d}", size=9
        )
        for position in range(FILES if number <= MANY else FEW)
    }
    plan = f"sha256:{number:064d}"
    return Release.from_draft(draft(number, plan=plan, created_by=f"{number}"), files)


def fill(registry: Registry, size: int) -> float:
    """Insert versions until there are `size`; returns seconds."""
    start = time.perf_counter()
    rows = registry.versions(NAME, limit=1)
    first = rows[0].version + 1 if rows else 1
    for low in range(first, size + 1, BATCH):
        releases = [release(number) for number in range(low, min(low + BATCH, size + 1))]
        with registry.database.write() as connection:
            versions.insert_versions(connection, NAME, releases, who="bench")
    with registry.database.write() as connection:
        connection.exec_driver_sql("ANALYZE")  # PostgreSQL's autovacuum does so within a minute
    return time.perf_counter() - start


def calls(registry: Registry, size: int, root: Path) -> dict[str, tuple[Callable[[], object], int]]:
    """What is timed: label → (call, repetitions)."""
    chance = random.Random(size)
    refs = [f"{NAME}@{chance.randint(1, size)}" for _ in range(500)]
    digests = [f"{NAME}@{release(chance.randint(1, size)).digest}" for _ in range(500)]
    by_version, by_digest = _cycle(refs), _cycle(digests)
    numbers = iter(range(10_000_000))
    registry.promote(NAME, size // 2, "prod", who="bench")
    middle = size // 2

    def publish() -> None:
        number = size * 10 + next(numbers)
        files = folder(root / "files", number)
        registry.publish(files, draft(number, name="fresh", created_by=f"{number}"), who="bench")

    def promote() -> None:
        registry.promote(NAME, chance.randint(1, size), "candidate", who="bench")

    reads, read = _cycle(list(range(1, size + 1, max(1, size // 500)))), _bare(registry)
    return {
        "bare indexed read": (lambda: read(next(reads)), 2000),
        "resolve alias": (lambda: registry.resolve(NAME), 2000),
        "resolve version": (lambda: registry.resolve(next(by_version)), 2000),
        "resolve digest": (lambda: registry.resolve(next(by_digest)), 2000),
        "revision": (registry.revision, 2000),
        "find plan": (lambda: registry.origins.find_plan("medical", f"sha256:{middle:064d}"), 500),
        "list newest 50": (lambda: registry.versions(NAME), 200),
        "list 50 in the middle": (lambda: registry.versions(NAME, before=middle), 200),
        "list names": (registry.names, 200),
        "log newest 50": (lambda: registry.log.events(NAME), 200),
        "promote": (promote, 50),
        "publish": (publish, 50),
    }


def measure(registry: Registry, size: int, root: Path) -> dict[str, float]:
    """Median milliseconds of each call."""
    medians = {}
    for label, (call, times) in calls(registry, size, root).items():
        call()
        taken = []
        for _ in range(times):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        medians[label] = statistics.median(taken) * 1000
    return medians


def run(
    kind: str, database: str, root: Path, sizes: list[int]
) -> tuple[dict[int, dict[str, float]], list[Row]]:
    """Fill and measure at each size; then what bytes cost."""
    registry = Registry.open(database=database, blobs=str(root / "blobs"), home=root / "home")
    try:
        registry.require_own_store()  # while it is blank: what is filled in has no bytes
        found = {}
        for size in sizes:
            seconds = fill(registry, size)
            found[size] = measure(registry, size, root)
            sys.stderr.write(f"{size} versions ({seconds:.1f} s to insert)\n")
        return found, rows_of_bytes(kind, registry, root)
    finally:
        registry.close()


def table(kind: str, found: dict[int, dict[str, float]]) -> str:
    """The medians for people, with the growth from the smallest to the largest size."""
    sizes = list(found)
    lines = [
        f"{kind}: median ms",
        f"{'':<24}" + "".join(f"{size:>12,}" for size in sizes) + f"{'growth':>10}",
    ]
    for label in found[sizes[0]]:
        values = [found[size][label] for size in sizes]
        cells = "".join(f"{value:>12.3f}" for value in values)
        lines.append(f"{label:<24}{cells}{values[-1] / values[0]:>9.2f}×")
    return "\n".join(lines)


def _bare(registry: Registry) -> Callable[[int], object]:
    """One row by its primary key, and nothing else: what any lookup costs at least."""
    table = schema.versions
    query = sa.select(table.c.digest).where(
        table.c.name == sa.bindparam("name"), table.c.version == sa.bindparam("version")
    )

    def read(version: int) -> object:
        with registry.database.read() as connection:
            return connection.execute(query, {"name": NAME, "version": version}).first()

    return read


def _cycle(values: list[T]) -> Iterator[T]:
    while True:
        yield from values


def rows(kind: str, found: dict[int, dict[str, float]]) -> list[Row]:
    """Milliseconds at the largest size, and for `resolve` the growth from the smallest one."""
    small, large = min(found), max(found)
    bare = found[large]["bare indexed read"]
    result = []
    for label, value in found[large].items():
        goal = "≤1" if label.startswith("resolve") else ""
        note = f"median of one run, {large:,} versions"
        result.append(figure(f"{kind}: {label}", "ms", [value], goal=goal, note=note))
        if goal:
            growth = value / found[small][label]
            note = f"{large:,} ÷ {small:,} versions"
            result.append(figure(f"{kind}: {label}, growth", "×", [growth], goal="≤1.2", note=note))
            note = "the same database, the same run"
            name = f"{kind}: {label} ÷ bare indexed read"
            result.append(figure(name, "×", [value / bare], goal="≤2", note=note))
    return result


def main() -> None:
    """Run on both databases and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    results, of_bytes = {}, []
    with tempfile.TemporaryDirectory(prefix="scale-") as root:
        if arguments.database in ("sqlite", "both"):
            home = Path(root, "sqlite")
            home.mkdir()
            url = f"sqlite:///{home / 'index.db'}"
            results["SQLite"], more = run("SQLite", url, home, arguments.sizes)
            of_bytes += more
        if arguments.database in ("postgresql", "both"):
            with running_server() as server:
                url = new_database(server)
                home = Path(root, "postgresql")
                results["PostgreSQL"], more = run("PostgreSQL", url, home, arguments.sizes)
                of_bytes += more
    everything = [row for kind, found in results.items() for row in rows(kind, found)] + of_bytes
    save(everything, "registry_scale")
    if arguments.json:
        json.dump(results, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        sys.stdout.write("\n\n".join(table(kind, found) for kind, found in results.items()) + "\n")
        show("As ratios, and what bytes cost", everything)


if __name__ == "__main__":
    main()
