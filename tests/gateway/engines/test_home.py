"""What is loaded before anybody asks is loaded where its requests will be sent."""

from __future__ import annotations

from adapterworks.gateway.engines.engine import Health
from tests.gateway.engines.test_pool import BASE, Idle, _pool, _target, see


def test_home_is_where_an_idle_pool_sends_a_digest() -> None:
    engines = [Idle(f"engine-{number}") for number in range(4)]
    pool = _pool(*engines)
    for number in range(50):
        target = _target(number)
        home = pool.home(BASE, target.digest or "")
        assert home is pool.route(target, see)
        assert home is pool.ranked(BASE, target.digest or "")[0]


def test_home_is_known_before_an_engine_is_ready_and_of_the_same_base() -> None:
    starting = [Idle(f"engine-{number}", state="starting") for number in range(4)]
    other = Idle("other", base="sha256:" + "c" * 64)
    pool = _pool(*starting, other)
    before = [pool.home(BASE, _target(number).digest or "") for number in range(50)]
    assert all(engine is not None and engine.id != "other" for engine in before)
    for engine in starting:
        engine.health = Health("ready", "for the test", 1)
    assert before == [pool.route(_target(number), see) for number in range(50)]
    assert pool.home("sha256:" + "d" * 64, "sha256:1") is None
