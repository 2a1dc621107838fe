"""Memory that is promised to one build: others count without it as long as its holder lives."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.building import holding as measured
from adapterworks.builders.building import reservations as module
from adapterworks.builders.building.memory_queue import Waiter
from adapterworks.builders.building.reservations import Reservations
from adapterworks.builders.plan.machine import Card, Machine
from adapterworks.builders.plan.occupied import Occupied
from adapterworks.manifests.errors import Refused

MIB = 1 << 20


def machine(free: int = 1000, *, device: Any = "cpu", total: int = 1000) -> Callable[[], Machine]:
    """A machine with so many MiB, found out again each time."""
    return lambda: Machine(device, "test", free * MIB, "fp32", 2, total=total * MIB)


HELD_BY = measured.held_by


@pytest.fixture(autouse=True)
def holding(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many bytes this process has, as the module is told."""
    held = {"now": 50 * MIB}
    monkeypatch.setattr(measured, "held_by", lambda process: held["now"])
    return held


def test_what_is_reserved_is_not_free_for_others_until_it_is_let_go(tmp_path: Path) -> None:
    first, second = (Reservations(tmp_path, detect=machine()) for _ in range(2))
    assert first.machine().memory == 1000 * MIB
    with first.held(500 * MIB, "`one`"):
        assert second.machine() == machine(500)()
        with second.held(450 * MIB, "`two`"):  # nine tenths of what is left
            assert first.machine().memory == 50 * MIB
        with pytest.raises(Occupied) as caught, second.held(450 * MIB + 1, "`two`"):
            raise AssertionError
    assert caught.value.message.startswith(
        "`two` needs 0.44 GiB, and of this machine's 0.98 GiB now 0.49 GiB are free and 0.49 GiB "
        "are held by others: 0.49 GiB for `one` ("
    )
    assert second.machine().memory == 1000 * MIB
    with pytest.raises(ValueError, match="ends"), first.held(500 * MIB, "`one`"):
        raise ValueError("ends")
    assert second.machine().memory == 1000 * MIB


def test_what_a_holder_has_taken_is_counted_once(tmp_path: Path, holding: dict[str, int]) -> None:
    """Free memory is less by it already."""
    with Reservations(tmp_path, detect=machine()).held(500 * MIB, "`one`"):
        for taken, free, left in (
            (0, 1000, 500),
            (200, 800, 500),
            (500, 500, 500),
            (600, 400, 400),
        ):
            holding["now"] = (50 + taken) * MIB
            assert Reservations(tmp_path, detect=machine(free)).machine().memory == left * MIB
        holding["now"] = 0  # it holds less than when it began
        assert Reservations(tmp_path, detect=machine()).machine().memory == 500 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells shared memory apart")
def test_what_a_holder_maps_of_a_file_is_not_taken(tmp_path: Path) -> None:
    path, size = tmp_path / "weights", 64 * MIB
    path.write_bytes(b"x" * size)
    before = HELD_BY(os.getpid())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[::4096]) == ord("x") * size // 4096
        assert HELD_BY(os.getpid()) - before < size / 2
        # Not of the heap, which may have as much left over.
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as own:
            own.write(mapped)
            assert HELD_BY(os.getpid()) - before > size / 2


def test_a_cards_memory_is_another_and_counted_whole(
    tmp_path: Path, holding: dict[str, int]
) -> None:
    with Reservations(tmp_path, detect=machine(device="cuda")).held(500 * MIB, "`one`"):
        holding["now"] = 900 * MIB
        assert Reservations(tmp_path, detect=machine()).machine().memory == 1000 * MIB
        assert Reservations(tmp_path, detect=machine(device="cuda")).machine().memory == 500 * MIB


CARDS = ("GPU-a", "GPU-b")


def cards(*free: int, names: tuple[str, ...] = CARDS) -> Callable[[], Machine]:
    """Two cards of 1,000 MiB, with so many free."""
    each = tuple(Card(name, size * MIB) for name, size in zip(names, free, strict=True))
    most = max(free) * MIB
    return lambda: Machine("cuda", "test", most, "bf16", 2, 2, 1000 * MIB, each)


@pytest.fixture
def on_cards(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many bytes this process holds of each card, as the driver says."""
    held: dict[str, int] = {}
    monkeypatch.setattr(measured, "held_of_cards", lambda process: held)
    return held


def test_two_builds_take_a_card_each(tmp_path: Path, on_cards: dict[str, int]) -> None:
    """Not both the first one, with the other idle."""
    first, second = (Reservations(tmp_path, detect=cards(900, 1000)) for _ in range(2))
    with first.held(600 * MIB, "`one`") as one, second.held(600 * MIB, "`two`") as other:
        assert (one, other) == (("GPU-b",), ("GPU-a",))
        left = Reservations(tmp_path, detect=cards(900, 1000)).machine()
        assert [card.free // MIB for card in left.each] == [300, 400]
        assert left.memory == 400 * MIB
        with pytest.raises(Occupied), first.held(600 * MIB, "`three`"):
            raise AssertionError


def test_what_a_build_has_taken_of_its_card_is_counted_once(
    tmp_path: Path, on_cards: dict[str, int]
) -> None:
    """Two that fit one card run side by side on it: free memory is less by the first's already."""
    with Reservations(tmp_path, detect=cards(0, 1000)).held(500 * MIB, "`one`"):
        for taken, free, left in (
            (0, 1000, 500),
            (200, 800, 500),
            (500, 500, 500),
            (600, 400, 400),
        ):
            on_cards["GPU-b"] = taken * MIB
            here = Reservations(tmp_path, detect=cards(0, free))
            assert here.machine().memory == left * MIB
        with here.held(300 * MIB, "`two`") as also:
            assert also == ("GPU-b",)


def test_several_cards_are_those_with_most_room_and_each_is_reserved(
    tmp_path: Path, on_cards: dict[str, int]
) -> None:
    here = Reservations(tmp_path, detect=cards(700, 1000))
    with here.held(600 * MIB, "`one`", 2) as both:
        assert both == ("GPU-b", "GPU-a")
        assert [card.free // MIB for card in here.machine().each] == [100, 400]
    with pytest.raises(Occupied) as caught, here.held(700 * MIB, "`one`", 2):
        raise AssertionError
    assert "now 0.68 GiB are free" in caught.value.message
    with here.held(600 * MIB, "`one`", first=True) as own:
        assert own == ("GPU-a",)


def test_cards_that_nobody_can_name_are_counted_whole_and_not_chosen(
    tmp_path: Path, on_cards: dict[str, int]
) -> None:
    here = Reservations(tmp_path, detect=cards(1000, 1000, names=("", "")))
    with here.held(600 * MIB, "`one`") as none:
        on_cards[""] = 600 * MIB
        assert none == ()
        assert [card.free // MIB for card in here.machine().each] == [400, 400]


def test_what_a_card_will_have_when_builds_end_is_waited_for(
    tmp_path: Path, on_cards: dict[str, int]
) -> None:
    """One that needs more than is free now, and less than a card has, becomes the first in line."""
    on_cards["GPU-a"] = 600 * MIB
    with Reservations(tmp_path, detect=cards(1000, 100)).held(600 * MIB, "`one`"):
        waits = Reservations(
            tmp_path, detect=cards(400, 100), waiter=Waiter("two", 0.0), now=lambda: 700.0
        )
        with (
            pytest.raises(Occupied) as caught,
            waits.waiting("`two`"),
            waits.held(700 * MIB, "`two`"),
        ):
            raise AssertionError
        assert caught.value.wait is not None
        assert caught.value.wait.first
        after = Reservations(
            tmp_path, detect=cards(400, 100), waiter=Waiter("three", 1.0), now=lambda: 700.0
        )
        assert after.machine().memory == 100 * MIB, "what is left of the first card is kept"


def test_what_can_never_fit_is_not_waited_for(tmp_path: Path) -> None:
    here = Reservations(tmp_path, detect=machine(10))
    with pytest.raises(Occupied), here.held(900 * MIB, "`one`"):
        raise AssertionError
    with pytest.raises(Refused, match="as it was begun"), here.held(900 * MIB + 1, "`one`"):
        raise AssertionError
    with pytest.raises(Refused):  # it has left nothing behind
        here.held(901 * MIB, "`one`").__enter__()
    assert here.machine().memory == 10 * MIB


def test_another_machine_of_a_shared_home_has_its_own_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Reservations(tmp_path, detect=machine()).held(900 * MIB, "`one`"):
        monkeypatch.setattr(module.socket, "gethostname", lambda: "another")
        assert Reservations(tmp_path, detect=machine()).machine().memory == 1000 * MIB


HOLD = """
import sys
from pathlib import Path
from adapterworks.builders.building.reservations import Reservations
from adapterworks.builders.plan.machine import Machine
size = int(sys.argv[2])
machine = lambda: Machine("cpu", "test", 2 * size, "fp32", 2)
with Reservations(Path(sys.argv[1]), detect=machine).held(size, "`one`"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_build_had_reserved_is_nobodys(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", HOLD, str(tmp_path), str(500 * MIB)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        here = Reservations(tmp_path, detect=machine())
        assert here.machine().memory < 600 * MIB
        holder.kill()
    assert here.machine().memory == 1000 * MIB
    assert not list(tmp_path.rglob("*.json"))


def _reserve(home: Path, begin: Any, told: Any, end: Any) -> None:
    """Try once, with all the others; hold until everybody has tried."""
    begin.wait()
    try:
        with Reservations(home, detect=machine()).held(600 * MIB, "`one`"):
            told.put("has it")
            end.wait()
    except Occupied:
        told.put("waits")


def test_two_that_begin_at_once_do_not_both_count_on_the_same_memory(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    many = 6
    for turn in range(5):
        begin, told, end = context.Barrier(many), context.Queue(), context.Event()
        given = (tmp_path / str(turn), begin, told, end)
        workers = [context.Process(target=_reserve, args=given) for _ in range(many)]
        for worker in workers:
            worker.start()
        said = sorted(told.get(timeout=60) for _ in workers)
        end.set()
        for worker in workers:
            worker.join()
        assert said == ["has it"] + ["waits"] * (many - 1)
