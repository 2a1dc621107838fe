"""Defects in what a platform asks its containers: whose requests they are, and what is counted."""

from __future__ import annotations

from bench.mutants.mutant import Named

_TESTS = "tests/gateway/http/test_container.py"
_ROUTES = "gateway/http/routes/container.py"
_INSTANCES = "gateway/request/instances.py"

NAMED = (
    Named(
        "all-instances-are-metered-as-one",
        _ROUTES,
        'request_id=f"{whole.request_id}-{number}"',
        "request_id=whole.request_id",
        (f"{_TESTS}::test_vertex_predicts_each_instance_as_a_request",),
        "a body of 128 instances would be paid once",
    ),
    Named(
        "a-platforms-caller-brings-its-own-key",
        _ROUTES,
        "if gateway.container_key is None or gateway.tenants is None:",
        'if gateway.container_key is None or "x-api-key" in request.headers:',
        (f"{_TESTS}::test_the_platforms_key_reaches_its_own_adapters_alone",),
        "who may ask the platform could ask for another tenant's adapters",
    ),
    Named(
        "a-platforms-path-is-laid-over-ours",
        _ROUTES,
        "    for path in {contract.health} - _HEALTH | {contract.predict}:",
        "    for path in ():",
        (f"{_TESTS}::test_the_gateways_own_paths_are_not_given_away",),
        "a route of the platform would answer in place of `/v1/chat/completions`, without its keys",
    ),
    Named(
        "parameters-come-before-the-instance",
        _INSTANCES,
        "{**(parameters or {}), **instance}",
        "{**instance, **(parameters or {})}",
        (f"{_TESTS}::test_vertex_predicts_each_instance_as_a_request",),
        "what one instance says for itself would be lost",
    ),
    Named(
        "instances-go-on-without-their-caller",
        _INSTANCES,
        "        self._gone.set()\n",
        "        pass\n",
        (f"{_TESTS}::test_a_caller_that_leaves_ends_every_instance",),
        "an engine would work for a caller that is gone",
    ),
)
