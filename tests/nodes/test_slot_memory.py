"""What a slot uses of memory, and what the kernel killed."""

import mmap
import os
import pathlib

import pytest

from twistcluster.nodes.slot_memory import OomKills, Used, memory_of

MIB = 1 << 20


def test_own_memory_grows_with_what_is_allocated_and_not_with_what_is_shared(tmp_path: pathlib.Path) -> None:
    before = memory_of(os.getpid())
    assert 0 < before.own <= before.peak
    file = tmp_path / "shared"
    file.write_bytes(b"x" * (64 * MIB))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        assert sum(mapped[::4096]) > 0
        assert memory_of(os.getpid()).own - before.own < 16 * MIB
    # Not from the heap: what tests before this one gave back may lie there still, counted as ours already.
    with mmap.mmap(-1, 64 * MIB, mmap.MAP_PRIVATE) as block:
        block[::4096] = bytes(64 * MIB // 4096)
        assert memory_of(os.getpid()).own - before.own > 48 * MIB


def test_a_process_that_is_gone_uses_nothing(tmp_path: pathlib.Path) -> None:
    assert memory_of(1 << 22) == Used(0, 0)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\tx\nState:\tZ (zombie)\n")
    assert memory_of(7, tmp_path) == Used(0, 0)


def test_what_was_swapped_out_counts(tmp_path: pathlib.Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text(
        "Name:\tx\nVmHWM:\t  900 kB\nRssAnon:\t  100 kB\nRssFile:\t 50 kB\nRssShmem:\t 70 kB\nVmSwap:\t  30 kB\n"
    )
    assert memory_of(7, tmp_path) == Used(130 << 10, 900 << 10)


class Kernel:
    """Where the kernel counts."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.own, self.v2, self.proc = folder / "cgroup", folder / "v2", folder / "proc"
        (self.v2 / "mine").mkdir(parents=True)
        self.proc.mkdir()
        self.own.write_text("0::/mine\n")

    def kills(self) -> OomKills:
        return OomKills(self.own, self.v2, self.proc)


@pytest.fixture
def kernel(tmp_path: pathlib.Path) -> Kernel:
    return Kernel(tmp_path)


def test_kills_in_our_cgroup_are_seen_once(kernel: Kernel) -> None:
    events, anywhere = kernel.v2 / "mine" / "memory.events", kernel.proc / "vmstat"
    events.write_text("low 0\nmax 5\noom 1\noom_kill 3\n")
    anywhere.write_text("oom_kill 9\n")
    kills = kernel.kills()
    assert not kills.more()
    anywhere.write_text("oom_kill 10\n")  # another container's
    assert not kills.more()
    events.write_text("oom_kill 4\n")
    assert kills.more() and not kills.more()


def test_without_a_cgroup_kills_anywhere_are_seen(kernel: Kernel) -> None:
    (kernel.proc / "vmstat").write_text("pgfault 3\noom_kill 9\n")
    kills = kernel.kills()
    (kernel.proc / "vmstat").write_text("pgfault 4\noom_kill 10\n")
    assert kills.more()


def test_where_nobody_counts_nothing_is_seen(kernel: Kernel) -> None:
    kills = kernel.kills()
    assert not kills.more()
