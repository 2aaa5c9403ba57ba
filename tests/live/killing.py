"""Clusters of real processes whose every process is killed and stopped at random moments, and what clients saw of them."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter

import psutil

import twistcluster as tc
from tests.live.conftest import runs
from tests.tools import until
from twistcluster.client.launch import find, running_clusters, start_local

NAME = "lab"
DEADLINE_S = 90.0

SIZES = [(0.0, 3000), (0.01, 300), (0.1, 40)]
"""Of the jobs of a round: seconds of an item, items."""

WEIGHTS = {"slot": 3, "worker": 2, "scheduler": 1, "cluster": 1}
"""How likely it is that one of a kind is next."""


def nonce(item):
    x, seconds = item
    time.sleep(seconds)
    return x, uuid.uuid4().hex, os.getpid()


class Processes:
    """What runs, by kind; each kind is started again where that is not the cluster's own business."""

    def __init__(self, folder):
        self._log = (folder / "log").open("ab")
        self.started = []

    def command(self, module, *arguments):
        code = f"from twistcluster.cli.{module} import main; main()"
        self.started.append(
            subprocess.Popen(
                [sys.executable, "-c", code, *arguments], stdout=self._log, stderr=self._log, start_new_session=True
            )
        )
        return self.started[-1]

    def connect(self):
        return tc.connect(NAME)

    def kinds(self):
        """By kind: the pids that there are now."""
        raise NotImplementedError

    def back(self):
        """Start again what was killed."""

    def end(self):
        """End all, those too that are stopped."""
        for child in self.started:
            if child.poll() is None:
                for pid in [*slots_of(child.pid), child.pid]:
                    send(pid, signal.SIGCONT)
                child.terminate()
        for child in self.started:
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._log.close()


class Standalone(Processes):
    """A scheduler, and two workers of two slots that joined it."""

    heads = ("scheduler",)

    def __init__(self, folder):
        super().__init__(folder)
        self._start()
        self._workers = [self._worker() for _ in range(2)]

    def _start(self):
        self._scheduler = child = self.command("main", "scheduler", "--name", NAME)
        until(lambda: child.poll() is not None or serves(child.pid), 30, "the scheduler")
        assert child.poll() is None, "the scheduler didn't start"

    def _worker(self):
        return self.command("worker", "--join", NAME, "--slots", "2")

    def kinds(self):
        workers = [worker.pid for worker in self._workers]
        slots = [slot for worker in workers for slot in slots_of(worker)]
        return {"scheduler": [self._scheduler.pid], "worker": workers, "slot": slots}

    def back(self):
        if self._scheduler.poll() is not None:
            self._start()
        for at, worker in enumerate(self._workers):
            if worker.poll() is not None:
                self._workers[at] = self._worker()


class Local(Processes):
    """A local cluster, one process with its slots, which comes back when somebody connects."""

    heads = ("cluster",)

    def __init__(self, folder):
        super().__init__(folder)
        self._pids = [start_local(NAME, 2).connection.pid]

    def kinds(self):
        return {"cluster": self._pids[-1:], "slot": slots_of(self._pids[-1])}

    def back(self):
        if not runs(self._pids[-1]):
            self._pids.append(find(NAME).pid)

    def end(self):
        for pid in self._pids[-1:]:
            for each in [*slots_of(pid), pid]:
                send(each, signal.SIGCONT)
            send(pid, signal.SIGTERM)
            until(lambda pid=pid: not runs(pid), 15, f"the end of {pid}")
        super().end()


def serves(pid):
    return any(each.pid == pid for each in running_clusters())


def slots_of(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children()
        return [child.pid for child in children if is_slot(child)]
    return []


def is_slot(process):
    with contextlib.suppress(psutil.Error):
        return "nodes.slot" in " ".join(process.cmdline())
    return False


def send(pid, what):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


class Witness:
    """Notes the first value that a client saw of each item, and that it stays."""

    def __init__(self):
        self.first = {}
        """By job and item."""

    def look(self, jobs):
        for name, job in jobs.items():
            for i in range(len(job)):
                future = job[i]
                if future.done() and future.exception() is None:
                    self.see((name, i), future.result())

    def see(self, at, value):
        before = self.first.setdefault(at, value)
        assert before == value, f"{at} was {before}, and is {value}"
        assert value[0] == at[1], f"{at} is {value}"


class Round:
    """Jobs of mixed sizes, and kills while they run."""

    def __init__(self, processes, seed, number=0):
        self.kills = Counter()
        """By kind of process."""
        self.stops = Counter()
        """The same of those that were stopped, and went on."""
        self._processes = processes
        self._pick = random.Random(seed)
        self._stopped = []
        """When each goes on: (time, pid)."""
        self._witness = Witness()
        self._number = number
        self._names = {}
        """Of the jobs: how many items each has."""
        self._jobs = {}
        self._cluster = processes.connect()
        self._open()

    def _open(self):
        """More to do."""
        for seconds, count in SIZES:
            name = f"{self._number}-{len(self._names)}"
            items = [(x, seconds) for x in range(count)]
            self._names[name] = count
            self._jobs[name] = self._cluster.options(name=name, max_crashes=50).map(nonce, items)

    def run(self, kills):
        try:
            while self.kills.total() < kills:
                pause = time.monotonic() + self._pick.uniform(0.02, 0.3)
                until(lambda: time.monotonic() > pause)
                self._go_on(time.monotonic())
                self._witness.look(self._jobs)
                if self._over():
                    self._open()
                self._trouble()
        finally:
            self._go_on(float("inf"))
        self._processes.back()
        self._end()

    def _over(self):
        return all(job.done() for job in self._jobs.values())

    def _trouble(self):
        kinds = {kind: pids for kind, pids in self._processes.kinds().items() if pids}
        stopped = {pid for _, pid in self._stopped}
        [kind] = self._pick.choices(list(kinds), [WEIGHTS[kind] for kind in kinds])
        pid = self._pick.choice(kinds[kind])
        if self._pick.random() < 0.25:
            if pid not in stopped and len(stopped) < 2:
                send(pid, signal.SIGSTOP)
                self._stopped.append((time.monotonic() + self._pick.uniform(0.1, 1.5), pid))
                self.stops[kind] += 1
            return
        self.kills[kind] += 1
        if kind not in self._processes.heads:
            send(pid, signal.SIGKILL)
            self._gone(pid)
            self._processes.back()
            return
        self._go_on(float("inf"))
        self._witness.look(self._jobs)
        slots = slots_of(pid)
        send(pid, signal.SIGKILL)
        self._gone(pid)
        self._processes.back()
        until(lambda: not any(map(runs, slots)), 15, "the end of its slots")

    def _gone(self, pid):
        for child in self._processes.started:
            if child.pid == pid:
                child.wait(60)
        until(lambda: not runs(pid), 15, f"the end of {pid}")

    def _go_on(self, now):
        for at, pid in self._stopped:
            if at <= now:
                send(pid, signal.SIGCONT)
        self._stopped = [each for each in self._stopped if each[0] > now]

    def _end(self):
        for name, job in self._jobs.items():
            assert job.wait(DEADLINE_S), (
                f"{name}: {job.progress()}\n{self._cluster.jobs()!r}\n{self._cluster.status()!r}"
            )
            errors = job.errors()
            if errors:  # What was on a worker five times when that was killed is suspected, with good reason.
                assert {type(each.error) for each in errors.values()} == {tc.WorkerLost}, errors
                job.retry()
                assert job.wait(DEADLINE_S), f"{name}: {job.progress()}"
        self._witness.look(self._jobs)
        later = self._processes.connect()
        for name, count in self._names.items():
            results = later.job(name).results()
            assert len(results) == count and len({nonce for _, nonce, _ in results}) == count
            for i, value in enumerate(results):
                self._witness.see((name, i), value)
        assert len(self._witness.first) == sum(self._names.values())
        later.close(wait=False)
        self._cluster.close(wait=False)
