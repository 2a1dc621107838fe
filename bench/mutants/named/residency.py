"""Residency and proof: only what was loaded and proved answers, and nothing in use is unloaded."""

from __future__ import annotations

from bench.mutants.mutant import Named

_RESIDENCY = "gateway/residency/residency.py"
_PLACES = "gateway/residency/places.py"
_KEPT = "gateway/residency/desired.py"
_SEATS = "gateway/residency/seats.py"
_VICTIM = "gateway/residency/victim.py"
_GATE = "gateway/residency/gate.py"
_HANDOVER = "gateway/residency/handover.py"
_PROBES = "gateway/residency/probes.py"
_PROOF = "gateway/residency/proof.py"
_VERDICT = "gateway/residency/verdict.py"
_DIAGNOSIS = "gateway/residency/diagnosis.py"
_RESOLVE = "gateway/residency/resolve.py"
_SLICES = "gateway/residency/slices.py"
_WAITING = "gateway/residency/waiting.py"
_TESTS = "tests/gateway/residency"
_OF_HOLDING = f"{_TESTS}/test_holding.py"
_OF_SEATS = f"{_TESTS}/test_seats.py"
_OF_PROVING = f"{_TESTS}/test_proving.py"
_OF_VERDICT = f"{_TESTS}/test_verdict.py"
_OF_DIAGNOSIS = f"{_TESTS}/test_diagnosis.py"
_OF_RESOLVE = f"{_TESTS}/test_resolve.py"
_OF_PROBES = f"{_TESTS}/test_probes.py"
_OF_SLICES = f"{_TESTS}/test_slices.py"
_OF_WAITING = f"{_TESTS}/test_waiting.py"

_OF_GATE = f"{_TESTS}/test_gate.py"
_OF_HANDOVER = f"{_TESTS}/test_handover.py"

_PRESSURE_NAMED = (
    Named(
        "a-refusal-ends-by-the-clock-on-the-wall",
        _PLACES,
        "if time.monotonic() - entry.ended < RETRY",
        "if time.time() - entry.since < RETRY",
        (f"{_OF_HOLDING}::test_a_refused_adapter_is_unloaded_and_refused_again_without_a_load",),
        "where the clock is set back by an hour, what was mended is refused for an hour",
        source="reading of the request path, finding 10",
    ),
    Named(
        "what-is-held-is-held-until-the-clock-is-there-again",
        "gateway/residency/sharing.py",
        "sa.update(residents).where(residents.c.expires > longest).values(expires=longest)",
        "sa.select(residents.c.expires).where(residents.c.expires > longest)",
        (
            f"{_TESTS}/test_sharing.py"
            "::test_a_clock_that_is_set_back_makes_nobody_hold_for_longer[sqlite]",
        ),
        "places that a killed gateway held would be nobody's for an hour",
        source="reading of the request path, finding 10",
    ),
    Named(
        "a-load-waits-for-the-registrys-writer",
        "gateway/residency/loading.py",
        "            self._note_later(engine, release, PROVED, proof, kind)\n",
        "            self._note_later(engine, release, PROVED, proof, kind)\n"
        "            await self.noted(600)\n",
        (
            f"{_TESTS}/test_proofs_are_noted.py"
            "::test_a_publish_that_takes_its_time_keeps_no_proved_adapter_waiting",
        ),
        "a promotion during a gc would be a 503 for everybody who asks for the new release",
        source="reading of the request path, finding 17",
        quick=False,
    ),
    Named(
        "whoever-yields-stays-closed",
        _SEATS,
        "        self._reopen()\n",
        "",
        (f"{_OF_GATE}::test_an_adapter_that_yields_is_open_again_when_nobody_waits",),
        "one that asks for a slot and gives up would take a running adapter down for ten minutes",
    ),
    Named(
        "a-claimed-seat-is-never-given-back",
        _GATE,
        "            self._residency.seats.leave(self.key)\n"
        "            self._residency.seats.wake()",
        "            pass",
        (f"{_OF_GATE}::test_a_turn_that_is_given_up_in_its_moment_gives_the_seat_back",),
        "requests of clients that leave would use up the engine's slots",
    ),
    Named(
        "a-restart-has-what-waits-loaded-twice",
        _PLACES,
        "                if not self._counts(newcomer):\n",
        "                if False:\n",
        (f"{_OF_HOLDING}::test_what_waits_for_room_in_an_engine_that_is_restarted_is_loaded_once",),
        "an engine would hold more than is counted, and more than it may",
    ),
    Named(
        "what-came-back-is-unloaded",
        _PLACES,
        "if self._counts(leaver):  # else",
        "if True:  # else",
        (f"{_OF_HOLDING}::test_one_that_the_engine_lost_while_it_was_to_go_is_not_unloaded_later",),
        "an adapter would be taken from under those who had it loaded again",
    ),
    Named(
        "one-refusal-is-raised-to-all",
        "manifests/errors.py",
        "        other = type(self).__new__(type(self), *self.args)\n",
        "        other = self\n",
        (
            f"{_OF_HOLDING}::test_a_refusal_that_is_kept_gathers_nothing_of_those_who_are_told",
            "tests/gateway/http/test_container.py"
            "::test_a_refusal_that_is_kept_says_nothing_of_who_met_it_first",
        ),
        "what one tenant's request makes of a refusal would be told to every other one",
    ),
    Named(
        "a-failed-load-is-tried-for-ever",
        _GATE,
        "        if self._loading is not None and self._loading.error is not None:\n"
        "            raise self._loading.error.again()\n",
        "",
        (f"{_OF_GATE}::test_what_cannot_be_loaded_again_is_told_at_once",),
        "one adapter that cannot be loaded would keep the engine busy with loads",
    ),
    Named(
        "what-waits-for-its-turn-is-unloaded",
        _PLACES,
        "wanted = self.wanted.keys() | self.seats.asked",
        "wanted = self.wanted.keys()",
        (
            f"{_OF_GATE}::test_one_that_was_loaded_for_a_turn_is_used_before_it_goes",
            f"{_OF_GATE}::test_whoever_waits_for_a_turn_has_its_adapter_loaded_once",
        ),
        "new adapters would unload each other as fast as they load, and nobody be answered",
    ),
    Named(
        "what-was-not-proved-stays-in-the-engine",
        _PLACES,
        'if generation == self._engine.health.generation and entry.stage == "loading":',
        "if False:",
        (f"{_OF_GATE}::test_a_load_that_fails_for_now_leaves_nothing_in_the_engine",),
        "an engine would hold more than is counted, and run out of places that nobody frees",
    ),
    Named(
        "what-a-bug-left-in-the-engine-is-not-counted",
        _PLACES,
        "            await self._take_back(entry, generation)\n"
        '            entry.error = Unavailable(f"loading failed',
        '            entry.error = Unavailable(f"loading failed',
        (f"{_OF_HOLDING}::test_a_bug_leaves_nothing_that_loads_for_ever",),
        "an engine would hold more than is counted, and unload what others are thought to have",
        source="reading of the gateway as a hostile client",
    ),
    Named(
        "a-strangers-fingerprint-overflows",
        _VERDICT,
        "[exp(logprob - most) for",
        "[exp(logprob) for",
        (
            f"{_OF_VERDICT}::test_shares_are_of_what_numbers_there_are",
            f"{_OF_PROVING}::test_numbers_that_are_no_log_probabilities_are_refused_as_any_other",
        ),
        "a pulled release would be loaded by each request for it, and refused by none",
        source="reading of the gateway as a hostile client",
    ),
    Named(
        "a-fingerprint-may-hold-what-is-no-number",
        _PROBES,
        "if not all(isfinite(logprob) for at in found for _, logprob in at):",
        "if False:",
        (f"{_OF_PROVING}::test_a_malformed_probe_never_passes",),
        "a proof would compare with infinity, and say what no log can keep",
        source="reading of the gateway as a hostile client",
    ),
    Named(
        "an-engine-that-scores-nothing-is-a-bug-of-ours",
        "gateway/engines/scoring.py",
        "    if not all(at and all(map(isfinite, at.values())) for at in scores):\n",
        "    if False:\n",
        (
            "tests/gateway/engines/test_scoring.py"
            "::test_what_is_no_answer_to_a_probe_is_an_engine_that_is_away",
            "tests/gateway/engines/test_scoring.py::test_scores_that_cannot_be_compared_are_none",
        ),
        "an adapter would be judged by an engine that said nothing of it",
        source="reading of the gateway as a hostile client",
    ),
    Named(
        "pins-keep-everybody-else-out",
        _VICTIM,
        "only_pins = all(e.pinned for e in held)",
        "only_pins = False",
        (f"{_OF_GATE}::test_more_pins_than_places_keep_nobody_out",),
        "as many pins as places would refuse every other adapter for ever",
    ),
    Named(
        "a-promotion-counts-before-it-can-answer",
        _HANDOVER,
        "        if not missing:\n",
        "        if missing or True:\n",
        (f"{_OF_HANDOVER}::test_the_new_release_is_loaded_beside_the_old_one_and_counts_then",),
        "every promotion under traffic would be an outage for as long as a load takes",
    ),
    Named(
        "a-promoted-release-is-loaded-in-any-engine",
        _HANDOVER,
        "for residency in self._places(release)[:answering]",
        "for residency in list(self._residencies())[:answering]",
        (f"{_OF_HANDOVER}::test_it_is_loaded_where_its_requests_will_go",),
        "with two engines every second promotion would be waited for, and loaded twice",
    ),
    Named(
        "a-promotion-that-failed-never-counts",
        _HANDOVER,
        "                    del self._under_way[model]\n                    done()\n",
        "                    del self._under_way[model]\n",
        (f"{_OF_HANDOVER}::test_one_that_is_refused_counts_all_the_same",),
        "an alias would go on meaning a release that it was moved away from",
    ),
    Named(
        "a-promotion-counts-when-its-load-failed-once",
        _HANDOVER,
        "if not any(one.holds(digest) for one in self._residencies() for digest in old):",
        "if True:",
        (
            f"{_OF_HANDOVER}::"
            "test_one_that_cannot_be_loaded_for_now_is_tried_again_while_the_old_one_answers",
        ),
        "an engine that is busy for a moment would make a promotion an outage",
    ),
    Named(
        "a-slow-load-is-an-error",
        _WAITING,
        'moved = entry.moved if entry is not None and entry.stage == "loading" else since',
        "moved = since",
        (
            f"{_OF_WAITING}::test_a_load_that_comes_further_is_waited_for",
            f"{_OF_WAITING}::test_only_a_load_has_more_time_than_was_set",
        ),
        "the first request on a busy machine would end in a 503 (`make demo` did)",
    ),
    Named(
        "a-load-that-stands-still-is-waited-for-ever",
        _WAITING,
        "    return max(since, moved) + seconds - time.monotonic()",
        "    return seconds",
        (f"{_OF_WAITING}::test_only_a_load_has_more_time_than_was_set",),
        "requests would hang with their engine",
    ),
    Named(
        "ready-before-the-pins-are-proved",
        _KEPT,
        "self._settled = self._pins_told and not self._background",
        "self._settled = True",
        (f"{_OF_WAITING}::test_it_is_settled_when_pins_and_the_first_are_loaded_and_proved",),
        "the first request after a start would wait for a load and its proof",
    ),
    Named(
        "ready-before-engines-elsewhere-are-asked",
        "gateway/http/server.py",
        "            await engine.first_look()",
        "            pass",
        ("tests/api/test_served.py::test_an_engine_elsewhere_is_asked_before_it_serves",),
        "who calls as soon as it serves would get a 503",
    ),
)

_OF_VICTIM = f"{_TESTS}/test_victim.py"
_OF_SHARING = f"{_TESTS}/test_sharing.py"
_SHARES_NAMED = (
    Named(
        "one-look-at-each-adapter-empties-the-engine",
        _VICTIM,
        "key=lambda e: (e.level, e.used)",
        "key=lambda e: e.used",
        (
            f"{_TESTS}/test_popularity.py"
            "::test_the_least_asked_for_makes_room_not_the_least_recently_used",
        ),
        "adapters asked for once would drive out those that are used all day",
    ),
    Named(
        "what-is-known-is-not-asked",
        _PROOF,
        "        if _passes(engine, short[0]):\n",
        "        if True:\n",
        (
            f"{_TESTS}/test_shared_proofs.py"
            "::test_one_that_does_not_match_is_proved_whole_and_refused",
        ),
        "an engine that applies nothing would answer because another of its kind was proved",
    ),
    Named(
        "a-failed-proof-stays-known",
        "gateway/residency/loading.py",
        "                await asyncio.to_thread(self._forget_proof, release, kind)\n",
        "                pass\n",
        (f"{_TESTS}/test_shared_proofs.py::test_only_the_first_engine_of_a_kind_proves_it_all",),
        "what a kind has once proved would never be proved whole again",
    ),
    Named(
        "another-device-is-the-same-kind",
        "gateway/engines/identity.py",
        'of = {"engine": self.kind, "base": self.digest, "template": self.template_digest}',
        'of = {"base": self.digest, "template": self.template_digest}',
        (f"{_TESTS}/test_shared_proofs.py::test_a_kind_is_all_that_numbers_depend_on",),
        "a proof on one device would count on another one, which adds in another order",
    ),
    Named(
        "one-tenants-loads-unload-everybodys",
        _VICTIM,
        "own = [e for e in idle if e.owner == owner] if _has_its_share(held, owner) else []",
        "own: list[Entry] = []",
        (
            f"{_OF_VICTIM}::test_a_tenant_makes_room_among_its_own",
            f"{_OF_VICTIM}::test_asking_for_one_version_after_the_other_unloads_nobody_elses",
        ),
        "a tenant that goes through a name's versions would make every other one's adapter cold",
        source="gateway.md M1",
    ),
    Named(
        "what-all-use-is-one-tenants",
        _RESIDENCY,
        "            entry.owner = None  # of use to more than who had it loaded\n",
        "            pass\n",
        (f"{_OF_VICTIM}::test_what_another_tenant_uses_is_no_ones_own",),
        "whoever had a popular adapter loaded would be the one to make room for all",
    ),
    Named(
        "a-proof-is-free",
        _RESIDENCY,
        "unpaid, entry.unpaid = entry.unpaid, 0",
        "unpaid, entry.unpaid = 0, 0",
        (f"{_OF_VICTIM}::test_a_proof_is_charged_once_to_whoever_had_it_made",),
        "cold loads would cost their tenant nothing, and the others a thousand tokens each",
        source="gateway.md M1",
    ),
    Named(
        "a-load-comes-between-the-word-and-the-unload",
        "gateway/residency/sharing.py",
        "            self._put(connection, engine, [digest], now, _LEAVES)\n",
        "            pass\n",
        (
            f"{_TESTS}/test_unloading.py"
            "::test_a_load_does_not_come_between_the_word_and_the_unload[False]",
        ),
        "a gateway would believe that it has loaded what another one unloads a moment later",
        source="known limit of shared engines, mended",
    ),
    Named(
        "what-was-served-before-one-came-is-news",
        "gateway/residency/sharing.py",
        "        if seen is None:\n            elsewhere = {}\n",
        "",
        (f"{_OF_SHARING}::test_each_learns_what_the_others_have_served[sqlite]",),
        "a gateway's first minute would go by what was served last year",
    ),
)

_PROMOTED_NAMED = (
    Named(
        "a-promotion-waits-for-a-request",
        _RESOLVE,
        "                        await self._read(model)\n",
        "                        pass\n",
        (f"{_OF_SHARING}::test_a_promotion_that_nobody_asks_for_is_begun_all_the_same",),
        "the first answer after a promotion, however late, would be the old release's",
    ),
)

_HOLDING_NAMED = (
    Named(
        "a-failed-load-is-reported-as-success",
        _PLACES,
        "            entry.task.result()\n            if entry.error is not None:\n"
        "                raise entry.error.again()\n",
        "            return\n",
        (f"{_OF_HOLDING}::test_a_refused_adapter_is_unloaded_and_refused_again_without_a_load",),
        "a request would be answered by the base, or by whoever has the name",
        source="gateway.md §7",
    ),
    Named(
        "a-refused-adapter-stays-in-the-engine",
        _PLACES,
        "            with contextlib.suppress(AdapterworksError):\n"
        "                await self._unload(self._engine, entry.release)",
        "            pass",
        (f"{_OF_HOLDING}::test_a_refused_adapter_is_unloaded_and_refused_again_without_a_load",),
        "what failed its proof would still be answerable, and hold a place",
    ),
    Named(
        "a-refused-adapter-is-loaded-for-every-request",
        _PLACES,
        "if time.monotonic() - entry.ended < RETRY_REFUSED_SECONDS:",
        "if False:",
        (f"{_OF_HOLDING}::test_a_refused_adapter_is_unloaded_and_refused_again_without_a_load",),
        "one broken adapter would keep the engine busy with its proof",
    ),
    Named(
        "a-refusal-is-for-ever",
        _PLACES,
        "if time.monotonic() - entry.ended < RETRY_REFUSED_SECONDS:",
        "if True:",
        (f"{_OF_HOLDING}::test_a_refused_adapter_is_unloaded_and_refused_again_without_a_load",),
        "a repaired base would need a restart of the gateway",
    ),
    Named(
        "a-load-of-a-dead-engine-counts",
        _PLACES,
        "            if generation != self._engine.health.generation:",
        "            if False:",
        (f"{_OF_HOLDING}::test_a_load_of_an_engine_that_was_restarted_does_not_count",),
        "requests would go to an engine that does not have the adapter",
    ),
    Named(
        "everybody-loads-for-itself",
        _PLACES,
        ("        if entry is None:\n            entry = self._begin(release, tenant)"),
        (
            "        if entry is None or entry.stage == 'loading':\n"
            "            entry = self._begin(release, tenant)"
        ),
        (f"{_OF_HOLDING}::test_many_who_ask_at_once_make_one_load",),
        "a hundred first requests would make a hundred loads",
    ),
    Named(
        "whoever-leaves-ends-the-load",
        _PLACES,
        "            await asyncio.wait({entry.task})\n",
        "            await entry.task\n",
        (f"{_OF_HOLDING}::test_whoever_started_a_load_may_leave",),
        "a client that closes its connection would fail everybody else's request",
    ),
    Named(
        "capacity-is-one-more-than-the-engine-has",
        _PLACES,
        "if len(held) < self._engine.capacity:",
        "if len(held) <= self._engine.capacity:",
        (f"{_OF_HOLDING}::test_capacity_holds_and_the_least_recently_used_goes",),
        "the engine would evict by itself, and answer 404 for what the gateway thinks is there",
    ),
    Named(
        "an-adapter-in-use-is-unloaded",
        _PLACES,
        "                        leaver.users or leaver.release.digest in self.seats\n",
        "                        False\n",
        (f"{_OF_HOLDING}::test_nothing_is_unloaded_while_it_is_used_and_then_takes_no_more",),
        "a stream would go on with the base's weights, or end in the middle",
    ),
    Named(
        "the-most-recently-used-goes",
        _VICTIM,
        "return min(own or idle, key=lambda e: (e.level, e.used))",
        "return max(own or idle, key=lambda e: e.used)",
        (f"{_OF_HOLDING}::test_capacity_holds_and_the_least_recently_used_goes",),
        "the adapter that everybody asks for would be loaded again each time",
    ),
    Named(
        "pins-are-unloaded-like-any-other",
        _VICTIM,
        "        and (only_pins or not e.pinned)\n",
        "",
        (
            f"{_OF_HOLDING}::test_a_pinned_adapter_is_not_unloaded_and_a_wanted_one_is_not_the_first",
        ),
        "what an operator pinned would be cold when it is needed",
    ),
    Named(
        "two-unload-each-others-for-ever",
        _VICTIM,
        "        and (e.requests or e.release.digest not in wanted)\n",
        "",
        (f"{_OF_HOLDING}::test_two_who_ask_for_one_place_do_not_unload_each_others_for_ever",),
        "both would wait until they are told to come back, while the engine only loads",
    ),
    Named(
        "a-load-overtakes-the-unload",
        _PLACES,
        ("        finally:\n            self._forget(entry)\n            self.seats.wake()"),
        ("        finally:\n            self.seats.wake()"),
        (
            f"{_OF_HOLDING}::test_an_unload_is_waited_for_by_whoever_wants_it_back",
            f"{_OF_HOLDING}::test_capacity_holds_and_the_least_recently_used_goes",
        ),
        "what was unloaded would be taken for loaded",
    ),
    Named(
        "a-new-engine-stays-empty",
        _KEPT,
        "        self.reload(list(again.values())[: self._engine.capacity])",
        "        self.reload([])",
        (f"{_OF_HOLDING}::test_a_new_engine_gets_what_the_old_one_held_pins_first",),
        "after a restart every tenant would wait for a cold load, pins too",
    ),
    Named(
        "a-new-engine-is-taken-to-hold-what-the-old-one-held",
        _PLACES,
        "        self.entries.clear()\n",
        "",
        (f"{_OF_HOLDING}::test_a_new_engine_gets_what_the_old_one_held_pins_first",),
        "adapters would answer that were not proved in this engine",
    ),
    Named(
        "yielding-is-never-taken-back",
        _RESIDENCY,
        "        entry.yielding = entry.yielding and entry.users > 0\n",
        "",
        (f"{_OF_HOLDING}::test_a_slot_that_does_not_come_free_is_told_and_given_up",),
        "an adapter that yielded once would take no request any more",
        source="gateway.md C4",
    ),
    Named(
        "a-user-is-never-gone",
        _RESIDENCY,
        ('        """A user is done."""\n        entry.users -= 1\n'),
        '        """A user is done."""\n',
        (f"{_OF_HOLDING}::test_a_lease_counts_its_user_and_keeps_the_time",),
        "slots would be held by requests that ended long ago",
    ),
)

_LEAVING_NAMED = (
    Named(
        "whoever-comes-back-finds-its-place-gone",
        _PLACES,
        "        entry.given_up = None  #",
        "        #",
        (f"{_OF_HOLDING}::test_whoever_comes_back_for_a_place_has_kept_it",),
        "who asks again as it was told would stand at the end of the line each time",
    ),
    Named(
        "whoever-is-to-go-stays-closed-for-nobody",
        _PLACES,
        "                    leaver.leaving = False\n",
        "                    pass\n",
        (f"{_OF_HOLDING}::test_one_that_was_to_go_stays_open_when_nobody_waits_for_its_place",),
        "one request that came and left would close a neighbour's adapter for its longest stream",
    ),
    Named(
        "a-place-is-waited-for-by-nobody",
        _PLACES,
        "        if left <= 0:\n",
        "        if False:\n",
        (f"{_OF_HOLDING}::test_one_that_was_to_go_stays_open_when_nobody_waits_for_its_place",),
        "a neighbour's adapter would be unloaded, and another one loaded for nobody",
    ),
    Named(
        "whoever-comes-back-begins-anew",
        _PLACES,
        "        newcomer.given_up = newcomer.given_up or now\n",
        "        newcomer.given_up = now - COMES_BACK_SECONDS\n",
        (f"{_OF_HOLDING}::test_whoever_comes_back_for_a_place_has_kept_it",),
        "an adapter would never be loaded beside one whose streams outlast a request's patience",
    ),
    Named(
        "what-is-loaded-again-is-wanted-by-nobody",
        _KEPT,
        "        return digest in self._pins or digest in self._again",
        "        return False",
        (f"{_OF_HOLDING}::test_a_place_for_what_is_loaded_in_the_background_is_waited_for",),
        "a pin would not be loaded where all places are in use",
    ),
    Named(
        "a-pin-is-tried-once",
        _KEPT,
        "                    self._retries.later(release, error)\n",
        "                    pass\n",
        (f"{_TESTS}/test_retries.py::test_a_pin_whose_load_failed_is_tried_again",),
        "one timeout of the engine would leave a pin cold until somebody asks for it",
    ),
    Named(
        "an-engine-that-leaves-holds-a-promotion-up",
        _HANDOVER,
        "                if residency.closed:",
        "                if False:",
        (f"{_OF_HANDOVER}::test_an_engine_that_leaves_meanwhile_holds_nothing_up",),
        "the release before would answer for minutes after a promotion",
    ),
    Named(
        "a-damaged-release-keeps-its-alias",
        _RESOLVE,
        "except AdapterworksError as error:\n            if not isinstance",
        "except NotFound as error:\n            if not isinstance",
        (f"{_OF_RESOLVE}::test_an_alias_is_moved_away_from_a_release_that_cannot_be_read",),
        "a rollback away from it would not count until a restart, and every request be a 422",
    ),
    Named(
        "one-promotion-that-fails-stops-the-others",
        _RESOLVE,
        "                    with contextlib.suppress(AdapterworksError):",
        "                    with contextlib.suppress(NotFound):",
        (f"{_OF_RESOLVE}::test_what_cannot_be_read_keeps_no_other_promotion_waiting",),
        "a damaged record would end the worker and turn `/ready` at each change of the index",
    ),
    Named(
        "who-waits-for-a-load-is-cancelled-with-it",
        _PLACES,
        "            await asyncio.wait({entry.task})\n",
        "            await asyncio.shield(entry.task)\n",
        (
            f"{_OF_HOLDING}::test_whoever_waits_for_a_load_of_an_engine_that_leaves_is_told_and_not_cancelled",
        ),
        "an engine that leaves would end batches, the prover, and requests for other engines",
    ),
    Named(
        "what-is-closed-loads-on",
        _PLACES,
        "        if self.closed:\n            raise let_go()\n",
        "",
        (f"{_OF_HOLDING}::test_a_load_ends_when_the_gateway_does",),
        "an engine that leaves would be given adapters by those who still wait there",
    ),
)

_SEATS_NAMED = (
    Named(
        "a-slot-too-many",
        _SEATS,
        "return digest in busy or len(busy) < self._engine.slots",
        "return digest in busy or len(busy) <= self._engine.slots",
        (f"{_OF_SEATS}::test_as_many_adapters_as_there_are_slots",),
        "vLLM would queue the request behind others for as long as those run",
    ),
    Named(
        "newcomers-pass-those-who-wait",
        _SEATS,
        "if running or (not self._waiting and self._admits(digest)):",
        "if running or self._admits(digest):",
        (f"{_OF_SEATS}::test_newcomers_do_not_pass_those_who_wait",),
        "a busy gateway would serve whoever comes last",
    ),
    Named(
        "nobody-yields",
        _SEATS,
        "            min(busy, key=lambda e: e.busy_since).yielding = True",
        "            pass",
        (f"{_OF_SEATS}::test_the_one_that_has_run_longest_yields_and_only_that_one",),
        "two adapters that are never idle would keep a third one out for ever",
    ),
    Named(
        "everybody-yields",
        _SEATS,
        "            min(busy, key=lambda e: e.busy_since).yielding = True",
        "            for e in busy:\n                e.yielding = True",
        (f"{_OF_SEATS}::test_the_one_that_has_run_longest_yields_and_only_that_one",),
        "one waiter would close every running adapter to new requests",
    ),
    Named(
        "an-adapter-that-yields-takes-more",
        _SEATS,
        "return not entry.yielding and not entry.leaving",
        "return not entry.leaving",
        (f"{_OF_SEATS}::test_the_one_that_has_run_longest_yields_and_only_that_one",),
        "it would never come to its end, and the waiter never to its turn",
    ),
    Named(
        "a-seat-given-to-somebody-who-left-is-lost",
        _SEATS,
        "            if ticket.done() and not ticket.cancelled():\n"
        "                self.leave(digest)\n",
        "",
        (f"{_OF_SEATS}::test_a_seat_given_in_the_moment_of_leaving_is_given_back",),
        "clients that leave at the wrong moment would use up the slots",
    ),
)

_PROOF_NAMED = (
    Named(
        "everything-passes-its-proof",
        _PROOF,
        "    if not _passes(engine, measured):",
        "    if False:",
        (f"{_OF_PROVING}::test_each_limit_decides",),
        "another adapter's weights would be served",
    ),
    Named(
        "far-from-the-base-is-enough",
        _PROOF,
        "        and proof.divergence <= RATIO * proof.separation\n",
        "",
        (f"{_OF_PROVING}::test_each_limit_decides",),
        "a weak adapter that is only half applied would pass",
    ),
    Named(
        "rounding-explains-everything",
        _PROOF,
        "        and proof.divergence <= limit(engine.base.exact)\n",
        "",
        (f"{_OF_PROVING}::test_each_limit_decides",),
        "a strong adapter that is a tenth off would pass in float32",
    ),
    Named(
        "an-adapter-that-does-nothing-is-proved",
        _PROOF,
        "        proof.separation >= SMALLEST_SEPARATION\n        and ",
        "        ",
        (f"{_OF_PROVING}::test_each_limit_decides",),
        "nothing would tell such an adapter from a zeroed one",
    ),
    Named(
        "no-fingerprint-is-proof-enough",
        _PROOF,
        "    if fingerprint is None:\n        raise ProofFailed(",
        "    if fingerprint is None:\n        return Proof('proved')\n        raise ProofFailed(",
        (f"{_OF_PROVING}::test_without_a_fingerprint_nothing_is_proved",),
        "whoever leaves the file out would be served unseen",
    ),
    Named(
        "a-fingerprint-of-another-base-is-taken",
        _PROOF,
        "    if not document.base_digest == release.base.digest == engine.base.digest:",
        "    if False:",
        (
            f"{_OF_PROVING}::test_a_fingerprint_of_something_else_is_refused_before_anything_is_asked",
        ),
        "the message would blame the adapter for the base",
    ),
    Named(
        "positions-without-answers-are-skipped",
        _PROBES,
        "        and all((*adapter, *base))\n",
        "",
        (f"{_OF_PROVING}::test_a_malformed_probe_never_passes",),
        "a fingerprint that says nothing would be matched by anything",
    ),
    Named(
        "a-divergence-is-not-weighted",
        _VERDICT,
        "            share * abs(logprob - value)\n",
        "            abs(logprob - value)\n",
        (f"{_OF_VERDICT}::test_a_divergence_is_the_mean_shift_under_the_fingerprints_own_shares",),
        "tokens that nobody would be answered with would decide",
    ),
    Named(
        "shifts-cancel-out",
        _VERDICT,
        "            share * abs(logprob - value)\n",
        "            share * (logprob - value)\n",
        (f"{_OF_VERDICT}::test_a_divergence_is_the_mean_shift_under_the_fingerprints_own_shares",),
        "an adapter that is wrong in both directions would pass",
    ),
    Named(
        "a-divergence-grows-with-the-probes",
        _VERDICT,
        "    return total / len(expected)",
        "    return total",
        (f"{_OF_VERDICT}::test_a_divergence_is_the_mean_shift_under_the_fingerprints_own_shares",),
        "the more probes a release has, the sooner it would be refused",
    ),
    Named(
        "a-token-that-is-not-listed-is-right",
        _VERDICT,
        "    return [scores.get(token, floor) for token, _ in position]",
        "    return [scores.get(token, value) for token, value in position]",
        (f"{_OF_VERDICT}::test_a_token_that_the_engine_does_not_list_counts_as_its_least_likely",),
        "an engine that answers with other tokens altogether would pass",
    ),
    Named(
        "float32-is-judged-as-16-bits",
        _VERDICT,
        "    return EXACT_LIMIT if exact else ROUNDED_LIMIT",
        "    return ROUNDED_LIMIT",
        (f"{_OF_VERDICT}::test_rounding_explains_more_in_16_bits",),
        "seven times the fault would pass where nothing explains it",
    ),
    Named(
        "a-wrong-base-is-blamed-on-the-adapter",
        _DIAGNOSIS,
        "    elif off_base > limit(engine.base.exact):",
        "    elif False:",
        (f"{_OF_PROVING}::test_a_wrong_base_is_told_from_a_wrong_adapter",),
        "somebody would build again what is not at fault",
    ),
    Named(
        "the-owner-of-the-weights-is-not-named",
        _DIAGNOSIS,
        "others[:1]",
        "others[:0]",
        (f"{_OF_DIAGNOSIS}::test_findings_name_copies_that_are_none_and_the_owner",),
        "swapped files could not be traced",
        quick=False,  # its tests import torch
    ),
    Named(
        "one-kind-of-probe-is-enough",
        _PROBES,
        "(len(picked) < LEAST or found < WANTED)",
        "found < 6",
        (f"{_OF_PROBES}::test_positions_are_what_is_counted",),
        "an adapter that only answers its own template would pass",
    ),
    Named(
        "a-proof-asks-for-the-dearest-probes",
        _PROBES,
        "    for one in sorted(probes, key=_tokens_a_position):",
        "    for one in probes:",
        (f"{_OF_PROBES}::test_what_has_most_positions_for_its_tokens_is_cheapest",),
        "a proof would take as long as the task's rows are",
    ),
    Named(
        "a-look-at-few-is-enough-for-the-unclear",
        _PROBES,
        "    return some if separation(some) >= _CLEAR * SMALLEST_SEPARATION else probes",
        "    return some",
        (f"{_OF_PROBES}::test_an_adapter_that_is_hardly_told_from_its_base_is_judged_by_all",),
        "an adapter would be refused for the choice of its probes",
    ),
    Named(
        "a-probe-is-prefilled-to-its-end",
        _PROBES,
        "Probe(ids[: max(positions) + 1], ",
        "Probe(ids, ",
        (f"{_OF_PROBES}::test_a_probe_ends_with_its_last_position",),
        "a long answer's tokens would be paid for in every proof",
    ),
    Named(
        "a-prompt-is-asked-twice",
        _SLICES,
        "_fitting(probes[done:], room)",
        "_fitting(probes[max(0, done - 1) :], room)",
        (f"{_OF_SLICES}::test_a_fast_engine_is_asked_a_few_times_only",),
        "scores would be compared with another position's",
    ),
    Named(
        "a-slow-engine-is-asked-everything-at-once",
        _SLICES,
        "            room = used // 2",
        "            room = 2 * used",
        (f"{_OF_SLICES}::test_a_slow_engine_is_kept_by_one_probe_at_a_time",),
        "a proof would stop everybody's stream for seconds",
        quick=False,
    ),
)

_RESOLVE_NAMED = (
    Named(
        "an-alias-move-is-never-seen",
        _RESOLVE,
        ("        self._holders.clear()\n        self._absent"),
        "        self._absent",
        (f"{_OF_RESOLVE}::test_a_moved_alias_is_seen_and_what_was_read_before_is_not_kept",),
        "a rollback would not reach the gateways",
    ),
    Named(
        "what-was-read-before-the-move-is-kept",
        _RESOLVE,
        (
            "        holders = await self._asked(self._lookup, ref)\n"
            "        # Read before the revision changed, stored after it: would be stale until the "
            "next.\n"
            "        fresh = epoch == self._epoch\n"
        ),
        ("        holders = await self._asked(self._lookup, ref)\n        fresh = True\n"),
        (f"{_OF_RESOLVE}::test_what_was_read_under_an_old_revision_is_not_kept",),
        "one gateway would answer with the old version until the next move",
    ),
    Named(
        "the-watcher-dies-with-the-index",
        _RESOLVE,
        ("                await asyncio.sleep(RETRY_SECONDS)\n                continue\n"),
        ("                await asyncio.sleep(RETRY_SECONDS)\n                return\n"),
        (f"{_OF_RESOLVE}::test_an_index_that_is_away_is_reported_and_asked_again",),
        "aliases would never move again, and /ready would stay green",
        source="gateway.md C6",
    ),
    Named(
        "a-canary-gets-everything",
        _RESOLVE,
        "        if point < holder.weight:",
        "        if point >= holder.weight:",
        (f"{_OF_RESOLVE}::test_the_first_ninety_percentiles_are_the_holders",),
        "a trial of ten percent would be one of ninety",
    ),
    Named(
        "a-caller-changes-sides",
        _RESOLVE,
        "_choose(holders, _key(sticky, model))",
        '_choose(holders, f"{id(holders)}{len(self._releases)}{model}")',
        (f"{_OF_RESOLVE}::test_a_canary_gets_its_share_and_each_caller_one_side",),
        "one conversation would be answered by two versions in turn",
    ),
    Named(
        "a-name-that-cannot-exist-looks-different",
        _RESOLVE,
        "            raise missing(model) from None",
        "            raise",
        (f"{_OF_RESOLVE}::test_what_is_not_there_and_what_cannot_be_look_the_same",),
        "a tenant could tell what others have from what nobody has",
    ),
)

NAMED = (
    *_PRESSURE_NAMED, *_SHARES_NAMED, *_PROMOTED_NAMED, *_HOLDING_NAMED, *_LEAVING_NAMED,
    *_SEATS_NAMED, *_PROOF_NAMED, *_RESOLVE_NAMED,
)  # fmt: skip
