"""What comes of jobs, and what stays of them: nothing paid is lost, nothing deleted is kept."""

from __future__ import annotations

from bench.mutants.mutant import Named

_QUEUE, _MOVES = "registry/jobs/queue.py", "registry/jobs/moves.py"
_PROVING, _BATCHING = "gateway/jobs/proving.py", "gateway/jobs/batching.py"
_OF_QUEUE = ("tests/registry/jobs/test_queue.py",)
_OF_PROOFS = ("tests/gateway/jobs/test_proving.py",)
_OF_ENDS = ("tests/gateway/jobs/test_batches_end.py",)
_OF_KEPT = ("tests/gateway/jobs/test_batches_kept.py",)
_OF_ERASING = ("tests/gateway/jobs/test_erasing.py",)
_OF_BOUNDS = ("tests/gateway/jobs/test_bounds.py",)
_OF_ROWS = ("tests/gateway/files/test_rows.py",)
_OF_FILES = ("tests/gateway/files/test_files.py",)
_OF_SHOWN = ("tests/registry/jobs/test_shown.py",)

_OF_SEATS = ("tests/gateway/jobs/test_batches_seats.py",)

_OF_WORKERS = ("tests/workers/test_worker.py",)
_OF_REINFORCEMENT = "tests/gateway/jobs/test_reinforcement.py"

NAMED = (
    Named(
        "all-rows-are-looked-at-whatever-is-wrong",
        "gateway/jobs/reinforcing.py",
        "        if faults.full:\n            break\n",
        "",
        (f"{_OF_REINFORCEMENT}::test_rows_are_looked_at_within_bounds",),
        "one request for a job could fill the gateway's memory",
    ),
    Named(
        "any-number-of-words-is-compared-in-a-job",
        "gateway/jobs/reinforcing.py",
        'if cells(grader, None, {"answer": own, **texts}) > MOST_CELLS:',
        "if False:",
        (f"{_OF_REINFORCEMENT}::test_what_cannot_be_graded_is_refused_before_there_is_a_job",),
        "a job would fail when a worker comes to it, for what was known before",
        quick=False,
    ),
    Named(
        "force-is-for-the-first-attempt",
        "adapterworks/workers/detached.py",
        'asked["force"] and BEGUN not in job.result',
        'asked["force"] and claim.attempt == 1',
        ("tests/workers/test_detached.py",),
        "one wait for memory, and nothing would be built anew",
        quick=False,
    ),
    Named(
        "who-has-lost-a-job-clears-its-folder",
        "adapterworks/workers/worker.py",
        "                if self._is_nobody_elses(claim):\n",
        "                if True:\n",
        _OF_WORKERS,
        "a worker that was cut off would take away what another trains on",
        quick=False,
    ),
    Named(
        "a-checkpoint-forgives-nothing",
        "adapterworks/workers/job_events.py",
        "            if events.add_checkpoint(connection, job, step, metrics, at):\n",
        "            if not events.add_checkpoint(connection, job, step, metrics, at):\n",
        _OF_WORKERS,
        "the fifth spot machine that is taken away would end a training of weeks",
        quick=False,
    ),
    Named(
        "a-batch-that-is-given-back-cancelled-lists-nothing",
        _MOVES,
        'if state == "cancelled" and has_answers(connection, row.id):',
        "if False:",
        _OF_QUEUE,
        "a tenant that cancels while a gateway ends would lose what it paid for",
        quick=False,
    ),
    Named(
        "a-batch-tried-out-lists-nothing",
        _QUEUE,
        'state: State = "queued" if answers else "failed"',
        'state: State = "failed"',
        _OF_QUEUE,
        "an index that is away five times would lose what was paid for",
        quick=False,
    ),
    Named(
        "a-batch-that-waits-keeps-its-seat",
        "gateway/jobs/asking.py",
        "                return NotAsked.LIMITS\n",
        "                pass\n",
        _OF_SEATS,
        "batches of a base without an engine would take all seats for a day",
        quick=False,
    ),
    Named(
        "one-batch-that-does-not-leave-stops-all-turns",
        "gateway/jobs/sharing.py",
        "if not untold or any(now - seat.told < _LEAVES_S for seat in told):",
        "if told or not untold:",
        _OF_SEATS,
        "one line that takes an hour would keep everybody's batch waiting",
        quick=False,
    ),
    Named(
        "a-batchs-line-cannot-be-found",
        "gateway/capture/answered.py",
        r"|batch-[0-9a-f]{24}-\d{1,9})",
        ")",
        _OF_KEPT,
        "nobody could say anything of what a batch was answered",
        quick=False,
    ),
    Named(
        "a-defect-ends-the-batch",
        "gateway/jobs/asking.py",
        "        except Exception as error:",
        "        except ZeroDivisionError as error:",
        _OF_KEPT,
        "one line that nobody foresaw would lose all that were paid",
        quick=False,
    ),
    Named(
        "a-proof-is-tried-five-times",
        _PROVING,
        "after=error.retry_after or _AGAIN_S, counts=False)",
        "after=error.retry_after or _AGAIN_S)",
        _OF_PROOFS,
        "hours of training would be lost to an engine that is full for a minute",
        quick=False,
    ),
    Named(
        "proofs-are-taken-without-an-engine",
        _PROVING,
        'gateway.pool.engines if engine.health.state == "ready")',
        "gateway.pool.engines)",
        _OF_PROOFS,
        "a job would be taken and given back for as long as an engine starts",
        quick=False,
    ),
    Named(
        "trainings-keep-batches-waiting",
        _QUEUE,
        "sa.and_(busy.c.tenant == _jobs.c.tenant, busy.c.place == place)",
        "busy.c.tenant == _jobs.c.tenant",
        _OF_QUEUE,
        "what is built would not be proved while two others are trained",
        quick=False,
    ),
    Named(
        "a-pause-is-not-taken-back",
        _QUEUE,
        "            stopped(connection, row, now, result=result, **later)\n",
        "            move(connection, row, outcome.state, now, result=result)\n",
        _OF_QUEUE,
        "a job that was resumed, or cancelled, while it stopped would stay paused",
        quick=False,
    ),
    Named(
        "a-cancelled-batch-forgets-its-answers",
        _QUEUE,
        'elif wanted == "cancel" and has_answers(connection, job):',
        "elif False:",
        (*_OF_QUEUE, *_OF_ENDS),
        "a batch cancelled between two gateways would lose what was answered and paid",
        quick=False,
    ),
    Named(
        "losses-count-for-ever",
        _BATCHING,
        "        queue.came_on(connection, held)\n",
        "",
        _OF_ENDS,
        "a batch of a day would fail at the fifth restart, whatever it has come to",
        quick=False,
    ),
    Named(
        "a-batch-is-let-go-while-its-results-are-written",
        _BATCHING,
        "        await asyncio.wait({task}, timeout=_RENEW_S)\n",
        "        await asyncio.wait({task})\n",
        _OF_ENDS,
        "with slow storage gateways would write the same results in turns for ever",
        quick=False,
    ),
    Named(
        "answers-stay-in-the-index",
        _MOVES,
        "        _forget_texts(connection, row.id)\n",
        "",
        (*_OF_QUEUE, *_OF_ERASING),
        "whoever deletes a batch's files would leave all of it in the database",
        quick=False,
    ),
    Named(
        "deleted-texts-stay-in-free-pages",
        "registry/index/sqlite.py",
        '    connection.execute("PRAGMA secure_delete = ON")\n',
        "",
        _OF_ERASING,
        "an erased text could be read out of the database's file",
        quick=False,
    ),
    Named(
        "tenants-read-what-drivers-say",
        "registry/jobs/shown.py",
        "    return next(_SAID[cls] for cls in type(error).__mro__ if cls in _SAID)\n",
        "    return without_places(message)\n",
        _OF_SHOWN,
        "a tenant would learn the database's host and user from its job's events",
    ),
    Named(
        "places-with-faults-have-no-end",
        "gateway/files/faults.py",
        "        return self._ranges >= MOST_RANGES\n",
        "        return False\n",
        _OF_ROWS,
        "one upload of short lines could take all of the gateway's memory",
        quick=False,
    ),
    Named(
        "announced-uploads-take-no-room",
        "registry/jobs/quota.py",
        " + int(connection.scalar(announced) or 0)",
        "",
        _OF_FILES,
        "a tenant could fill the disk with uploads that it never completes",
        quick=False,
    ),
    Named(
        "writes-have-no-end",
        "gateway/admission/rates.py",
        "        if left < 1.0:\n",
        "        if False:\n",
        _OF_BOUNDS,
        "one client's loop could grow the index by rows that nobody can delete",
    ),
    Named(
        "reads-have-no-end",
        "gateway/http/routes/common.py",
        "        reads.take(tenant.id)\n",
        "        pass\n",
        (f"{_OF_BOUNDS[0]}::test_whoever_reads_too_often_is_told_to_wait_and_may_ask",),
        "one client's loop of listings could take all of the gateway's time, and cost nothing",
        source="known limit of the HTTP API, mended",
        quick=False,
    ),
    Named(
        "a-revoked-key-reads-on",
        "gateway/http/routes/fine_tuning.py",
        " or not _may_read_on(request)",
        "",
        _OF_BOUNDS,
        "whoever had a key once would follow a tenant's jobs for ever",
    ),
    Named(
        "who-is-ended-with-its-worker-was-tried",
        "adapterworks/workers/worker.py",
        "elif child.returncode in _ASKED and",
        "elif not child.returncode and",
        (
            "tests/workers/test_worker.py"
            "::test_what_is_ended_together_with_its_worker_was_not_tried",
        ),
        "five restarts of a worker by systemd would fail the job that it runs",
    ),
)
