"""The line of those who wait for memory: a large build is passed for a while, and not for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.building import holding
from adapterworks.builders.building.memory_queue import LOOK_S, MOST_PASSED, PATIENCE_S, Waiter
from adapterworks.builders.building.reservations import Reservations
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.occupied import Occupied
from adapterworks.manifests.errors import Refused

MIB = 1 << 20
LARGE, SMALL = 600, 300
KEPT = "are kept, as it has waited for long"


class Place:
    """A machine of 1000 MiB and a clock."""

    def __init__(self, home: Path) -> None:
        self.home, self.clock, self.engine = home, 1000.0, 0
        self.known: dict[str, bool] = {}

    def machine(self) -> Machine:
        free = (1000 - self.engine) * MIB
        return Machine("cpu", "test", free, "fp32", 2, total=1000 * MIB)

    def reservations(self, waiter: Waiter | None = None) -> Reservations:
        return Reservations(
            self.home,
            detect=self.machine,
            waiter=waiter,
            now=lambda: self.clock,
            standing=lambda ids: {id_: self.known[id_] for id_ in ids if id_ in self.known},
        )

    @contextmanager
    def build(self, size: int, waiter: Waiter | None = None) -> Iterator[None]:
        """A build as `run_build` does it."""
        who, what = self.reservations(waiter), f"`{waiter.id if waiter else 'somebody'}`"
        with who.waiting(what), who.held(size * MIB, what):
            yield

    def refused(self, size: int, waiter: Waiter | None = None) -> Occupied:
        with pytest.raises(Occupied) as caught, self.build(size, waiter):
            raise AssertionError("there was room")
        return caught.value

    def free(self, waiter: Waiter | None = None) -> int:
        return self.reservations(waiter).machine().memory // MIB


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(holding, "held_by", lambda process: 0)
    return Place(tmp_path)


def test_who_has_waited_for_long_is_first_and_nobody_before_that(place: Place) -> None:
    large, began = Waiter("large", place.clock), place.clock
    with place.build(500):
        told = place.refused(LARGE, large)
        assert told.wait is not None
        assert (told.wait.since, told.wait.passed, told.wait.first) == (began, 0, False)
        assert "wait" not in told.public
        place.clock += PATIENCE_S - 1
        with place.build(SMALL):  # it is passed
            assert place.free(large) == 200
        told = place.refused(LARGE, large)
        assert told.wait is not None
        assert (told.wait.passed, told.wait.first) == (1, False)
        place.clock += 1
        behind = place.refused(SMALL)
        assert behind.message.endswith(f"0.65 GiB for `large` (large) {KEPT}")
        told = place.refused(LARGE, large)
        assert told.wait is not None
        assert told.wait.first
        assert told.public.endswith("it has waited for so long that smaller ones wait for it now")
        assert place.free() == 0
        assert place.free(large) == 500
    # There is room for both, but for one that came later only beside what is kept.
    assert place.free() == 1000 - 667
    assert place.refused(301).size == 301 * MIB
    with place.build(299), place.build(LARGE, large):
        assert place.free() == 101  # it stands in line no more
    with place.build(700):
        pass


def test_one_that_was_passed_often_is_first_too(place: Place) -> None:
    large = Waiter("large", place.clock)
    with place.build(500):
        for number in range(MOST_PASSED):
            told = place.refused(LARGE, large)
            assert told.wait is not None
            assert (told.wait.passed, told.wait.first) == (number, False)
            with place.build(100):
                pass
        place.refused(100)
        told = place.refused(LARGE, large)
        assert told.wait is not None
        assert told.wait.first


def test_small_ones_without_end_do_not_keep_a_large_one_waiting(place: Place) -> None:
    """Every minute a small build of 90 seconds comes: without a line 600 are never free."""
    large, running = Waiter("large", place.clock), list[tuple[float, ExitStack]]()
    began = place.clock
    running.append((began + 90.0, ExitStack()))
    running[0][1].enter_context(place.build(400))
    for _minute in range(60):
        place.clock += 60.0
        for ends, build in running:
            if ends <= place.clock:
                build.close()
        running = [(ends, build) for ends, build in running if ends > place.clock]
        try:
            with place.build(LARGE, large):
                break
        except Occupied:
            pass
        small = ExitStack()
        try:
            small.enter_context(place.build(400))
        except Occupied:
            continue
        running.append((place.clock + 90.0, small))
    else:
        raise AssertionError("it has never begun")
    # A small one began in each minute until it had been passed often enough.
    assert MOST_PASSED * 60 < place.clock - began <= PATIENCE_S
    for _, build in running:
        build.close()


def test_what_an_engine_holds_is_no_reason_to_keep_others_waiting(place: Place) -> None:
    """It may hold it for ever; what only builds hold comes back."""
    place.engine = 500
    large = Waiter("large", place.clock)
    place.refused(LARGE, large)
    place.clock += PATIENCE_S
    told = place.refused(LARGE, large)
    assert told.wait is not None
    assert not told.wait.first
    with place.build(400):
        pass
    place.engine = 200
    place.refused(400)


@pytest.mark.parametrize(
    ("waited", "until"), [(0.0, 660.0), (PATIENCE_S, 4 * LOOK_S)], ids=["others", "first"]
)
def test_who_does_not_come_back_is_forgotten(place: Place, waited: float, until: float) -> None:
    large = Waiter("large", place.clock - waited)
    with place.build(500):
        place.refused(LARGE, large)
    place.clock += until - 1
    assert place.free() == 1000 - 667
    place.clock += 1
    assert place.free() == 1000
    assert not list(place.home.rglob("waiting/*"))


@pytest.mark.parametrize("waited", [0.0, PATIENCE_S])
def test_who_waits_no_more_keeps_nothing(place: Place, waited: float) -> None:
    large = Waiter("large", place.clock - waited)
    with place.build(500):
        place.refused(LARGE, large)
    place.clock += PATIENCE_S - waited + 1
    assert place.free() == 1000 - 667
    place.known["large"] = False
    assert place.free() == 1000
    assert not list(place.home.rglob("waiting/*"))


def test_who_still_waits_keeps_its_place_while_all_workers_are_busy(place: Place) -> None:
    large = Waiter("large", place.clock - PATIENCE_S)
    with place.build(500):
        place.refused(LARGE, large)
        place.known["large"] = True
        place.clock += 5 * 3600.0
        place.refused(SMALL)
    assert place.free() == 1000 - 667
    place.clock += 2 * 3600.0  # no worker is there any more
    assert place.free() == 1000


def test_those_who_wait_begin_in_the_order_of_their_coming(place: Place) -> None:
    first, second = Waiter("b", place.clock), Waiter("a", place.clock + 1)
    with place.build(700):
        place.refused(LARGE, second)
        place.refused(LARGE, first)
        place.clock += PATIENCE_S + 1
        behind = place.refused(LARGE, second)
        assert behind.wait is not None
        assert not behind.wait.first
        assert behind.public.endswith("one that has waited for longer is to begin first")
        assert place.refused(SMALL).message.count(" for `") == 3  # the build, and both of them
    place.refused(LARGE, second)
    with place.build(LARGE, first):
        told = place.refused(LARGE, second)
        assert told.wait is not None
        assert (told.wait.first, told.wait.passed) == (True, 0)
    with place.build(LARGE, second):
        pass


@pytest.mark.parametrize("error", [Refused, KeyboardInterrupt])
def test_who_ends_otherwise_stands_in_line_no_more(place: Place, error: Any) -> None:
    large = Waiter("large", place.clock - PATIENCE_S)
    with place.build(500):
        place.refused(LARGE, large)
        place.refused(SMALL)
    with pytest.raises(error), place.reservations(large).waiting("`large`"):
        raise error("ends")
    assert place.free() == 1000


def test_one_that_waits_is_not_prepared_again_before_there_is_room(place: Place) -> None:
    large, prepared = Waiter("large", place.clock), list[float]()

    def build(prepare: Callable[[], object]) -> None:
        who = place.reservations(large)
        with who.waiting("`large`"):
            prepare()
            with who.held(LARGE * MIB, "`large`"):
                pass

    with place.build(500):
        for _ in range(3):
            with pytest.raises(Occupied) as caught:
                build(lambda: prepared.append(place.clock))
            assert caught.value.needs == "`large` needs 0.59 GiB"
    assert len(prepared) == 1
    build(lambda: prepared.append(place.clock))
    assert len(prepared) == 2


def test_a_place_that_was_cut_off_is_nobodys(place: Place) -> None:
    large = Waiter("large", place.clock - PATIENCE_S)
    with place.build(500):
        place.refused(LARGE, large)
    (path,) = place.home.rglob("waiting/*.json")
    path.write_text(path.read_text()[:-9])
    assert place.free() == 1000
