"""A configuration that is read again: what must not be taken, and what must."""

from __future__ import annotations

from bench.mutants.mutant import Named

_TAKE, _RELOADING = "gateway/config/reload.py", "gateway/http/reloading.py"
_OF_TAKE = "tests/gateway/config/test_reload.py"
_OF_RUNNING = "tests/gateway/http/test_reloading.py"

NAMED: tuple[Named, ...] = (
    Named(
        "what-was-taken-is-said-to-be-as-it-was",
        _RELOADING,
        '            what = "the configuration was taken, but webhooks are not sent by it yet"\n',
        '            what = "the configuration is as it was"\n',
        (f"{_OF_RUNNING}::test_what_was_taken_before_the_webhooks_failed_is_said",),
        "whoever reads the log would take new limits for the old ones",
        source="reading of the request path, finding 17",
    ),
    Named(
        "what-needs-a-restart-is-taken",
        _TAKE,
        "            left.append(name)\n            continue",
        "            taken[name] = after\n            continue",
        (f"{_OF_TAKE}::test_a_fault_of_security_is_never_taken_by_the_way",),
        "proofs would be off, or anybody let in, by a file that changed",
    ),
    Named(
        "the-rest-of-a-table-is-taken-too",
        _TAKE,
        "update={key: getattr(after, key) for key in may}",
        "update={key: getattr(after, key) for key in keys}",
        (f"{_OF_TAKE}::test_of_a_table_that_needs_a_restart_what_does_not_is_taken",),
        "the gateway would count with places that its engine has not",
    ),
    Named(
        "limits-stay-what-they-were",
        "gateway/gateway.py",
        "        self.limiter.defaults = found.config.limits.tenant_limits()",
        "        self.limiter.defaults = self.limiter.defaults",
        (f"{_OF_RUNNING}::test_limits_and_pins_change_under_way",),
        "it would say that limits changed, and go on with the old ones",
        quick=False,
    ),
    Named(
        "pins-are-not-read-again",
        "gateway/gateway.py",
        "            self._pins.name(found.config.residency.pins)",
        "            pass",
        (f"{_OF_RUNNING}::test_limits_and_pins_change_under_way",),
        "what is pinned would be what was pinned",
        quick=False,
    ),
    Named(
        "a-file-that-cannot-be-read-ends-the-worker",
        "gateway/config/load.py",
        "    except OSError as error:\n",
        "    except NotADirectoryError as error:\n",
        (f"{_OF_RUNNING}::test_a_file_that_cannot_be_read_changes_nothing",),
        "a file that only root may read would make every gateway unready at once",
    ),
    Named(
        "a-watched-file-is-not-looked-at",
        _RELOADING,
        "                    self._seen = now\n",
        "                    self._seen = now\n                    continue\n",
        (f"{_OF_RUNNING}::test_a_file_that_changed_is_taken_and_one_with_a_fault_is_not[watched]",),
        "`--reload` would do nothing",
        quick=False,
    ),
)
