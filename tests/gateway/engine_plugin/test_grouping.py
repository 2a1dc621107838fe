"""Every row with an adapter is in exactly one group, whatever the mix of rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapterworks.gateway.engine_plugin.grouping import LONG, Rows, group_rows


@given(
    st.lists(st.tuples(st.integers(-1, 5), st.integers(1, 2 * LONG)), min_size=0, max_size=12).map(
        lambda runs: [slot for slot, length in runs for _ in range(length)]
    )
)
def test_rows_are_partitioned_by_slot(slots: list[int]) -> None:
    groups = group_rows(slots)
    seen = [(run.slot, row) for run in groups.runs for row in range(run.start, run.stop)]
    seen += [(m.slot, row) for m in (*groups.scattered, *groups.few) for row in m.rows]
    assert sorted(seen) == sorted((slot, row) for row, slot in enumerate(slots) if slot >= 0)
    assert all(len(m.rows) < LONG for m in groups.few)
    assert all(len(m.rows) >= LONG for m in groups.scattered)
    assert groups.empty == all(slot < 0 for slot in slots)


def test_prefill_is_one_run_and_decode_is_few_rows_each() -> None:
    assert [(r.start, r.stop) for r in group_rows([3] * 850).runs] == [(0, 850)]
    decode = group_rows([2, 0, -1, 1])
    assert [m.slot for m in decode.few] == [0, 1, 2]
    assert not decode.runs


def test_one_adapter_with_few_rows_is_no_product_of_its_own() -> None:
    groups = group_rows([-1, 4, 4, -1])
    assert groups.few == (Rows(4, (1, 2)),)
    assert not groups.runs
