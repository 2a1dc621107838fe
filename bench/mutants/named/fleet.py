"""The fleet: which engines there are, who joins, who leaves, and what is let go of."""

from __future__ import annotations

from bench.mutants.mutant import Named

_FOLLOW = "gateway/discovery/follow.py"
_KUBERNETES = "gateway/discovery/kubernetes.py"
_FILE = "gateway/discovery/file.py"
_OF_FOLLOW = "tests/gateway/discovery/test_follow.py"
_OF_FINDERS = "tests/gateway/discovery/test_finders.py"

NAMED = (
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
        "if self._has(engine.id):",
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
        "return {(host, port) for host in four} or",
        "return {(host, port) for host in four} |",
        (f"{_OF_FINDERS}::test_a_machine_of_two_families_is_one_engine",),
        "one engine would be asked for twice what it can do, and hold every adapter twice",
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
        "an-engine-that-is-silent-ends-the-look",
        _FOLLOW,
        "                self._say(url, error.message)\n                continue\n",
        "                self._say(url, error.message)\n                break\n",
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
)
