"""Folders of jobs on a worker's disk: rows while it builds, a log until gc."""

from __future__ import annotations

from adapterworks.registry.jobs import folders, putting, queue, schema
from adapterworks.registry.jobs.job import BUILD_LANE, FINE_TUNING, Done, NewJob
from adapterworks.registry.registry import Registry

ANOTHERS = "another-index-has-it"


def test_gc_takes_the_rows_of_ended_jobs_and_later_their_logs(local_registry: Registry) -> None:
    database, home = local_registry.database, local_registry.home
    schema.migrate(database)
    jobs = []
    with database.write() as connection:
        for number in range(3):
            new = NewJob(FINE_TUNING, "t", BUILD_LANE, {})
            jobs.append(putting.put(connection, new, now=0.0).id)
            taken = queue.claim(connection, [BUILD_LANE], holder="w", now=0.0)
            assert taken is not None
            if number < 2:
                queue.finish(connection, taken[1], Done({}), now=100.0 + number)
    for name in (*jobs, ANOTHERS):
        folder = folders.folder_of(home, name)
        (folder / "files").mkdir(parents=True)
        (folder / "files" / "rows.jsonl").write_text("a row")
        (folder / "train.jsonl").write_text("a row")
        (folder / folders.LOG).write_text("a line")
    old, young, running, strange = (folders.folder_of(home, n) for n in (*jobs, ANOTHERS))
    assert folders.forget(database, home, 100.5, dry_run=True) == 1
    assert (old / "train.jsonl").exists()
    assert folders.forget(database, home, 100.5, dry_run=False) == 1
    assert not old.exists()
    assert [path.name for path in young.iterdir()] == [folders.LOG]
    for folder in (running, strange):
        assert (folder / "files" / "rows.jsonl").exists()
        assert (folder / "train.jsonl").exists()
    assert folders.forget(database, home, 101.5, dry_run=False) == 1
    assert not young.exists()
