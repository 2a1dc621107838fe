"""What runs in the background: started again, and seen when it stays down."""

from __future__ import annotations

from bench.mutants.mutant import Named

_SUPERVISOR = "gateway/supervision/supervisor.py"
_TESTS = "tests/gateway/supervision/test_supervisor.py"

NAMED = (
    Named(
        "a-task-that-fails-is-over",
        _SUPERVISOR,
        "                        await asyncio.sleep(pause)\n",
        "                        return\n",
        (f"{_TESTS}::test_whatever_a_task_raises_it_is_logged_counted_and_called_again",),
        "one error that nobody thought of, and aliases never move again",
    ),
    Named(
        "a-thread-that-exits-is-over",
        _SUPERVISOR,
        "except BaseException as error:  # SystemExit",
        "except Exception as error:  # SystemExit",
        (f"{_TESTS}::test_a_thread_is_called_again_too_until_it_is_told_to_end",),
        "usage would stay in the spool, and budgets never be reached",
    ),
    Named(
        "a-worker-that-fails-is-never-down",
        _SUPERVISOR,
        "if self.failing_for() > DOWN_SECONDS:",
        "if False:",
        (f"{_TESTS}::test_a_worker_that_does_not_recover_is_down_and_at_last_hopeless",),
        "a gateway would say that it is ready while a part of it fails",
    ),
    Named(
        "a-worker-that-does-nothing-is-never-down",
        _SUPERVISOR,
        "if self.patience is not None and silent > self.patience:",
        "if False:",
        (f"{_TESTS}::test_a_worker_that_gets_nothing_done_is_down_though_it_raises_nothing",),
        "an index that is away for an hour would not be seen from outside",
    ),
    Named(
        "who-recovered-stays-down",
        _SUPERVISOR,
        "        self.failed = None\n        self.pause = PAUSE_SECONDS\n",
        "        self.pause = PAUSE_SECONDS\n",
        (f"{_TESTS}::test_a_worker_that_does_not_recover_is_down_and_at_last_hopeless",),
        "one outage would take a gateway out of rotation for good",
    ),
    Named(
        "the-pause-does-not-grow",
        _SUPERVISOR,
        "min(2 * self.pause, LONGEST_SECONDS)",
        "PAUSE_SECONDS",
        (f"{_TESTS}::test_the_pause_grows_to_its_most_and_begins_anew_after_a_success",),
        "a worker that fails at once would fill the log",
    ),
    Named(
        "what-is-done-once-fails-unseen",
        _SUPERVISOR,
        "        task.add_done_callback(ended)\n",
        "",
        (f"{_TESTS}::test_what_is_done_once_is_kept_and_its_failure_is_seen",),
        "loads in the background would end without a word",
    ),
    Named(
        "a-cancellation-of-something-else-ends-a-task",
        _SUPERVISOR,
        "task is not None and task.cancelling() > 0",
        "task is not None",
        (f"{_TESTS}::test_a_task_is_called_again_when_what_it_waited_for_was_cancelled",),
        "what proves jobs would be gone until a restart, and `/ready` would not say so",
    ),
)
