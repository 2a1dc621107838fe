"""Webhooks: what is told twice, never, to whom nobody named, or unsigned."""

from __future__ import annotations

from bench.mutants.mutant import Named

_WEBHOOKS = "gateway/webhooks"
_TESTS = "tests/gateway/webhooks"
_OUTBOX, _SENDING = f"{_TESTS}/test_outbox.py", f"{_TESTS}/test_sending.py"
_WHOLE = f"{_TESTS}/test_whole.py"

NAMED: tuple[Named, ...] = (
    Named(
        "a-new-address-is-told-the-past",
        f"{_WEBHOOKS}/outbox.py",
        '        row = {"name": name, "jobs_from": now, "log_from": newest}',
        '        row = {"name": name, "jobs_from": 0.0, "log_from": 0}',
        (f"{_OUTBOX}::test_an_address_is_told_from_when_it_is_first_seen[sqlite]",),
        "years of history would arrive in a chat",
    ),
    Named(
        "jobs-end-before-they-are-looked-for",
        f"{_WEBHOOKS}/outbox.py",
        "jobs_from = min(row.jobs_from, now)",
        "jobs_from = row.jobs_from",
        (f"{_OUTBOX}::test_a_clock_that_is_set_back_delays_and_forgets_nothing[sqlite]",),
        "of the jobs that end in the hour by which the clock was set back nobody would be told",
        source="reading for clocks that are set back",
    ),
    Named(
        "a-delivery-is-everybodys",
        f"{_WEBHOOKS}/outbox.py",
        "                _set(connection, one, due=now + TAKEN_S)",
        "                _set(connection, one, due=now)",
        (f"{_OUTBOX}::test_what_was_taken_and_not_finished_is_due_again[sqlite]",),
        "each gateway would send every event",
    ),
    Named(
        "the-last-attempt-is-not-the-last",
        f"{_WEBHOOKS}/outbox.py",
        "        again = not for_good and delivery.tried < len(PAUSES_S)",
        "        again = not for_good and delivery.tried < len(PAUSES_S) - 1",
        (f"{_OUTBOX}::test_it_is_tried_after_ever_longer_pauses_and_then_given_up[sqlite]",),
        "it would be given up ten hours early",
    ),
    Named(
        "gone-is-asked-again",
        f"{_WEBHOOKS}/sending.py",
        "for_good=code == 410",
        "for_good=code == 404",
        (f"{_SENDING}::test_an_address_that_is_gone_is_given_up",),
        "whoever said that it is gone would be asked for 28 hours",
    ),
    Named(
        "a-redirect-is-followed",
        f"{_WEBHOOKS}/sending.py",
        "allow_redirects=False",
        "allow_redirects=True",
        (f"{_SENDING}::test_what_is_not_taken_is_sent_again_with_its_id",),
        "what happened would be told to whom nobody named",
    ),
    Named(
        "the-time-is-not-signed",
        f"{_WEBHOOKS}/signing.py",
        "[event.encode(), str(at).encode(), body]",
        "[event.encode(), body]",
        (f"{_SENDING}::test_openais_client_takes_what_is_sent",),
        "no receiver would take it, and an old one could be sent again by anybody",
    ),
    Named(
        "the-command-lines-builds-are-told",
        f"{_WEBHOOKS}/events.py",
        "jobs.c.kind.in_((FINE_TUNING, BATCH))",
        "jobs.c.kind != BATCH",
        (f"{_OUTBOX}::test_how_jobs_end_in_openais_words[sqlite]",),
        "batches would not be told, and builds of a shell would be as jobs of nobody",
    ),
    Named(
        "failed-gates-are-passed-ones",
        f"{_WEBHOOKS}/events.py",
        "if not passed]",
        "if passed]",
        (f"{_OUTBOX}::test_a_failed_gate_is_told_beside_its_release[sqlite]",),
        "the wrong gates would be named",
    ),
    Named(
        "old-jobs-are-told-again",
        f"{_WEBHOOKS}/outbox.py",
        "or now - jobs_from > _LATE_S + _SWEEP_S",
        "or now < row.jobs_from",
        (f"{_OUTBOX}::test_old_deliveries_go_and_are_not_made_again[sqlite]",),
        "a job would be told again each month",
    ),
    Named(
        "plain-http-leaves-the-machine",
        "gateway/config/webhooks.py",
        '        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):',
        "        if False:",
        (f"{_WHOLE}::test_what_is_wrong_in_the_table_is_said",),
        "names and reasons would go over the network in the clear",
    ),
)
