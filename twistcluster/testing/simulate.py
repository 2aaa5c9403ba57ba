"""What the scheduler costs: `python -m twistcluster.testing.simulate`.

Owns: a run of the real scheduler's machine with thousands of workers that only take leases and report them, on simulated
time, and the figures of it: CPU time inside the machine for each lease, item and heartbeat, and memory. Decoding, encoding and
sockets are not in these figures. Must not know: the machine's records.

A worker runs one item in each of its slots, together; each such round takes the given time, more or less by a tenth, and
ends in one report. So the reports of different workers soon come in no order at all.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from heapq import heappop, heappush
from pathlib import Path

from twistcluster.core.effects import Effect, Send
from twistcluster.core.scheduler import Identity, Scheduler
from twistcluster.wire.limits import PAGE_BYTES, PAGE_ITEMS
from twistcluster.wire.messages import (
    PROTOCOL,
    Context,
    Heartbeat,
    Hello,
    Lease,
    Message,
    OpenJob,
    Page,
    Released,
    Report,
    Results,
    Revoke,
)

__all__ = ["Comparison", "Figures", "LeaseSimulation", "compare", "main", "simulate"]

PYTHON = "3.11"
CLIENT = 0
SLICES = 10
BATCH = 32
"""Events that are given to the machine between two readings of the CPU clock, which costs as much as a small event."""
SPREAD = 0.1
CONTEXT = Context(b"c" * 16, b"b" * 16, "/")


@dataclass(frozen=True)
class Figures:
    """What a run cost."""

    items: int
    workers: int
    slots: int
    leases: int
    lease_us: float
    """CPU time inside the machine for a lease with all that belongs to it: reports, pages, results to the client."""
    item_us: float
    heartbeat_us: float
    """The same for a second in which a worker says nothing else: its heartbeat, the answer, and the vigil's look at it."""
    pending_mb: float
    """Memory for the job while it is pending."""
    peak_mb: float
    """Memory for workers and job at most, with the little that the simulation itself keeps of each."""
    busy_share: float
    """CPU time inside the machine over simulated time."""
    virtual_s: float
    ideal_s: float
    """items x seconds / slots."""


@dataclass(frozen=True)
class Comparison:
    """A large run beside small ones, in turns."""

    large: Figures
    small: Figures
    ratio: float
    """Cost of an item in the large run over that in the small ones: medians over slices of the same number of items."""


class LeaseSimulation:
    """One job on many workers, and the real scheduler's machine between them."""

    def __init__(self, *, items: int, slots: int, slots_per_worker: int, seconds: float, seed: int = 1) -> None:
        self.items = items
        self.slots = slots
        self.slots_per_worker = slots_per_worker
        self.seconds = seconds
        self.now = 0.0
        self.cpu_s = 0.0
        """Inside the machine."""
        self.leases = 0
        self.finished = 0
        self.pending_bytes = 0
        self.peak_bytes = 0
        self.heartbeat_us = 0.0
        self._random = random.Random(seed)
        self._due: list[tuple[float, int, int, Report | Released]] = []
        self._sequence = 0
        self._free_at: dict[int, float] = {}
        """When a worker's slots have run all that it was leased."""
        self._before_bytes = resident_bytes()
        identity = Identity(epoch="0", cluster="0", python=PYTHON, version="0", pid=0)
        self.scheduler = Scheduler(identity, now=0.0)
        self._next_tick = 0.0
        self._measured_at = 0.0
        self._measured_cpu_s = 0.0

    def open(self, page_bytes: int = PAGE_BYTES) -> None:
        """The client sends its job, then the workers join."""
        self._give([(CLIENT, CONTEXT), (CLIENT, OpenJob(0, [], CONTEXT.digest, count=self.items))])
        before = resident_bytes()
        for first in range(0, self.items, PAGE_ITEMS):
            count = min(PAGE_ITEMS, self.items - first)
            self._give([(CLIENT, Page(0, first, count, 0))], (b"x" * page_bytes,))
        self.pending_bytes = resident_bytes() - before
        for number in range(self.slots // self.slots_per_worker):
            peer = number + 1
            self._free_at[peer] = 0.0
            before_s = time.process_time()
            effects = self.scheduler.connected(peer, self._hello("worker", peer, self.slots_per_worker), 0.0)
            self.cpu_s += time.process_time() - before_s
            self._carry_out(effects)
        self._next_tick = self.scheduler.next_tick()
        self._measured_cpu_s = self.cpu_s

    def join(self) -> None:
        """The client joins, alone."""
        self._carry_out(self.scheduler.connected(CLIENT, self._hello("client", CLIENT, 0), 0.0))

    def advance(self, items: int) -> float:
        """Go on until that many more items are finished, or all; returns the CPU time inside the machine."""
        before_s, goal = self.cpu_s, min(self.items, self.finished + items)
        while self.finished < goal:
            self._give(self._next_batch())
        self.peak_bytes = max(self.peak_bytes, resident_bytes() - self._before_bytes)
        return self.cpu_s - before_s

    def rest(self, seconds: int = 10) -> None:
        """For some seconds no worker says anything but that it lives."""
        spent_s, beats = 0.0, 0
        for _ in range(seconds):
            self.now = max(self.now + 1.0, self.scheduler.next_tick())
            before_s = time.process_time()
            outcome = [self.scheduler.received(peer, Heartbeat(), (), self.now) for peer in self._free_at]
            self.scheduler.tick(self.now)
            spent_s += time.process_time() - before_s
            beats += len(outcome)
        self.heartbeat_us = spent_s / beats * 1e6 if beats else 0.0

    def figures(self, item_us: float | None = None) -> Figures:
        """What it cost up to now; `item_us` where it was measured better elsewhere."""
        item_us = self.cpu_s / self.finished * 1e6 if item_us is None else item_us
        return Figures(
            items=self.items,
            workers=len(self._free_at),
            slots=self.slots,
            leases=self.leases,
            lease_us=item_us * self.finished / self.leases,
            item_us=item_us,
            heartbeat_us=self.heartbeat_us,
            pending_mb=self.pending_bytes / 1e6,
            peak_mb=self.peak_bytes / 1e6,
            busy_share=self.cpu_s / self.now,
            virtual_s=self.now,
            ideal_s=self.items * self.seconds / self.slots,
        )

    def _hello(self, role: str, peer: int, slots: int) -> Hello:
        client = role == "client"
        return Hello(PROTOCOL, "client" if client else "worker", PYTHON, "0", f"{peer:032x}", 1, "h", peer, slots=slots)

    def _next_batch(self) -> list[tuple[int, Message]]:
        """Reports that are due next. None can cause another one among them: a round takes longer than they span."""
        due = self._due
        horizon = due[0][0] + self.seconds * (1 - SPREAD) / 2
        batch: list[tuple[int, Message]] = []
        while due and due[0][0] < horizon and len(batch) < BATCH:
            self.now, _, peer, report = heappop(due)
            batch.append((peer, report))
        return batch

    def _give(self, batch: Sequence[tuple[int, Message]], buffers: tuple[bytes, ...] = (b"results",)) -> None:
        received, now = self.scheduler.received, self.now
        outcome: list[list[Effect]] = []
        before_s = time.process_time()
        for peer, message in batch:
            outcome.append(received(peer, message, buffers, now))
        if now >= self._measured_at + 1.0:
            # As a node does: the machine makes its leases longer once it is more than half busy.
            self.scheduler.busy_share = (self.cpu_s - self._measured_cpu_s) / (now - self._measured_at)
            self._measured_at, self._measured_cpu_s = now, self.cpu_s
        if now >= self._next_tick:
            outcome.append(self.scheduler.tick(now))
            self._next_tick = self.scheduler.next_tick()
        self.cpu_s += time.process_time() - before_s
        for effects in outcome:
            self._carry_out(effects)

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                message = effect.message
                if isinstance(message, Lease):
                    self.leases += 1
                    self._run(effect.peer, message)
                elif isinstance(message, Results):
                    self.finished += message.count
                elif isinstance(message, Revoke):
                    self._sequence += 1
                    heappush(self._due, (self.now, self._sequence, effect.peer, Released(message.lease, 0, 0)))

    def _run(self, peer: int, lease: Lease) -> None:
        at = max(self.now, self._free_at[peer])
        for start in range(lease.start, lease.stop, self.slots_per_worker):
            count = min(self.slots_per_worker, lease.stop - start)
            seconds = self.seconds * (1 - SPREAD + 2 * SPREAD * self._random.random())
            at += seconds
            self._sequence += 1
            heappush(self._due, (at, self._sequence, peer, Report(lease.lease, start, count, 0, seconds * count)))
        self._free_at[peer] = at


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def opened(items: int, slots: int, slots_per_worker: int, seconds: float) -> LeaseSimulation:
    """A simulation whose job is about to run."""
    simulation = LeaseSimulation(items=items, slots=slots, slots_per_worker=slots_per_worker, seconds=seconds)
    simulation.join()
    simulation.open()
    return simulation


def simulate(*, items: int, slots: int, slots_per_worker: int, seconds: float) -> Figures:
    """Run one job to its end."""
    simulation = opened(items, slots, slots_per_worker, seconds)
    for _ in range(SLICES):
        simulation.advance(-(-items // SLICES))
    figures = simulation.figures()
    simulation.rest()
    return replace(figures, heartbeat_us=simulation.heartbeat_us)


def compare(*, items: int, slots: int, slots_per_worker: int, seconds: float) -> Comparison:
    """A job beside one of a tenth of its items on a tenth of its slots, in turns.

    A turn is a tenth of the large job, then a whole small one: the same number of items, a moment apart, so that whatever
    else the machine does meets both.
    """
    large = opened(items, slots, slots_per_worker, seconds)
    opening_s = large.cpu_s
    share = items // SLICES
    large_s: list[float] = []
    small_s: list[float] = []
    for _ in range(SLICES):
        large_s.append(opening_s / SLICES + large.advance(share))
        small = opened(share, slots // SLICES, slots_per_worker, seconds)
        small.advance(share)
        small_s.append(small.cpu_s)
    large_us = statistics.median(large_s) / share * 1e6
    small_us = statistics.median(small_s) / share * 1e6
    return Comparison(large.figures(large_us), small.figures(small_us), large_us / small_us)


def show(figures: Figures) -> None:
    """Print figures for people."""
    print(f"{figures.items:,} items on {figures.slots:,} slots of {figures.workers:,} workers")
    print(
        f"  scheduler   {figures.lease_us:.1f} us a lease, {figures.item_us:.2f} us an item, {figures.leases:,} leases"
    )
    if figures.heartbeat_us:
        share = figures.heartbeat_us * figures.workers / 1e6
        print(f"  idle        {figures.heartbeat_us:.1f} us a heartbeat, {share:.1%} of its time")
    print(f"  memory      {figures.pending_mb:.1f} MB for the pending job, {figures.peak_mb:.1f} MB at most in all")
    print(f"  duration    {figures.virtual_s:.2f} s simulated, {figures.ideal_s:.2f} s ideal")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a simulation and print its figures."""
    parser = argparse.ArgumentParser(
        prog="python -m twistcluster.testing.simulate",
        description="What the scheduler costs with thousands of workers.",
        epilog="example: python -m twistcluster.testing.simulate --slots 1600 --items 1000000",
    )
    parser.add_argument("--slots", type=int, default=16_000, help="of all workers (default %(default)s)")
    parser.add_argument("--slots-per-worker", type=int, default=4, help="(default %(default)s)")
    parser.add_argument("--items", type=int, default=10_000_000, help="(default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.1, help="that an item takes (default %(default)s)")
    parser.add_argument("--compare", action="store_true", help="beside a tenth of it on a tenth of the slots, in turns")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    size = {
        "items": options.items,
        "slots": options.slots,
        "slots_per_worker": options.slots_per_worker,
        "seconds": options.seconds,
    }
    result = compare(**size) if options.compare else simulate(**size)
    if options.json:
        print(json.dumps(asdict(result)))
    elif isinstance(result, Figures):
        show(result)
    else:
        show(result.large)
        show(result.small)
        print(f"cost of an item, large to small: {result.ratio:.2f}")


if __name__ == "__main__":
    main()
