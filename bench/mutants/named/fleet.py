"""The fleet: which engines there are, who joins, who leaves, and what is let go of."""

from __future__ import annotations

from bench.mutants.mutant import Named

_FOLLOW = "gateway/discovery/follow.py"
_KUBERNETES = "gateway/discovery/kubernetes.py"
_FILE = "gateway/discovery/file.py"
_OF_FOLLOW = "tests/gateway/discovery/test_follow.py"
_OF_FINDERS = "tests/gateway/discovery/test_finders.py"
_LOCKS = "gateway/engine_plugin/release_locks.py"
_CACHE = "gateway/engine_plugin/release_cache.py"
_RELEASES = "gateway/engine_plugin/releases.py"
_OF_CACHE = "tests/gateway/engine_plugin/test_release_cache.py"
_OF_RELEASES = "tests/gateway/engine_plugin/test_releases.py"
_OF_FETCHED = "tests/gateway/engines/test_fetched.py"
_OF_ELSEWHERE = "tests/gateway/engines/test_elsewhere.py"
_OF_LEAVING = "tests/gateway/http/test_leaving.py"
_OF_TLS = "tests/gateway/engines/test_tls.py"
_SESSION = "gateway/picker/session.py"
_HEADERS = "gateway/picker/headers.py"
_SERVICE = "gateway/picker/service.py"
_UPSTREAM = "gateway/picker/upstream.py"
_OF_SESSION = "tests/gateway/picker/test_session.py"

_BEHIND_ENVOY = (
    Named(
        "a-clients-headers-steer-the-engine",
        _HEADERS,
        "return sorted((own | {*_TAKEN_OUT})",
        "return sorted({*_TAKEN_OUT}",
        (f"{_OF_SESSION}::test_nothing_of_a_clients_steers_the_engine_and_nothing_tells_of_it",),
        "a client would put itself before all others, or on the rank that it likes",
        quick=False,
    ),
    Named(
        "an-answer-tells-of-the-engine",
        _HEADERS,
        '{"content-length", *given} - _SHOWN',
        '{"content-length"} - _SHOWN',
        (f"{_OF_SESSION}::test_nothing_of_a_clients_steers_the_engine_and_nothing_tells_of_it",),
        "a client would read the engine's load, which is other tenants' traffic",
        quick=False,
    ),
    Named(
        "behind-envoy-a-request-may-take-for-ever",
        _UPSTREAM,
        "        self._end(TimeoutError(",
        "        _ = (TimeoutError(",
        (
            f"{_OF_SESSION}"
            "::test_an_engine_that_never_answers_holds_its_place_no_longer_than_a_request_may",
        ),
        "an engine that hangs would use up the turns of every tenant",
        quick=False,
    ),
    Named(
        "who-hangs-up-is-waited-for",
        _SERVICE,
        "                session.no_more()\n",
        "                pass\n",
        (f"{_OF_SESSION}::test_a_proxy_that_says_no_more_gives_its_place_back",),
        "each proxy that is restarted would leave its requests' turns taken",
        quick=False,
    ),
    Named(
        "a-body-may-take-for-ever",
        _SESSION,
        "self._late, seconds)",
        "lambda _: None, seconds)",
        (f"{_OF_SESSION}::test_a_body_that_does_not_come_is_not_waited_for",),
        "a few bytes an hour would hold megabytes of body for as long as a client likes",
        quick=False,
    ),
    Named(
        "an-engines-path-is-left-out",
        _SESSION,
        '":path": place.path + path',
        '":path": path',
        (f"{_OF_SESSION}::test_nothing_of_a_clients_steers_the_engine_and_nothing_tells_of_it",),
        "an engine behind a path of a shared host would answer 404 to everything",
        quick=False,
    ),
)

NAMED = (
    *_BEHIND_ENVOY,
    Named(
        "another-base-at-the-same-url-is-the-same-engine",
        "gateway/engines/remote.py",
        "if self._told and not await self._is_the_same():",
        "if False:",
        ("tests/gateway/engines/test_replaced.py::test_another_base_at_its_url_is_another_engine",),
        "adapters would be loaded on a base that they were not trained on",
    ),
    Named(
        "an-engine-that-was-replaced-stays",
        _FOLLOW,
        "if url in found and not engine.replaced:",
        "if url in found:",
        (f"{_OF_FOLLOW}::test_one_that_serves_another_base_leaves_and_joins_as_that",),
        "an engine of another base would be down until the gateway is started again",
    ),
    Named(
        "an-engine-joins-a-second-time",
        _FOLLOW,
        "if self._has(made.id):",
        "if False:",
        (f"{_OF_FOLLOW}::test_one_that_is_in_the_gateway_is_not_joined_again",),
        "two engines of one name would share one residency, and be sent twice what one takes",
    ),
    Named(
        "a-slice-without-pods-has-a-port",
        _KUBERNETES,
        "        if not endpoints:\n            continue",
        "        if endpoints is None:\n            continue",
        (f"{_OF_FINDERS}::test_a_service_without_pods_has_no_engines",),
        "a service that was scaled to nothing would say nothing of its engines for ever",
    ),
    Named(
        "an-address-of-each-family-is-an-engine",
        "gateway/discovery/dns.py",
        "    return four or {",
        "    return four | {",
        (f"{_OF_FINDERS}::test_a_machine_of_two_families_is_one_engine",),
        "one engine would be asked for twice what it can do, and hold every adapter twice",
    ),
    Named(
        "one-answer-of-dns-is-the-whole-truth",
        "gateway/discovery/dns.py",
        "set().union(*self._answers)",
        "set().union(self._answers[-1])",
        (f"{_OF_FINDERS}::test_what_one_answer_leaves_out_stays_until_all_leave_it_out",),
        "a name server that lags behind would take engines out, and every adapter in them",
    ),
    Named(
        "what-cannot-be-asked-is-an-empty-list",
        _FOLLOW,
        "            self._say(self._what, error.message)\n            return\n",
        "            self._say(self._what, error.message)\n            found = frozenset()\n",
        (f"{_OF_FOLLOW}::test_what_cannot_be_asked_changes_nothing",),
        "a name server that is away for a moment would take every engine out",
    ),
    Named(
        "one-that-comes-back-joins-twice",
        _FOLLOW,
        "found - self._here.keys() - self._leaving.keys()",
        "found - self._here.keys()",
        (f"{_OF_FOLLOW}::test_one_that_comes_back_joins_when_it_has_finished",),
        "two engines of one name would share what is known of them",
    ),
    Named(
        "new-engines-are-asked-one-after-the-other",
        _FOLLOW,
        "await asyncio.gather(*map(self._made, new))",
        "[await self._made(url) for url in new]",
        (f"{_OF_FOLLOW}::test_new_ones_are_asked_at_once",),
        "ten engines that start would hold one that has left in the gateway for a minute",
        source="reading of the request path, finding 17",
    ),
    Named(
        "an-engine-that-is-silent-ends-the-look",
        _FOLLOW,
        "            if made is None:\n                continue\n",
        "            if made is None:\n                break\n",
        (f"{_OF_FOLLOW}::test_one_that_does_not_say_its_base_is_asked_again",),
        "one broken engine would keep all others out",
    ),
    Named(
        "a-pod-that-ends-is-asked",
        _KUBERNETES,
        'return conditions.get("ready") is not False and not conditions.get("terminating")',
        'return conditions.get("ready") is not False',
        (f"{_OF_FINDERS}::test_ready_endpoints_are_engines",),
        "each rolling upgrade would cut streams",
    ),
    Named(
        "the-first-token-is-kept",
        _KUBERNETES,
        'headers = {"authorization": f"Bearer {self._told(\'token\')}"}',
        "self._first = getattr(self, '_first', None) or self._told('token')\n"
        '        headers = {"authorization": f"Bearer {self._first}"}',
        (f"{_OF_FINDERS}::test_ready_endpoints_are_engines",),
        "after an hour Kubernetes would refuse the gateway's questions",
    ),
    Named(
        "a-refusal-is-an-empty-list",
        _KUBERNETES,
        "        if answer.status != 200:\n",
        "        if answer.status == 403:\n            return frozenset()\n"
        "        if answer.status != 200:\n",
        (f"{_OF_FINDERS}::test_what_kubernetes_refuses_is_said_and_is_no_empty_list",),
        "a changed role would take every engine out",
    ),
    Named(
        "what-others-have-loaded-is-nothing",
        "gateway/residency/residency.py",
        "            return digest in self.listed\n",
        "            return False\n",
        (
            "tests/gateway/residency/test_listed.py::test_what_is_loading_loaded_or_loaded_by_others_is_there",
        ),
        "two gateways would have one adapter in two engines",
    ),
    Named(
        "one-bad-entry-hides-the-file",
        _FILE,
        "        if bad and not good:\n",
        "        if bad:\n",
        (f"{_OF_FINDERS}::test_an_entry_that_is_no_address_is_left_out_and_said_once",),
        "a slip in one line would keep every new engine out, and every old one in",
    ),
    Named(
        "gauges-of-engines-that-left-stay",
        "gateway/observe/metrics.py",
        '                if labels["engine"] not in ids:\n',
        "                if False:\n",
        (
            "tests/gateway/observe/test_engines_that_left.py"
            "::test_an_engine_that_left_has_no_gauge_any_more",
        ),
        "engines would never be scaled down, and an alarm stay on until the gateway restarts",
    ),
    Named(
        "half-a-file-is-a-list",
        _FILE,
        'if said.keys() != {"urls"} or not isinstance(urls, list):',
        "if not isinstance(urls, list):",
        (f"{_OF_FINDERS}::test_a_file_that_says_something_else_says_nothing",),
        "a misspelled second key would be passed over",
    ),
    Named(
        "whoever-is-less-busy-loads-it",
        "gateway/engines/routing.py",
        "default=math.inf) / LOAD_FACTOR",
        "default=math.inf) * LOAD_FACTOR",
        (
            "tests/gateway/engines/test_keeping.py::test_a_further_engine_loads_it_only_where_that_relieves",
        ),
        "an adapter would be loaded where that relieves nobody",
    ),
    Named(
        "one-request-is-a-load",
        "gateway/engines/routing.py",
        "max(now.room, math.ceil(share * now.room))",
        "math.ceil(share * now.room)",
        (
            "tests/gateway/engines/test_keeping.py::test_without_a_holder_the_first_that_is_not_full_loads_it",
        ),
        "idle engines would each load what one of them has room for",
    ),
    Named(
        "what-an-engine-holds-makes-room-for-others",
        _LOCKS,
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        (f"{_OF_CACHE}::test_what_is_held_stays_and_the_next_one_has_no_room",),
        "vLLM reads an adapter again from its folder: without it the engine ends",
        quick=True,
    ),
    Named(
        "a-lock-on-a-removed-file-counts",
        _LOCKS,
        "                if _is(file, self._path(digest)):\n",
        "                if file:\n",
        (f"{_OF_CACHE}::test_a_lock_file_that_is_removed_locks_nobody_out",),
        "an adapter would be held by a file that nobody looks at any more",
        quick=True,
    ),
    Named(
        "two-releases-that-come-at-once-take-the-same-room",
        _CACHE,
        "wanted = size + sum(coming)",
        "wanted = size",
        (f"{_OF_CACHE}::test_two_that_come_at_once_do_not_take_the_same_room",),
        "a disk would be filled beyond its bound",
        quick=True,
    ),
    Named(
        "an-engine-without-a-key-fetches-for-anybody",
        _RELEASES,
        'return scheme.lower() == "bearer" and any(right)',
        'return not right or (scheme.lower() == "bearer" and any(right))',
        (f"{_OF_RELEASES}::test_an_engine_without_a_key_fetches_nothing",),
        "whoever reaches the port could have any adapter loaded",
        quick=True,
    ),
    Named(
        "who-leaves-ends-the-fetch-for-all",
        _RELEASES,
        "return await asyncio.shield(flight)",
        "return await flight",
        (f"{_OF_RELEASES}::test_one_fetch_for_all_who_ask_and_nobody_who_leaves_ends_it",),
        "a gateway that ends would fail the loads of the others",
        quick=True,
    ),
    Named(
        "a-load-again-that-fails-ends-the-first-ones-hold",
        _CACHE,
        "            if not already:\n",
        "            if True:\n",
        (f"{_OF_CACHE}::test_a_fetch_that_fails_does_not_end_what_an_earlier_one_holds",),
        "the folder of what an engine has loaded would make room for others, and the engine end",
        quick=True,
    ),
    Named(
        "what-is-given-up-while-it-is-fetched-stays",
        _RELEASES,
        "self._unwanted.add(digest)  # the flight's end unloads it",
        "pass",
        (
            f"{_OF_RELEASES}"
            "::test_what_is_given_up_while_it_is_fetched_is_not_there_afterwards[given up]",
        ),
        "an engine would hold adapters that no gateway counts, in places that others need",
        quick=True,
    ),
    Named(
        "what-a-client-has-echoed-is-a-lost-adapter",
        "gateway/request/relay.py",
        'return named and str(error["message"]).startswith(MISSING)',
        'return named and MISSING in str(error["message"])',
        (
            "tests/gateway/request/test_missing.py"
            "::test_only_the_plugins_own_words_say_that_an_adapter_is_gone",
        ),
        "a tenant could have an adapter loaded again and again, for all who use it",
        quick=True,
    ),
    Named(
        "a-shadow-asks-for-scores-that-end-its-engine",
        "gateway/request/shadow.py",
        "            await require_scorable(engine, call)\n",
        "",
        (
            "tests/gateway/request/test_scored_prompts.py"
            "::test_a_shadow_asks_its_own_engine_whether_it_can",
        ),
        "a client's request to one engine would end another one, for all its clients",
        quick=False,
    ),
    Named(
        "another-engine-is-asked-for-scores-that-end-it",
        "gateway/request/exchange.py",
        "                await require_scorable(other, self._call)\n",
        "",
        (f"{_OF_ELSEWHERE}::test_another_engine_that_cannot_score_a_prompt_is_not_asked_to",),
        "the second engine would end with the first one's request, for all its clients",
    ),
    Named(
        "behind-envoy-an-adapter-is-loaded-elsewhere-for-nothing",
        _SESSION,
        "        return unasked\n",
        "        return True\n",
        (f"{_OF_SESSION}::test_what_envoy_cannot_ask_again_is_loaded_nowhere_else",),
        "each engine that loses an adapter would cost another one a place",
        quick=False,
    ),
    Named(
        "a-pin-that-an-engine-lost-waits-for-a-request",
        "gateway/residency/residency.py",
        "            self._places.desired.reload(pinned)\n",
        "            pass\n",
        (
            "tests/gateway/residency/test_gate.py"
            "::test_what_is_pinned_and_the_engine_lost_is_loaded_at_once",
        ),
        "the first request after a quiet day would wait for what was pinned so that none waits",
        quick=True,
    ),
    Named(
        "a-server-fills-the-disk",
        "registry/remotes/http/blobs.py",
        "        if came > self._sizes.get(digest, came):\n",
        "        if came > 1 << 60:\n",
        (
            "tests/registry/remotes/http/test_too_much.py::test_no_more_is_taken_than_the_record_says",
        ),
        "bytes are hashed when all have come, and these never end",
        quick=True,
    ),
    Named(
        "a-path-is-sent-to-an-engine-that-fetches",
        "gateway/residency/loading.py",
        "        if engine.fetcher is not None:\n            tell(",
        "        if engine.fetcher is None and engine.fetcher:\n            tell(",
        (f"{_OF_FETCHED}::test_the_host_fetches_what_is_asked_for_and_no_path_is_sent",),
        "a path of another host means nothing there, or something else",
    ),
    Named(
        "lost-virtual-tokens-are-the-clients-fault",
        "gateway/request/relay.py",
        "if status == 400 and _is_missing(body)",
        "if status == 999 and _is_missing(body)",
        (f"{_OF_FETCHED}::test_virtual_tokens_that_the_host_lost_are_fetched_again",),
        "after an engine's restart on an empty disk its adapters would be refused for ever",
    ),
    Named(
        "a-request-that-did-not-reach-its-engine-fails",
        "gateway/request/exchange.py",
        "if len(parts) > 1 or not self._may_ask_another():",
        "if len(parts) > 0:",
        (f"{_OF_ELSEWHERE}::test_a_request_that_does_not_reach_its_engine_goes_to_another",),
        "each engine that ends would cost its requests of the next seconds",
    ),
    Named(
        "a-list-that-was-answered-in-part-is-asked-again",
        "gateway/request/exchange.py",
        "if len(parts) > 1 or not self._may_ask_another():",
        "if not self._may_ask_another():",
        (f"{_OF_ELSEWHERE}::test_a_list_of_prompts_is_not_asked_again_elsewhere",),
        "what was answered before would be paid for twice",
    ),
    Named(
        "a-refused-connection-is-no-death",
        "gateway/engines/remote.py",
        'self._became("down", f"`{self.url}` refuses connections")',
        "pass",
        (f"{_OF_ELSEWHERE}::test_a_request_that_does_not_reach_its_engine_goes_to_another",),
        "every request of the next seconds would knock there first",
    ),
    Named(
        "a-kept-connection-is-closed-under-a-request",
        "gateway/http/server.py",
        'last = [*self.config.encoded_headers, (b"connection", b"close")]',
        "last = [*self.config.encoded_headers]",
        (f"{_OF_LEAVING}::test_what_comes_on_a_kept_connection_is_answered_and_is_its_last",),
        "a client keeps what is about to be closed, and loses a request now and then",
        quick=True,
    ),
    Named(
        "sigterm-stops-at-once",
        "gateway/http/server.py",
        "self._ends = time.monotonic() + self._linger",
        "self._ends = time.monotonic() - 1",
        (f"{_OF_LEAVING}::test_what_comes_on_a_kept_connection_is_answered_and_is_its_last",),
        "requests that are on their way are dropped at each upgrade",
        quick=True,
    ),
    Named(
        "the-certificates-name-is-the-addresss",
        "gateway/engines/wires.py",
        "server_hostname=None if tls is None else tls.name,",
        "server_hostname=None,",
        (f"{_OF_TLS}::test_the_name_is_checked_and_may_be_another_than_the_address",),
        "no pod could be asked: certificates name services",
        quick=True,
    ),
    Named(
        "renewed-certificates-are-not-read",
        "gateway/engines/tls.py",
        "        if stamp != self._stamp:\n",
        "        if self._stamp is None:\n",
        (f"{_OF_TLS}::test_renewed_files_are_used_and_broken_ones_change_nothing",),
        "a gateway would be locked out when its certificate ends",
        quick=True,
    ),
    Named(
        "an-engine-that-says-its-base-is-not-understood",
        "gateway/engine_plugin/identity.py",
        '        app.add_route(PATH, _base, methods=["GET"])\n',
        "        app.get(PATH)(_base)\n",
        ("tests/gateway/engine_plugin/test_host.py::test_it_says_its_base",),
        "no engine with our plugin could join without a copy of its base in the gateway",
        quick=True,
    ),
    Named(
        "an-engine-that-joins-makes-the-gateway-unready",
        "gateway/fleet.py",
        "        waits = [reasons for reasons in told.values() if None not in reasons]\n",
        "        waits = list(told.values())\n",
        (
            "tests/gateway/discovery/test_follow.py"
            "::test_an_engine_that_joins_and_still_loads_leaves_the_gateway_ready",
        ),
        "adding an engine would take every gateway out of service at once",
    ),
    Named(
        "answers-behind-envoy-are-cut-off",
        "gateway/http/draining.py",
        "        await self._taking.stop(http.drain_seconds)\n",
        "        await self._taking.stop(5.0)\n",
        (
            "tests/gateway/http/test_leaving.py"
            "::test_what_is_under_way_behind_envoy_has_as_long_as_what_came_by_http",
        ),
        "each upgrade would break off every answer of more than five seconds",
    ),
    Named(
        "whoever-does-not-wait-waits-for-envoy",
        "gateway/http/draining.py",
        "        if at_once:\n",
        "        if False:\n",
        ("tests/gateway/http/test_leaving.py::test_whoever_does_not_wait_has_it_cut_off",),
        "a second Ctrl-C would do nothing for half a minute",
    ),
    Named(
        "the-picker-has-a-time-of-its-own",
        "gateway/picker/service.py",
        "            await self._server.stop(grace)\n",
        "            await self._server.stop(60.0)\n",
        (
            "tests/gateway/picker/test_session.py"
            "::test_a_request_that_is_under_way_has_the_time_that_it_is_given",
        ),
        "a gateway that has to end at once would not",
        quick=False,
    ),
    Named(
        "what-is-no-list-of-models-is-read-as-one",
        "gateway/engines/client.py",
        "suppress(ValueError, LookupError, TypeError):\n            models:",
        "suppress(ValueError, LookupError):\n            models:",
        (
            "tests/gateway/engines/test_told_apart.py"
            "::test_whoever_lists_no_models_is_down_and_disturbs_nobody",
        ),
        "another program on an engine's port would turn `/ready` of the whole gateway to 503",
        quick=False,
    ),
)
