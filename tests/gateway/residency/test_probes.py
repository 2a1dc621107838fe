"""Which probes of a fingerprint are asked: few tokens, enough positions, every kind."""

from __future__ import annotations

import json
from math import log
from typing import Any

import pytest

from adapterworks.gateway.engines.engine import Probe
from adapterworks.gateway.residency.probes import (
    Expected,
    chosen,
    read_fingerprint,
    separation,
)

ADAPTER = [(1, log(0.75)), (2, log(0.25))]


def expected(kind: str, tokens: int, positions: int, apart: float = 1.0) -> Expected:
    """A probe whose adapter and base are so many nats apart at each position."""
    base = [(1, log(0.75) + apart), (2, log(0.25) - apart)]
    at = tuple(range(tokens - positions, tokens))
    probe = Probe(tuple(range(tokens)), at)
    return Expected(kind, probe, (ADAPTER,) * positions, (base,) * positions)


def test_a_row_and_what_is_cheapest_are_asked_in_their_order_until_there_are_enough() -> None:
    """As a build has them: six rows of the task, four of prose, six positions each."""
    rows = [expected("validation", tokens, 6) for tokens in (90, 60, 80, 55, 70, 65)]
    prose = [expected("general", tokens, 6) for tokens in (18, 17, 40, 16)]
    assert chosen([*rows, *prose]) == [rows[3], prose[0], prose[1], prose[3]]


def test_what_has_most_positions_for_its_tokens_is_cheapest() -> None:
    dear, cheap = expected("general", 20, 4), expected("general", 24, 8)
    row, short = expected("validation", 60, 6), expected("general", 16, 6)
    more = [expected("validation", tokens, 6) for tokens in (61, 62)]
    assert chosen([row, *more, dear, short, cheap]) == [row, dear, short, cheap]


@pytest.mark.parametrize(("positions", "asked"), [(12, 4), (6, 4), (5, 5), (3, 8), (2, 10)])
def test_positions_are_what_is_counted(positions: int, asked: int) -> None:
    """24 of them, and four probes whatever they have."""
    probes = [expected("validation", 30 + n, positions) for n in range(6)]
    probes += [expected("general", 20 + n, positions) for n in range(4)]
    assert len(chosen(probes)) == asked


def test_one_kind_alone_gives_what_it_has() -> None:
    probes = [expected("general", 20 + n, 2) for n in range(3)]
    assert chosen(probes) == probes
    many = [expected("general", 20 + n, 6) for n in range(9)]
    assert chosen(many) == many[:4]


@pytest.mark.parametrize(("apart", "asked"), [(0.0101, 4), (0.0099, 6)])
def test_an_adapter_that_is_hardly_told_from_its_base_is_judged_by_all(
    apart: float, asked: int
) -> None:
    """Five times the smallest separation of 0.002 nats."""
    near = [expected("general", 20 + n, 6, apart) for n in range(4)]
    far = [expected("general", 90 + n, 6) for n in range(2)]
    assert separation(near) == pytest.approx(apart)
    assert len(chosen([*near, *far])) == asked


def test_positions_are_put_in_order_and_each_is_asked_once() -> None:
    """A stranger's may stand in any order; answers come in that of the text."""
    other = [(1, log(0.5)), (2, log(0.5))]
    probe: dict[str, Any] = {
        "token_ids": [5, 6, 7, 8], "positions": [3, 1, 3], "adapter": [ADAPTER, other, other],
        "base": [other, ADAPTER, ADAPTER],
    }  # fmt: skip
    document = {"schema_version": 1, "base_digest": "sha256:b", "probes": [probe]}
    (one,) = read_fingerprint(json.dumps(document).encode()).probes
    assert one.probe == Probe((5, 6, 7, 8), (1, 3))
    assert one.adapter == (other, ADAPTER)
    assert one.base == (ADAPTER, other)


def test_a_probe_ends_with_its_last_position() -> None:
    """What follows changes nothing, and would be prefilled."""
    probe: dict[str, Any] = {
        "token_ids": [5, 6, 7, 8, 9, 10], "positions": [1, 3], "adapter": [ADAPTER] * 2,
        "base": [ADAPTER] * 2,
    }  # fmt: skip
    document = {"schema_version": 1, "base_digest": "sha256:b", "probes": [probe]}
    read = read_fingerprint(json.dumps(document).encode())
    assert read.template_digest is None
    assert read.base_digest == "sha256:b"
    (one,) = read.probes
    assert one.probe == Probe((5, 6, 7, 8), (1, 3))
    assert one.adapter == ([*ADAPTER], [*ADAPTER])
