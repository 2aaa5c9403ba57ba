"""What goes wrong on a network and on the hosts at it: cables, packets, killed processes, in an order that a seed names."""

import random
import signal
import time
from collections import Counter

from tests.live.killing import send, slots_of
from tests.tools import until

PLAN = {
    "cut worker": 5,
    "cut client": 3,
    "cut scheduler": 1,
    "loss": 4,
    "kill slot": 5,
    "kill worker": 3,
    "kill scheduler": 2,
    "move worker": 1,
}
"""How often each happens."""


class Troubles:
    """Of one cluster (networks.Cluster), one after the other; what ends by itself ends while others go on.

    Args:
        cluster: whose.
        seed: of their order, hosts and lengths. (What is killed at which moment of its life is the machine's choice.)
        longest_s: for how long a cable is out, at most.
    """

    def __init__(self, cluster, seed, longest_s=6.0):
        self.had = Counter()
        self._cluster = cluster
        self._pick = random.Random(seed)
        self._longest_s = longest_s
        self._plan = list(Counter(PLAN).elements())
        self._pick.shuffle(self._plan)
        self._ends = {}
        """By what is wrong: when it ends, and how."""
        self._next = time.monotonic()

    def go_on(self):
        """What is due. False: there was all of the plan, and all is well."""
        now = time.monotonic()
        for what, (at, end) in list(self._ends.items()):
            if at <= now:
                del self._ends[what]
                end()
        if self._plan and self._next <= now:
            self._begin(self._plan.pop())
            self._next = time.monotonic() + self._pick.uniform(0.3, 1.2)
        return bool(self._plan or self._ends)

    def _begin(self, what):
        kind, _, of = what.partition(" ")
        getattr(self, f"_{kind}")(of)
        self.had[what] += 1

    def _host(self, of):
        return {"client": self._cluster.laptop, "scheduler": self._cluster.scheduler}.get(of) or self._pick.choice(
            self._cluster.workers
        )

    def _cut(self, of):
        host = self._host(of)
        host.cut()
        self._until(f"cut {host.name}", self._pick.uniform(0.5, self._longest_s), host.heal)

    def _move(self, of):
        self._host(of).move(self._pick.randrange(100, 250))

    def _loss(self, _of):
        host = self._host(self._pick.choice(["client", "scheduler", "worker"]))
        host.lose(self._pick.uniform(0.02, 0.15))
        self._until(f"loss {host.name}", self._pick.uniform(2.0, 6.0), host.lose_none)

    def _until(self, what, seconds, end):
        """The same again makes it longer."""
        self._ends[what] = time.monotonic() + seconds, end

    def _kill(self, what):
        if what == "scheduler":
            killed(self._cluster.process)
            self._cluster.start_scheduler()
            return
        host = self._host("worker")
        process = self._cluster.processes[host]
        if what == "worker":
            killed(process)
            self._cluster.start_worker(host)
        elif slots := slots_of(process.pid):
            send(slots[0], signal.SIGKILL)
        else:  # a worker has none while it looks for its scheduler
            self._plan.insert(0, "kill slot")
            self.had["kill slot"] -= 1


def killed(process):
    process.kill()
    until(lambda: process.poll() is not None, 15, f"the end of {process.pid}")
