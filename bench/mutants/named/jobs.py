"""Files and jobs: whose they are, who runs them, and that each ends once."""

from __future__ import annotations

from bench.mutants.mutant import Named

_QUEUE = "registry/jobs/queue.py"
_MOVES = "registry/jobs/moves.py"
_PUTTING = "registry/jobs/putting.py"
_SHARES = "registry/jobs/shares.py"
_LOOKUP = "registry/jobs/lookup.py"
_FILES = "registry/jobs/files.py"
_QUOTA = "registry/jobs/quota.py"
_UPLOADS = "registry/jobs/uploads.py"
_ROWS = "gateway/files/rows.py"
_LINES = "gateway/files/lines.py"
_RECEIVE = "gateway/files/receive.py"
_GRADERS = "gateway/jobs/graders.py"
_OF_GRADERS = ("tests/gateway/jobs/test_graders.py",)
_OF_JOBS = ("tests/gateway/jobs/test_conformance.py",)
_OF_BATCHES = ("tests/gateway/jobs/test_batches.py",)
_OF_QUEUE = ("tests/registry/jobs/test_queue.py",)
_OF_FILES = ("tests/gateway/files/test_files.py",)
_OF_ROWS = ("tests/gateway/files/test_rows.py",)

NAMED = (
    Named(
        "a-grader-without-its-column-is-no-fault",
        _GRADERS,
        '"invalid_variable_error": found.fault == "column"',
        '"invalid_variable_error": False',
        _OF_GRADERS,
        "a misspelt column would look like a model that is always wrong",
    ),
    Named(
        "any-number-of-graders-wait",
        _GRADERS,
        "if self._waiting >= _MOST_WAITING:",
        "if False:",
        (f"{_OF_GRADERS[0]}::test_a_few_run_at_once_some_wait_and_the_rest_come_again",),
        "one tenant's graders would fill the gateway's memory",
    ),
    Named(
        "a-claim-without-its-holder",
        _QUEUE,
        "            _jobs.c.holder == held.holder,\n",
        "",
        _OF_QUEUE,
        "a worker that was taken for dead could end its successor's attempt",
    ),
    Named(
        "a-claim-without-its-attempt",
        _QUEUE,
        "            _jobs.c.attempt == held.attempt,\n",
        "",
        _OF_QUEUE,
        "a worker that got its job back would publish what its first attempt made",
    ),
    Named(
        "a-lost-job-stays-lost",
        _QUEUE,
        "    _rescue(connection, now)\n",
        "",
        _OF_QUEUE,
        "kill -9 of a worker would lose its job for ever",
    ),
    Named(
        "a-killing-job-is-given-out-for-ever",
        _QUEUE,
        "elif row.lost + 1 >= MOST_LOST + answers:",
        "elif False:",
        _OF_QUEUE,
        "a job that takes all memory would end one worker after the other",
    ),
    Named(
        "tenants-do-not-share",
        _QUEUE,
        ".order_by(_shares.c.served, _jobs.c.tenant,",
        ".order_by(",
        _OF_QUEUE,
        "whoever queues a hundred jobs first would keep everybody waiting",
    ),
    Named(
        "weights-of-jobs-do-not-count",
        _SHARES,
        "_shares.c.served + cost / weight",
        "_shares.c.served + cost",
        _OF_QUEUE,
        "whoever pays for two shares would get one",
    ),
    Named(
        "idling-tenants-earn-credit",
        _SHARES,
        "    elif served < least:\n",
        "    elif False:\n",
        _OF_QUEUE,
        "a tenant that was away could take all workers for days",
    ),
    Named(
        "a-paused-job-earns-credit",
        "registry/jobs/states.py",
        'AT_WORK: tuple[State, ...] = ("queued", "running")',
        'AT_WORK: tuple[State, ...] = ("queued", "running", "paused")',
        _OF_QUEUE,
        "whoever leaves one job paused for a week could take all workers for days",
    ),
    Named(
        "whoever-resumes-does-not-arrive",
        _QUEUE,
        "        shares.arrive(connection, row.tenant)\n",
        "",
        _OF_QUEUE,
        "whoever pauses all of its jobs for a week could take all workers for days",
    ),
    Named(
        "anothers-release-is-continued",
        "gateway/jobs/creating.py",
        "if base is not None or not tenant.owns(ref.name):",
        "if base is not None:",
        (f"{_OF_JOBS[0]}::test_a_model_that_is_no_base_of_ones_own_does_not_exist",),
        "one tenant would get what another's rows have taught",
    ),
    Named(
        "what-is-continued-moves-on",
        "gateway/jobs/creating.py",
        'Start(ref=f"{found.name}@{found.version}", method=method)',
        "Start(ref=str(ref), method=method)",
        (f"{_OF_JOBS[0]}::test_ones_own_release_is_continued_as_it_was_trained",),
        "a job that waits would continue another release than the one that was meant",
    ),
    Named(
        "a-file-without-what-it-belongs-to",
        _FILES,
        "                return then(connection, [file for file, *_ in listed])\n",
        "                pass\n"
        "            with self._database.write() as connection:\n"
        "                return then(connection, [file for file, *_ in listed])\n",
        ("tests/registry/jobs/test_files.py",),
        "a gateway killed at the end of a job would leave a second file of its curve",
    ),
    Named(
        "a-cancel-is-lost-between-lanes",
        _QUEUE,
        "move(connection, row, asked(row), now, result=result, lane=lane, lost=0, tried=0)",
        'move(connection, row, "queued", now, result=result, lane=lane, lost=0, tried=0)',
        _OF_QUEUE,
        "a job cancelled while it was built would be proved and succeed",
    ),
    Named(
        "a-tenant-runs-more-than-it-may",
        _QUEUE,
        "sa.func.coalesce(busy.c.count, 0) < _jobs.c.most_running,",
        "sa.func.coalesce(busy.c.count, 0) <= _jobs.c.most_running,",
        _OF_QUEUE,
        "the quota of running jobs would be one more than it says",
    ),
    Named(
        "whoever-was-taken-for-dead-publishes",
        "registry/lifecycle/publish.py",
        "            act.guard(connection)\n",
        "            pass\n",
        ("tests/registry/lifecycle/test_publish.py",),
        "a job whose worker was cut off for a minute would be published twice",
    ),
    Named(
        "anothers-job-is-found",
        _LOOKUP,
        "if found is None or found.tenant != tenant or found.kind != kind:",
        "if found is None or found.kind != kind:",
        _OF_QUEUE,
        "one tenant could read and cancel another's jobs by their ids",
    ),
    Named(
        "a-star-opens-what-tenants-made",
        "gateway/tenants/tenant.py",
        "        if _OWNED.match(name):\n",
        "        if False:\n",
        _OF_JOBS,
        "whoever may use everything could ask what another tenant has trained on its rows",
    ),
    Named(
        "built-is-said-to-be-proved",
        "gateway/jobs/objects.py",
        'return "running" if job.state == "queued" and "ref" in job.result else "queued"',
        'return "succeeded" if job.state == "queued" and "ref" in job.result else "queued"',
        _OF_JOBS,
        "a client would ask a model that no engine has proved",
    ),
    Named(
        "rows-go-while-a-job-waits",
        _PUTTING,
        'leases.take(connection, "job", blobs, holder=job, seconds=_FILES_S)',
        'leases.take(connection, "job", [], holder=job, seconds=_FILES_S)',
        _OF_JOBS,
        "a gc would take the rows of a queued job whose owner tidied up",
    ),
    Named(
        "rows-stay-after-their-job",
        _MOVES,
        "        _let_go(connection, row.id)\n",
        "",
        _OF_JOBS,
        "what a tenant has deleted would stay for ten years",
    ),
    Named(
        "rows-of-another-kind-are-trained-on",
        "gateway/jobs/creating.py",
        "    if found.kind not in METHODS[method].kinds:\n",
        "    if False:\n",
        _OF_JOBS,
        "a job would fail hours later, in the build, for what was known when it was created",
    ),
    Named(
        "answered-lines-are-asked-again",
        "gateway/jobs/batching.py",
        "for number, row in _rows(gateway, job) if number not in known)",
        "for number, row in _rows(gateway, job))",
        _OF_BATCHES,
        "a restart of the gateway would begin every batch anew",
    ),
    Named(
        "a-lines-name-is-new-each-time",
        "gateway/jobs/asking.py",
        'receipt = Receipt(request_id=f"{job}-{number}")',
        "receipt = Receipt()",
        _OF_BATCHES,
        "a line that was answered when the gateway was killed would be paid twice",
    ),
    Named(
        "refused-lines-are-results",
        "gateway/jobs/asking.py",
        "        status != 200,\n",
        "        False,\n",
        _OF_BATCHES,
        "a program would take a refusal for an answer",
    ),
    Named(
        "anothers-file-is-found",
        _QUOTA,
        "        _files.c.tenant == tenant,\n        _files.c.deleted.is_(None),\n",
        "        _files.c.deleted.is_(None),\n",
        _OF_FILES,
        "one tenant could read another's training rows",
    ),
    Named(
        "an-expired-file-is-read",
        _QUOTA,
        "        sa.or_(_files.c.expires.is_(None), _files.c.expires > now),\n",
        "",
        _OF_FILES,
        "rows would be readable after the day their owner set",
    ),
    Named(
        "a-files-bytes-are-not-held",
        "registry/lifecycle/holding.py",
        "lease = leases.take(connection, kind, sources, holder=holder, seconds=seconds)",
        "lease = leases.take(connection, kind, [], holder=holder, seconds=seconds)",
        _OF_FILES,
        "a gc would take the bytes of files that are listed",
    ),
    Named(
        "deleted-bytes-stay",
        _FILES,
        "            leases.end(connection, row.lease)\n",
        "",
        _OF_FILES,
        "what a tenant deletes would stay on disk for a hundred years",
    ),
    Named(
        "the-quota-is-each-files-own",
        _QUOTA,
        "if quota is not None and taken + size > quota:",
        "if quota is not None and size > quota:",
        _OF_FILES,
        "a tenant could fill the disk with files that are small one by one",
    ),
    Named(
        "parts-go-together-as-they-came",
        _UPLOADS,
        "        rows = [known[part] for part in wanted]\n",
        "        rows = list(known.values())\n",
        _OF_FILES,
        "a file sent over several connections would have its parts in the wrong order",
    ),
    Named(
        "only-the-first-fault-is-said",
        _ROWS,
        "        for problem in problems:\n            wrong = True\n",
        "        for problem in problems:\n            if self._faults.lines:\n"
        "                break\n            wrong = True\n",
        _OF_ROWS,
        "a broken file would have to be sent as often as it has broken lines",
    ),
    Named(
        "kinds-of-rows-mix",
        _ROWS,
        "        elif kind != self._kind:\n",
        "        elif False:\n",
        _OF_ROWS,
        "a file with preferences between its conversations would fail hours later, in the build",
    ),
    Named(
        "a-long-line-is-kept",
        _LINES,
        "            if len(self._rest) > self._longest:\n",
        "            if False:\n",
        _OF_ROWS,
        "one line without an end would take all of the gateway's memory",
    ),
    Named(
        "a-line-in-two-pieces-is-two",
        _LINES,
        "                self._rest += data[begin:end]\n"
        "                yield self.number, bytes(self._rest)\n",
        "                yield self.number, data[begin:end]\n",
        _OF_ROWS,
        "good files would be refused depending on how the network cut them",
    ),
    Named(
        "a-file-above-its-bound-is-kept",
        _RECEIVE,
        "        if self._got.size > self._most:\n            raise self._too_large\n",
        "",
        _OF_FILES,
        "the disk could be filled by one request that announces no length",
    ),
)
