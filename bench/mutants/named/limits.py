"""Limits, fairness and metering: who must wait, whose turn it is, and what it cost."""

from __future__ import annotations

from bench.mutants.mutant import Named

_FAIRNESS = "gateway/admission/fairness.py"
_LEASE = "gateway/admission/lease.py"
_LEDGER = "gateway/admission/ledger.py"
_LIMITER = "gateway/admission/limiter.py"
_PERMIT = "gateway/admission/permit.py"
_MONTH = "gateway/admission/month.py"
_SHARED = "gateway/admission/shared.py"
_METER = "gateway/metering/meter.py"
_SPOOL = "gateway/metering/spool.py"
_USAGE = "gateway/metering/usage.py"
_EVENT = "gateway/metering/event.py"
_TESTS = "tests/gateway/admission"
_READING = "gateway/admission/reading.py"
_OF_READING = f"{_TESTS}/test_reading.py"
_OF_FAIRNESS = f"{_TESTS}/test_fairness.py"
_OF_LEASE = f"{_TESTS}/test_lease.py"
_OF_LEDGER = f"{_TESTS}/test_ledger.py"
_OF_LIMITER = f"{_TESTS}/test_limiter.py"
_OF_METERING = "tests/gateway/metering/test_metering.py"
_OF_SUMS = "tests/gateway/metering/test_sums.py"

_FAIRNESS_NAMED = (
    Named(
        "a-turn-costs-nothing",
        _FAIRNESS,
        "        counter = tenant.counter + tokens / tenant.weight\n",
        "        counter = tenant.counter\n",
        (f"{_OF_FAIRNESS}::test_the_smallest_counter_is_next_tokens_by_weight",),
        "the tenant with the largest requests would get most of the engine",
    ),
    Named(
        "weights-do-not-count",
        _FAIRNESS,
        "        counter = tenant.counter + tokens / tenant.weight\n",
        "        counter = tenant.counter + tokens\n",
        (f"{_OF_FAIRNESS}::test_the_smallest_counter_is_next_tokens_by_weight",),
        "whoever pays for three shares would get one",
    ),
    Named(
        "idling-earns-credit",
        _FAIRNESS,
        "tenant.counter = max(tenant.counter, min(at_work, default=self._last_counter))",
        "pass",
        (f"{_OF_FAIRNESS}::test_idling_earns_no_credit",),
        "a tenant that was away for a week could take the engine for a day",
    ),
    Named(
        "a-newcomer-is-behind-everybody",
        _FAIRNESS,
        "min(at_work, default=self._last_counter)",
        "max(at_work, default=self._last_counter)",
        (_OF_FAIRNESS,),
        "a quiet tenant would wait behind whoever floods most",
    ),
    Named(
        "an-idle-queue-forgets-who-was-served",
        _FAIRNESS,
        "default=self._last_counter)",
        "default=0.0)",
        (f"{_OF_FAIRNESS}::test_whoever_comes_to_an_idle_queue_starts_where_it_was_left",),
        "whoever comes first to an idle queue would be owed all that others had",
    ),
    Named(
        "an-estimate-is-never-corrected",
        _FAIRNESS,
        "self._queue.charge(self._tenant_id, tokens - self._charged)",
        "self._queue.charge(self._tenant_id, 0)",
        (f"{_OF_FAIRNESS}::test_a_charge_moves_the_counter_and_is_settled_once",),
        "who asks for few tokens and takes many would be ahead for ever",
    ),
    Named(
        "a-turn-is-settled-twice",
        _FAIRNESS,
        "            self._charged = None\n",
        "            self._charged = 0\n",
        (f"{_OF_FAIRNESS}::test_a_charge_moves_the_counter_and_is_settled_once",),
        "the second settlement would take back the first",
    ),
    Named(
        "a-place-is-lost-when-a-request-fails",
        _FAIRNESS,
        (
            "        finally:\n"
            "            if gate is not None:\n"
            "                gate.give_back()\n"
            "            self._leave(tenant, slots)"
        ),
        (
            "        except BaseException:\n"
            "            raise\n"
            "        else:\n"
            "            self._leave(tenant, slots)"
        ),
        (f"{_OF_FAIRNESS}::test_whatever_is_cancelled_no_slot_is_lost",),
        "as many failures as there are slots, and every tenant gets 503 until a restart",
        source="gateway.md C1",
    ),
    Named(
        "a-turn-given-in-the-moment-of-leaving-is-lost",
        _FAIRNESS,
        (
            "                if gate is not None:\n"
            "                    gate.give_back()\n"
            "                self._leave(tenant, waiter.slots)"
        ),
        ("                if gate is not None:\n                    gate.give_back()\n"),
        (
            f"{_OF_FAIRNESS}::test_a_waiter_cancelled_in_the_moment_of_its_turn_passes_it_on",
            f"{_OF_FAIRNESS}::test_whatever_is_cancelled_no_slot_is_lost",
        ),
        "clients that leave at the wrong moment would use up the engine's slots",
    ),
    Named(
        "a-flood-fills-the-queue",
        _FAIRNESS,
        "        if (len(newcomer.waiting) + 1) / newcomer.weight > "
        "len(longest.waiting) / longest.weight:",
        "        if True:",
        (f"{_OF_FAIRNESS}::test_a_flood_cannot_fill_the_queue_for_others",),
        "one tenant's backlog would refuse every other tenant",
    ),
    Named(
        "the-oldest-waiter-makes-room",
        _FAIRNESS,
        "        waiter = longest.waiting.pop()",
        "        waiter = longest.waiting.popleft()",
        (f"{_OF_FAIRNESS}::test_a_flood_cannot_fill_the_queue_for_others",),
        "who has waited longest would be refused",
    ),
    Named(
        "a-free-slot-is-kept-back",
        _FAIRNESS,
        "if self.running + waiter.slots > self.slots:",
        "if self.running + waiter.slots >= self.slots:",
        (f"{_OF_FAIRNESS}::test_the_smallest_counter_is_next_tokens_by_weight",),
        "somebody would wait while a slot is free, here for ever",
    ),
    Named(
        "an-arrival-looks-at-all-there-ever-were",
        _FAIRNESS,
        "gone = [id for id, one in self._here.items() if not one.running and not one.waiting]",
        "gone: list[str] = []",
        (f"{_OF_FAIRNESS}::test_tenants_that_were_here_once_are_not_looked_at_again",),
        "every request would cost as much as there are tenants, for as long as the process lives",
    ),
)

_SHARED_ENGINE_NAMED = (
    Named(
        "every-gateway-takes-the-whole-engine",
        _FAIRNESS,
        "slots = max(1, -(-self.whole // among))",
        "slots = self.whole",
        (
            f"{_OF_FAIRNESS}::test_gateways_divide_an_engine_and_each_has_a_place",
            f"{_OF_FAIRNESS}::test_who_waits_for_more_than_is_left_gets_all_that_is_left",
        ),
        "ten gateways would give out an engine's turns ten times, and none would be fair",
        source="gateway.md, 10 gateways, 5",
    ),
    Named(
        "who-waits-for-the-whole-engine-waits-for-ever",
        _FAIRNESS,
        "waiter.slots = min(waiter.slots, slots)",
        "pass",
        (f"{_OF_FAIRNESS}::test_who_waits_for_more_than_is_left_gets_all_that_is_left",),
        "a second gateway that starts would shut a queue for good",
    ),
    Named(
        "what-others-served-is-said-again",
        _FAIRNESS,
        "                tenant.counter += count / tenant.weight\n",
        "                self.charge(tenant_id, count)\n",
        (f"{_OF_FAIRNESS}::test_what_others_served_counts_and_is_not_passed_on",),
        "two gateways would raise each other's counters without end",
    ),
    Named(
        "a-wish-is-remembered",
        _FAIRNESS,
        "        expected_tokens = min(expected_tokens, _MOST)\n",
        "",
        (f"{_OF_FAIRNESS}::test_what_a_request_wishes_for_changes_nothing_once_it_is_settled",),
        "one request for 1e30 tokens would wipe a tenant's counter out",
        source="gateway.md H1",
    ),
    Named(
        "a-reading-that-breaks-is-not-seen",
        _MONTH,
        "expected=(Unavailable,)",
        "expected=(Exception,)",
        (f"{_OF_LEASE}::test_a_reading_that_fails_as_nobody_expects_is_seen",),
        "budgets would go by an old total, and nobody would know",
    ),
)

_LIMITS_NAMED = (
    Named(
        "a-clock-that-is-set-back-is-not-seen",
        _LEDGER,
        "sa.update(buckets).values(full_at=buckets.c.full_at - back)",
        "sa.select(buckets.c.full_at)",
        (f"{_OF_LEDGER}::test_a_clock_that_is_set_back_takes_what_was_timed_by_it_along",),
        "every tenant with a limit would be refused for as long as the clock went back",
        source="reading of the request path, finding 10",
    ),
    Named(
        "slots-of-the-dead-are-kept-while-the-clock-catches-up",
        _LEDGER,
        "sa.update(slots).values(expires=slots.c.expires - back)",
        "sa.select(slots.c.expires)",
        (f"{_OF_LEDGER}::test_a_clock_that_is_set_back_takes_what_was_timed_by_it_along",),
        "a tenant would have no concurrency for an hour",
        source="reading of the request path, finding 10",
    ),
    Named(
        "large-bodies-are-parsed-in-the-loop",
        _READING,
        "        if size <= SMALL:\n",
        "        if True:\n",
        (f"{_OF_READING}::test_small_bodies_are_parsed_at_once_and_large_ones_beside_the_loop",),
        "no stream would move while somebody's four megabytes are parsed",
        source="reading of the request path, finding 6",
    ),
    Named(
        "whoever-floods-has-the-thread-to-itself",
        _READING,
        "        turn.after = ended + (ended - began)\n",
        "        pass\n",
        (
            f"{_OF_READING}::test_a_tenants_large_bodies_have_one_turn_and_leave_as_much_time_to_others",
        ),
        "one tenant's bodies would take all of a core that the streams need too",
    ),
    Named(
        "a-bucket-never-refills",
        _LEDGER,
        "full_at = max(full_at, now) + draw.debt * seconds",
        "full_at = max(full_at, now + 60.0 * (full_at > 0)) + draw.debt * seconds",
        (f"{_OF_LEDGER}::test_a_bucket_refills_by_its_rate",),
        "a tenant that reached its limit once would be out for good",
    ),
    Named(
        "a-bucket-saves-up",
        _LEDGER,
        "full_at = max(full_at, now) + draw.debt * seconds",
        "full_at = full_at + draw.debt * seconds",
        (_OF_LEDGER,),
        "an idle night would allow a flood in the morning",
    ),
    Named(
        "debt-is-forgiven",
        _LEDGER,
        "+ draw.debt * seconds",
        "+ min(draw.debt, 0) * seconds",
        (f"{_OF_LEDGER}::test_debt_is_paid_before_anything_is_given",),
        "who asks for ten tokens and takes ten thousand would pay for ten",
    ),
    Named(
        "more-is-given-than-there-is",
        _LEDGER,
        "granted = min(draw.want, int(left + 1e-6))",
        "granted = draw.want",
        (f"{_OF_LEDGER}::test_less_than_wanted_is_given_but_not_less_than_needed",),
        "several gateways together would exceed every limit",
    ),
    Named(
        "less-is-given-than-is-needed",
        _LEDGER,
        "        if granted < draw.need:\n            granted = 0\n        full_at",
        "        full_at",
        (f"{_OF_LEDGER}::test_a_bucket_refills_by_its_rate",),
        "a refused request would use up what smaller ones could have had",
    ),
    Named(
        "others-slots-are-not-counted",
        _LEDGER,
        "free = max(0, hold.limit - int(others or 0) - hold.used)",
        "free = max(0, hold.limit - hold.used)",
        (f"{_OF_LEDGER}::test_slots_are_held_renewed_and_free_when_their_gateway_is_dead",),
        "two gateways would let in twice the concurrency",
    ),
    Named(
        "the-dead-keep-their-slots",
        _LEDGER,
        "sa.delete(slots).where(theirs, slots.c.expires <= now)",
        "sa.delete(slots).where(theirs, slots.c.expires <= 0)",
        (f"{_OF_LEDGER}::test_slots_are_held_renewed_and_free_when_their_gateway_is_dead",),
        "a gateway that crashed would lower its tenants' concurrency for ever",
    ),
    Named(
        "slots-are-not-renewed",
        _LEDGER,
        "held=hold.used + granted, expires=expires",
        "held=hold.used + granted, expires=now",
        (f"{_OF_LEDGER}::test_slots_are_held_renewed_and_free_when_their_gateway_is_dead",),
        "the slots of a living gateway would be given away",
    ),
    Named(
        "a-lost-draw-forgives-the-debt",
        _LEASE,
        "            self.give(-debt)\n            raise",
        "            raise",
        (f"{_OF_LEASE}::test_debt_is_told_with_the_next_draw_and_not_lost_when_that_fails",),
        "an index that is away for a moment would make tokens free",
    ),
    Named(
        "what-is-leased-is-never-given-back",
        _LEASE,
        "await self._apply(debt, need=0, want=0)",
        "pass",
        (f"{_OF_LEASE}::test_what_is_not_used_is_given_back",),
        "every gateway would keep a twentieth of each limit to itself",
    ),
    Named(
        "every-request-asks-the-index",
        _LEASE,
        "math.ceil(self.per_minute * LEASE_SHARE)",
        "0",
        (f"{_OF_LEASE}::test_a_twentieth_of_the_minute_is_taken_at_once",),
        "the index's one write lock would be taken for every request",
    ),
    Named(
        "a-refused-tenant-may-hammer-the-index",
        _LEASE,
        "            if now < self._refused_until and need >= self._refused_need:",
        "            if False:",
        (f"{_OF_LEASE}::test_a_refusal_is_remembered_for_as_long_as_it_lasts",),
        "one tenant in a loop would take the write lock from all",
    ),
    Named(
        "a-slot-is-used-beyond-the-limit",
        _LEASE,
        "if self.used + count > min(self.held, self.limit):",
        "if self.used + count > self.held:",
        (f"{_OF_LEASE}::test_a_limit_that_is_lowered_counts_at_once",),
        "a limit that is lowered in an emergency would not count",
    ),
    Named(
        "an-estimate-is-not-given-back",
        _PERMIT,
        "            self.state.tokens.give(self.estimated - tokens)",
        "            self.state.tokens.give(0)",
        (f"{_OF_LIMITER}::test_tokens_are_corrected_to_what_the_engine_counted[sqlite]",),
        "max_tokens would be charged, not what was answered",
    ),
    Named(
        "a-permit-is-released-twice",
        _PERMIT,
        "        self._released = True\n        if not self._settled:",
        "        if not self._settled:",
        (f"{_OF_LIMITER}::test_concurrency_is_exact_and_a_released_slot_is_used_again[sqlite]",),
        "each request would free two places",
    ),
    Named(
        "a-refused-request-keeps-its-slot",
        _LIMITER,
        ("        except BaseException as error:\n            permit.release()\n"),
        "        except BaseException as error:\n",
        (f"{_OF_LIMITER}::test_a_refused_request_takes_nothing[sqlite]",),
        "refusals would use up the tenant's concurrency",
    ),
    Named(
        "a-refusal-counts-as-a-request",
        _PERMIT,
        "        if self.took_request and not self.admitted:\n"
        "            self.state.requests.give(self.sequences)",
        "        pass",
        (f"{_OF_LIMITER}::test_a_refused_request_takes_nothing[sqlite]",),
        "a client that asks for too many tokens would be out of requests as well",
    ),
    Named(
        "a-month-has-no-requests-in-flight",
        _MONTH,
        "        self._in_flight += taken\n",
        "",
        (f"{_OF_LEASE}::test_a_budget_is_spent_reserved_and_settled",),
        "as many requests as fit at once could each take the whole budget",
    ),
    Named(
        "an-unbounded-answer-wants-more-than-is-left",
        _MONTH,
        "        taken = max(least, min(estimated, left))\n",
        "        taken = estimated\n",
        (f"{_OF_LEASE}::test_an_answer_without_a_bound_reserves_what_is_left",),
        "a budget smaller than the engine's context would do for one chat a month",
    ),
    Named(
        "requests-in-flight-use-the-month-up",
        _MONTH,
        "        return least > budget - self._total\n",
        "        return True\n",
        (
            f"{_OF_LEASE}::test_an_answer_without_a_bound_reserves_what_is_left",
            f"{_OF_LIMITER}::test_the_monthly_budget_counts_what_metering_counted[sqlite]",
        ),
        "a second's congestion would end batch lines for good, and tell clients to wait for weeks",
    ),
    Named(
        "a-budget-has-no-end-while-the-meter-cannot-write",
        "gateway/admission/month.py",
        "min(asked - LAG_SECONDS, self._counted() - _DURABLE_S)",
        "asked - LAG_SECONDS",
        (f"{_OF_LEASE}::test_tokens_count_for_as_long_as_the_meter_cannot_write",),
        "a table that cannot be written would give every tenant as much as it wants",
        source="reading of the gateway as a hostile client",
    ),
    Named(
        "a-meter-that-cannot-write-says-that-it-has",
        "gateway/metering/meter.py",
        "                self._drain_segments(final=last)\n                self.counted = began\n",
        "                self.counted = began\n                self._drain_segments(final=last)\n",
        ("tests/gateway/metering/test_metering.py::test_what_is_counted_is_in_the_index",),
        "a month's budget would forget what no total has",
        source="reading of the gateway as a hostile client",
        quick=False,
    ),
    Named(
        "a-settled-request-is-forgotten",
        _MONTH,
        "            self._settled_sum += tokens\n",
        "",
        (f"{_OF_LEASE}::test_a_budget_is_spent_reserved_and_settled",),
        "what was used in the last seconds would be free",
    ),
    Named(
        "last-months-total-counts-on",
        _MONTH,
        "            if age > STALE_SECONDS or self._month != _this_month():",
        "            if age > STALE_SECONDS:",
        (f"{_OF_LEASE}::test_a_new_month_begins_at_once",),
        "on the first of the month the budget would still be used up",
    ),
    Named(
        "a-failed-batch-stops-the-ledger",
        _SHARED,
        '                    self._supervisor.saw("limits ledger", error)\n',
        "                    pass\n                return\n",
        (f"{_TESTS}/test_shared.py",),
        "operations that queued up meanwhile would wait for ever",
    ),
    Named(
        "grants-are-handed-out-in-reverse",
        _SHARED,
        "zip(batch, grants, strict=True)",
        "zip(batch, reversed(grants), strict=True)",
        (f"{_TESTS}/test_shared.py",),
        "one tenant would get what another one was granted",
    ),
    Named(
        "whoever-was-here-once-is-work-for-ever",
        _LIMITER,
        "for lease in leases if lease.owes and lease.idle(now)]",
        "for lease in leases if lease.idle(now)]",
        (f"{_OF_LIMITER}::test_tenants_that_were_here_once_are_no_work",),
        "a thousand tenants would cost two thousand tasks a second, for good",
    ),
    Named(
        "a-request-under-way-is-forgotten",
        _PERMIT,
        "return not (self.open or held) and",
        "return not held and",
        (f"{_OF_LIMITER}::test_a_long_request_keeps_what_it_took",),
        "what it gives back at its end would be given to nobody, and its excess never charged",
    ),
)

_METERING_NAMED = (
    Named(
        "an-event-is-counted-each-time-it-comes",
        _USAGE,
        "        for request_id in new:",
        "        for request_id in unique:",
        (f"{_OF_METERING}::test_an_event_is_counted_once_however_often_it_comes[sqlite]",),
        "a spool that is drained twice would bill twice",
    ),
    Named(
        "failures-are-requests-that-went-well",
        _USAGE,
        "event.status >= 400",
        "event.status > 500",
        (f"{_OF_SUMS}::test_each_sum_is_the_sum_of_its_events",),
        "an outage would not show in any report",
    ),
    Named(
        "sums-are-replaced-not-raised",
        _USAGE,
        "usage_days.c[name] + add.excluded[name]",
        "add.excluded[name]",
        (f"{_OF_SUMS}::test_each_sum_is_the_sum_of_its_events",),
        "only the last batch of a day would be billed",
    ),
    Named(
        "days-are-those-of-the-host",
        _USAGE,
        "datetime.fromtimestamp(started, UTC)",
        "datetime.fromtimestamp(started)",
        (f"{_OF_SUMS}::test_a_day_is_a_day_in_utc",),
        "gateways in two regions would count one request on two days",
    ),
    Named(
        "until-leaves-its-day-out",
        _USAGE,
        "usage_days.c.day <= _checked_day(until)",
        "usage_days.c.day < _checked_day(until)",
        (f"{_OF_SUMS}::test_since_and_until_include_their_days",),
        "a monthly bill would lack the last day",
    ),
    Named(
        "acknowledged-before-it-is-on-disk",
        _SPOOL,
        "            os.fsync(self._descriptor)\n        except OSError:",
        "        except OSError:",
        (f"{_OF_METERING}::test_a_full_disk_is_told_to_whoever_waits[sqlite]",),
        "a power cut would lose requests that clients saw answered",
    ),
    Named(
        "damaged-lines-are-believed",
        _SPOOL,
        'return text if checksum == b"%08x" % zlib.crc32(text) else None',
        "return text",
        (f"{_OF_METERING}::test_a_torn_line_is_dropped_and_a_damaged_one_is_reported",),
        "a flipped bit would be billed",
    ),
    Named(
        "a-failed-append-stays-in-the-file",
        _SPOOL,
        "            os.ftruncate(self._descriptor, self.size)\n",
        "",
        (f"{_OF_SUMS}::test_what_could_not_be_synced_is_cut_off_again",),
        "a request that the client was told is not counted would be counted",
    ),
    Named(
        "a-living-meters-spool-is-taken",
        _SPOOL,
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        (f"{_OF_METERING}::test_a_running_meter_takes_over_what_a_killed_neighbour_left[sqlite]",),
        "two processes would drain, and remove, one file",
    ),
    Named(
        "a-segment-is-removed-before-it-is-drained",
        _METER,
        "                if segment.backlog or (segment.open and not final):\n"
        "                    continue\n",
        "                if segment.open and not final:\n                    continue\n",
        (f"{_OF_SUMS}::test_a_segment_that_still_has_events_is_kept",),
        "events that were appended during the last insert would be lost",
    ),
    Named(
        "old-events-go-all-at-once",
        "gateway/metering/usage.py",
        "        .limit(most)\n",
        "",
        (f"{_OF_METERING}::test_old_events_may_go_and_their_sums_stay[sqlite]",),
        "metering would wait until a year of events is deleted",
    ),
    Named(
        "an-idle-meter-forgets-what-is-old",
        _METER,
        "DRAIN_SECONDS if failing or more else ORPHAN_SECONDS",
        "DRAIN_SECONDS if failing else ORPHAN_SECONDS",
        (f"{_OF_METERING}::test_old_events_go_also_where_nobody_is_answered[sqlite]",),
        "a year of events would take a quiet gateway days",
        quick=False,
    ),
    Named(
        "orphans-are-left-alone",
        _METER,
        "        orphans = adopt_orphans(self._spool)\n",
        "        orphans: list[Segment] = []\n",
        (f"{_OF_METERING}::test_a_running_meter_takes_over_what_a_killed_neighbour_left[sqlite]",),
        "what a killed process left would never be billed",
    ),
    Named(
        "a-client-that-left-is-not-counted",
        _METER,
        "        for _, future in batch:\n            # Whoever waited may have gone",
        "        for _, future in []:\n            # Whoever waited may have gone",
        (
            f"{_OF_METERING}::test_an_event_counts_though_whoever_waited_has_gone[sqlite]",
            f"{_OF_METERING}::test_a_full_disk_is_told_to_whoever_waits[sqlite]",
        ),
        "nobody would be told that the event is durable, and every answer would wait",
        quick=False,
    ),
    Named(
        "statements-of-any-size",
        _USAGE,
        "_SIZES = (256, 64, 16, 4, 1)",
        "_SIZES = tuple(range(256, 0, -1))",
        (f"{_OF_SUMS}::test_few_statements_insert_any_number_of_events",),
        "each connection would keep a hundred prepared statements of megabytes",
    ),
    Named(
        "a-newer-programs-events-are-lost",
        _EVENT,
        "for name in cls.__slots__ if name in values",
        "for name in values",
        (f"{_OF_METERING}::test_an_event_of_a_newer_program_is_read",),
        "after a rollback the drainer would die at the first new line",
    ),
)

NAMED = (*_FAIRNESS_NAMED, *_SHARED_ENGINE_NAMED, *_LIMITS_NAMED, *_METERING_NAMED)
