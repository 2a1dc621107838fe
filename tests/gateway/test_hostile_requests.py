"""Whatever is sent: no 5xx, nothing held, nobody dead, and the bill is the engine's count."""

from __future__ import annotations

import json

from bench.hostile_bodies import GOOD, generate
from bench.hostile_requests import run


def test_a_few_hundred_hostile_requests_change_nothing() -> None:
    for seed in range(7, 27):
        outcome = run(400, seed=seed, apart=False)
        assert outcome.failed == []
        assert outcome.held == []
        assert outcome.dead == []
        assert outcome.unmetered == []
        assert outcome.wrong == []
        assert outcome.negative == 0
        # Whether a client is seen to leave depends on who was faster; of some seed one is.
        if outcome.left:
            break
    assert outcome.left
    # Enough of them got as far as the engine for this to say something.
    assert len(outcome.answered) >= 50
    assert outcome.statuses[200] >= 50
    assert outcome.statuses[400] >= 100
    assert outcome.statuses[404] >= 5


def test_the_same_seed_sends_the_same() -> None:
    ours, again, other = (generate(seed, 300, ("m",)) for seed in (3, 3, 4))
    assert ours == again != other
    assert {hostile.path for hostile in ours} == set(GOOD)
    sound = 0
    for hostile in ours:
        try:
            sound += isinstance(json.loads(hostile.body), dict)
        except (ValueError, RecursionError):
            continue
    assert 100 < sound < 300
