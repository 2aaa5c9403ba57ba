"""Interrupting items in a real slot: exactly the one that is meant, or none."""

import asyncio
import os
import pathlib
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.nodes.slots import ARGS, CALL, NONE, ONE, RealSlot, real_slot
from tests.tools import until
from twistcluster.nodes.slot_page import REACHED, RUNNING
from twistcluster.nodes.slot_stop import end_children


@pytest.fixture
def slot(tmp_path: pathlib.Path) -> Iterator[RealSlot]:
    with real_slot(tmp_path) as made:
        yield made


def begin(
    slot: RealSlot, function: Callable[..., Any], items: list[Any], shape: int = ONE, framed: bool = False
) -> int:
    """Have the slot run these; returns the ordinal of the first."""
    job = slot.job(function)
    slot.page(job, items, shape=shape, framed=framed)
    first = slot.ordinal
    slot.bite(job, 0, len(items))
    return first


def stop(slot: RealSlot, ordinal: int) -> dict[int, Any]:
    """Interrupt an item until the bite is through, as a worker does."""
    until(lambda: slot.words[RUNNING] == ordinal)
    slot.interrupt(ordinal)
    while not select.select([slot.link], [], [], 0.02)[
        0
    ]:  # it may have met a line of ours, just before the item's first
        slot.interrupt(ordinal)
    return slot.results()


# ---- who is met ------------------------------------------------------------------------------------------------------


def tiny(x: int) -> int:
    return x + 1


def short(x: int) -> int:
    for _ in range(x % 50):
        pass
    return x + 1


def other(x: int) -> Any:
    return [x + 1] if x % 3 else x + 1


async def coroutine(x: int) -> int:
    if x % 2:
        await asyncio.sleep(0)
    return x + 1


def prints(x: int) -> int:
    if x % 5 == 0:
        print(x)
    return x + 1


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("work", [tiny, short, other, coroutine, prints])
def test_an_interrupt_never_meets_another_item(slot: RealSlot, work: Callable[..., Any], framed: bool) -> None:
    """Hammered: whatever item the page names is interrupted, at any moment of its life and after it."""
    pick = random.Random(3)
    asked: set[int] = set()
    count, done, stopped = 50_000 if work is tiny else 3000, 0, 0
    deadline = time.monotonic() + 60
    while stopped < 10 and time.monotonic() < deadline:
        first = begin(slot, work, list(range(count)), framed=framed)
        while slot.words[REACHED] < first + count and time.monotonic() < deadline:
            ordinal = slot.words[RUNNING]
            if ordinal != NONE:
                asked.add(ordinal)
                if pick.random() < 0.5:
                    time.sleep(0)  # it may be another's turn by now
                slot.interrupt(ordinal)
            time.sleep(pick.choice([0, 0, 0.0001, 0.0005]))
        said, bite = slot.until_done()
        assert bite.reached == count
        found = slot.sorted_out(said)
        assert [*sorted(found)] == [*range(count)]
        for index, value in found.items():
            if isinstance(value, int | list):
                assert value in (index + 1, [index + 1])
                done += 1
            else:
                assert value.error.why == "stopped", value
                assert first + index in asked, "an item was interrupted that nobody meant"
                stopped += 1
    assert done and stopped >= 10, (done, stopped)


def test_an_interrupt_that_comes_between_items_meets_none(slot: RealSlot) -> None:
    slot.interrupt(0)
    slot.interrupt(NONE)
    assert slot.map(abs, [-1, -2]) == {0: 1, 1: 2}
    slot.interrupt(1)
    assert slot.map(abs, [-1, -2]) == {0: 1, 1: 2}


def test_a_signal_alone_meets_none(slot: RealSlot) -> None:
    begin(slot, time.sleep, [0.3])
    until(lambda: slot.words[RUNNING] == 0)
    os.kill(slot.process.pid, signal.SIGINT)
    assert slot.results() == {0: None}


# ---- where it is met -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [ONE, ARGS, CALL])
@pytest.mark.parametrize("framed", [False, True])
def test_c_code_that_we_call_ourselves(slot: RealSlot, shape: int, framed: bool) -> None:
    item: Any = {ONE: 1000, ARGS: (1000,), CALL: (0, (1000,), {})}[shape]
    short_item: Any = {ONE: 0, ARGS: (0,), CALL: (0, (0,), {})}[shape]
    first = begin(slot, time.sleep, [short_item, item, short_item], shape, framed)
    found = stop(slot, first + 1)
    assert (found[0], found[2]) == (None, None)
    assert found[1].error.why == "stopped"


def test_a_coroutine_leaves_nothing_in_the_loop(slot: RealSlot, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"

    async def beside() -> None:
        await asyncio.sleep(0.3)
        log.write_text("goes on")

    async def work(x: int) -> int:
        if x == 0:
            task = asyncio.ensure_future(beside())
            await asyncio.sleep(1000)
            await task
        await asyncio.sleep(0.6)
        return x

    found = stop(slot, begin(slot, work, [0, 1]))
    assert found[0].error.why == "stopped" and found[1] == 1
    assert not log.exists()


def test_what_an_interrupted_item_raises_counts_as_stopped(slot: RealSlot) -> None:
    def work(x: int) -> int:
        try:
            time.sleep(1000)
        except KeyboardInterrupt:
            raise ValueError("my own") from None
        return x

    assert stop(slot, begin(slot, work, [0]))[0].error.why == "stopped"


def test_it_can_clean_up_and_is_interrupted_again_after_a_second(slot: RealSlot) -> None:
    def work(x: int) -> list[str]:
        seen = []
        for _ in range(2):
            try:
                time.sleep(1000)
            except KeyboardInterrupt:
                seen.append("interrupted")
        return seen

    first = begin(slot, work, [0])
    until(lambda: slot.words[RUNNING] == first)
    began = time.monotonic()
    until(lambda: slot.interrupt(first) or slot.words[REACHED] > first)
    assert slot.results() == {0: ["interrupted"] * 2}
    assert time.monotonic() - began >= 0.9


def test_the_traceback_ends_where_the_item_was(slot: RealSlot) -> None:
    def inner() -> None:
        time.sleep(1000)

    def outer(x: int) -> None:
        inner()

    text = stop(slot, begin(slot, outer, [0]))[0].error.traceback
    assert text.index("in outer") < text.index("in inner") and "in interrupted" not in text


# ---- what it started -------------------------------------------------------------------------------------------------

SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]


def test_what_a_stopped_item_started_ends_and_what_others_left_stays(slot: RealSlot, tmp_path: pathlib.Path) -> None:
    pids = tmp_path / "pids"

    def leave(x: int) -> int:
        return subprocess.Popen(SLEEP).pid

    def work(x: int) -> None:
        forked = os.fork()
        if not forked:
            time.sleep(1000)
        pids.write_text(f"{forked} {subprocess.Popen(SLEEP).pid} ")
        time.sleep(1000)

    before = slot.map(leave, [0])[0]
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 0.2)  # children are told apart by when they started, to 50 ms
    first = begin(slot, work, [0])
    until(lambda: pids.exists() and pids.read_text().endswith(" "))
    assert stop(slot, first)[0].error.why == "stopped"
    assert not any(psutil.pid_exists(int(pid)) for pid in pids.read_text().split())
    assert psutil.pid_exists(before)
    slot.map(lambda pid: os.kill(pid, signal.SIGKILL), [before])


def test_children_of_other_groups_stay() -> None:
    child = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        end_children(1000.0) if os.getpgrp() == os.getpid() else None
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_forked_child_is_interrupted_like_any_program(slot: RealSlot) -> None:
    def work(x: int) -> int:
        ready, says = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(says, b".")
                time.sleep(1000)
            except KeyboardInterrupt:
                os._exit(7)
        assert os.read(ready, 1) == b"."
        os.kill(child, signal.SIGINT)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert slot.map(work, [0]) == {0: 7}
