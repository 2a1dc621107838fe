"""Builds elsewhere: what goes along, what is kept, what a place is asked, what it may read."""

from __future__ import annotations

from bench.mutants.mutant import Named

_BUNDLE = "adapterworks/workers/bundle.py"
_CARRYING = "adapterworks/workers/carrying.py"
_OF_CARRYING = "tests/workers/test_carrying.py"
_OF_KUBERNETES = "tests/workers/executors/test_kubernetes.py"
_OF_RESOURCES = "tests/builders/plan/test_resources.py"

NAMED = (
    Named(
        "a-path-leads-out-of-the-folder",
        _BUNDLE,
        'if not parts or name.startswith("/") or ".." in parts:',
        'if not parts or name.startswith("/"):',
        (f"{_OF_CARRYING}::test_a_packed_path_leads_nowhere_else",),
        "whoever can queue a job could write anywhere on a worker",
    ),
    Named(
        "an-older-checkpoint-replaces-a-newer-one",
        _CARRYING,
        "        if (folder / _RECORD).is_file() and _step(folder) >= step:\n            return\n",
        "",
        (f"{_OF_CARRYING}::test_another_node_goes_on_where_the_first_one_was",),
        "a worker that comes back to its own node would lose what it did since",
    ),
    Named(
        "gc-takes-a-checkpoint-that-a-job-names",
        _CARRYING,
        "putting.hold_files(connection, self._claim.job, (record, *files.values()))",
        "putting.hold_files(connection, self._claim.job, ())",
        (f"{_OF_CARRYING}::test_gc_leaves_what_a_build_elsewhere_needs_until_it_has_ended",),
        "a node that dies after an hour would be nobody's resume",
    ),
    Named(
        "a-checkpoint-of-another-stage-is-taken",
        _CARRYING,
        'self._kept is None or self._kept["folder"] != folder.name',
        "self._kept is None",
        (f"{_OF_CARRYING}::test_another_node_goes_on_where_the_first_one_was",),
        "the second stage of a chain would go on with the first one's weights",
    ),
    Named(
        "best-weights-stay-behind",
        _CARRYING,
        '(*checkpoints.glob("step-*/*"), *checkpoints.glob("best-*/*"))',
        'checkpoints.glob("step-*/*")',
        (f"{_OF_CARRYING}::test_another_node_goes_on_where_the_first_one_was",),
        "a resumed training would end without the best step's weights",
    ),
    Named(
        "the-databases-password-is-in-the-job",
        "adapterworks/workers/elsewhere.py",
        "if not _has_a_password(settings.database):",
        "if True:",
        (f"{_OF_KUBERNETES}::test_nothing_secret_is_in_a_job",),
        "whoever may read Jobs could write to the index",
    ),
    Named(
        "a-drained-node-is-a-failure",
        "adapterworks/workers/executors/kubernetes_objects.py",
        '{"type": "DisruptionTarget", "status": "True"}',
        '{"type": "DisruptionTarget"}',
        (f"{_OF_KUBERNETES}::test_a_job_is_of_kubernetes_schema_and_the_worker_of_the_base",),
        "older clusters would refuse every Job",
    ),
    Named(
        "too-little-memory-is-asked-for",
        "builders/plan/resources.py",
        "if said is not None and said < least:",
        "if False:",
        (f"{_OF_RESOURCES}::test_what_contradicts_the_plan_is_refused",),
        "a build would be killed hours after it was queued",
    ),
    Named(
        "one-process-is-paid-for",
        "builders/plan/resources.py",
        "return round(total * said.processes * _RESERVE) + _BESIDE",
        "return round(total * _RESERVE) + _BESIDE",
        (f"{_OF_RESOURCES}::test_what_is_not_said_is_the_plans",),
        "of two processes on a CPU one would be killed",
    ),
)
