"""How full the host's memory is, read from made-up files; and a worker that says so."""

import pytest
from twisted.internet.task import Clock

from tests.nodes.nodes import LiveWorker
from twistcluster.nodes.memory import LOOK_S, Memory, MemoryWatch, host_memory
from twistcluster.wire.messages import SlotsChanged

GIB = 1 << 30
MACHINE = Memory(6 * GIB, 24 * GIB)


class System:
    """A made-up /proc and /sys."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, path, text):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def machine(self, memory=MACHINE):
        total, free = memory.limit >> 10, (memory.limit - memory.used) >> 10
        self.write(
            "meminfo", f"MemTotal:       {total} kB\nMemFree:  1 kB\nMemAvailable:   {free} kB\nHugePages_Total: 0\n"
        )

    def v2(self, path, limit, used, cache=0):
        self.write("own", "0::/user/job\n")
        self.write(f"v2/{path}/memory.max", f"{limit}\n")
        self.write(f"v2/{path}/memory.current", f"{used}\n")
        self.write(f"v2/{path}/memory.stat", f"anon 1\nshmem 77\ninactive_file {cache}\nactive_file 5\n")

    def v1(self, path, limit, used, cache=0):
        self.write("own", "4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n")
        self.write(f"v1/{path}/memory.limit_in_bytes", f"{limit}\n")
        self.write(f"v1/{path}/memory.usage_in_bytes", f"{used}\n")
        self.write(f"v1/{path}/memory.stat", f"cache 1\ninactive_file 3\ntotal_inactive_file {cache}\n")

    def read(self):
        return host_memory(*(self.folder / each for each in ("meminfo", "own", "v2", "v1")))


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


def test_without_cgroups_it_is_the_machines(system):
    system.machine()
    assert system.read() == MACHINE


@pytest.mark.parametrize(
    "text", [None, "", "MemTotal: many kB\n", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemTotal: 5 kB\n"]
)
def test_where_nobody_says_it_is_not_known(system, text):
    if text is not None:
        system.write("meminfo", text)
    assert system.read() is None


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_a_cgroup_that_allows_less_counts_without_files_that_are_not_used_now(system, version):
    system.machine()
    path = "user/job" if version == "v2" else "docker/0123"
    getattr(system, version)(path, 4 * GIB, 3 * GIB, cache=GIB)
    assert system.read() == Memory(2 * GIB, 4 * GIB)


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_in_a_container_only_the_root_is_there(system, version):
    system.machine()
    getattr(system, version)(".", 4 * GIB, 3 * GIB)
    assert system.read() == Memory(3 * GIB, 4 * GIB)


def test_of_several_cgroups_the_fullest_counts(system):
    system.machine()
    system.v2("user/job", 8 * GIB, 2 * GIB)
    system.v2("user", 10 * GIB, 9 * GIB)
    system.v2(".", 4 * GIB, "nonsense")
    assert system.read() == Memory(9 * GIB, 10 * GIB)


@pytest.mark.parametrize(
    ("version", "limit"), [("v2", "max"), ("v2", 0), ("v1", 9223372036854771712), ("v1", 24 * GIB)]
)
def test_a_cgroup_that_allows_as_much_as_there_is_does_not_count(system, version, limit):
    system.machine()
    getattr(system, version)(".", limit, 3 * GIB)
    assert system.read() == MACHINE


def test_a_cgroup_counts_where_the_machine_says_nothing(system):
    system.v2("user/job", 4 * GIB, 3 * GIB)
    assert system.read() == Memory(3 * GIB, 4 * GIB)


def test_this_machine_says_something():
    memory = host_memory()
    assert memory is None or 0 < memory.used < memory.limit


def test_it_is_looked_at_each_second_until_the_end():
    clock, seen, told = Clock(), [], [MACHINE, None, Memory(1, 2)]
    watch = MemoryWatch(clock, lambda: told.pop(0), seen.append)
    watch.start()
    clock.pump([LOOK_S, LOOK_S])
    assert seen == [MACHINE, Memory(1, 2)]
    watch.stop()
    assert not clock.getDelayedCalls()
    watch.stop()


def test_a_worker_says_that_memory_is_short_and_that_it_is_not_any_more(tmp_path):
    memory = [Memory(95 * GIB, 100 * GIB)]
    live = LiveWorker(tmp_path, slots=1, memory=lambda: memory[-1])
    try:
        live.until(lambda: any("95% of 100.0 GiB" in told.short for told in live.said(SlotsChanged)))
        memory.append(Memory(50 * GIB, 100 * GIB))
        live.until(lambda: not live.said(SlotsChanged)[-1].short)
    finally:
        live.close()
