"""Copies are made in order, some at a time, beside the reactor's thread."""

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twistcluster.nodes.copyist import Copyist
from twistcluster.storage.copies import Copied


class Threads:
    """A pool whose work is done when the test says so."""

    def __init__(self):
        self.work = []

    def callInThreadWithCallback(self, told, call, *args, **options):
        self.work.append((told, call, args, options))

    def run(self):
        (told, call, args, options), self.work = self.work[0], self.work[1:]
        try:
            result = call(*args, **options)
        except Exception:
            told(False, Failure())
        else:
            told(True, result)


class Reactor(Clock):
    def __init__(self):
        super().__init__()
        self.threads = Threads()

    def getThreadPool(self):
        return self.threads

    def callFromThread(self, call, *args, **options):
        call(*args, **options)


class Disk:
    def __init__(self):
        self.done = []
        self.broken = False

    def make(self, ids):
        if self.broken:
            raise RuntimeError("no such luck")
        self.done.append(("make", len(ids)))
        return Copied(ids, [], [])

    def remove(self, ids):
        self.done.append(("remove", len(ids)))


def names(first, count):
    return [number.to_bytes(16, "big") for number in range(first, first + count)]


def test_what_is_asked_for_is_done_in_order_and_told_bit_by_bit():
    reactor, disk, told = Reactor(), Disk(), []
    copyist = Copyist(reactor, disk, told.append)
    copyist.copy(names(0, 100))
    copyist.copy(names(100, 10))
    copyist.remove(names(0, 1))
    copyist.copy(names(110, 1))
    while reactor.threads.work:
        assert len(reactor.threads.work) == 1, "one at a time"
        reactor.threads.run()
    assert disk.done == [("make", 64), ("make", 46), ("remove", 1), ("make", 1)]
    assert [len(each.written) for each in told] == [64, 46, 1]


def test_a_fault_of_ours_is_told_and_the_next_goes_on():
    reactor, disk, told = Reactor(), Disk(), []
    copyist = Copyist(reactor, disk, told.append)
    disk.broken = True
    copyist.copy(names(0, 2))
    reactor.threads.run()
    assert told == [Copied([], [], names(0, 2), told[0].trouble)] and "no such luck" in told[0].trouble
    disk.broken = False
    copyist.copy(names(2, 1))
    reactor.threads.run()
    assert told[1].written == names(2, 1)
