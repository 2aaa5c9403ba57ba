"""A client with many jobs of many kinds, which notes the first value that it saw of each item, and that it stays.

`python -m tests.live.load ADDRESS FOLDER SEED JOBS SECONDS` makes a file `begun` in FOLDER once there are workers; opens jobs,
a few at a time, until it has had so many and there is a file `enough`; says "all" and what it had, as JSON; and leaves in
FOLDER what it saw of the jobs with a name. What isn't done after so many seconds it names, and exits with 1. `later ADDRESS FOLDER SECONDS` is another program, later,
which must find the same.
"""

import faulthandler
import functools
import hashlib
import json
import os
import pathlib
import random
import sys
import time
import uuid
from collections import Counter

import twistcluster as tc

OPEN = 6
"""Jobs at a time."""
MOST = 400
"""Jobs, however long it takes until there is enough."""
LARGE = 100_000
"""Bytes of a value that doesn't travel in a page."""
CRASHES = {"max_crashes": 50}
"""Slots are killed on purpose."""


# ---- items: each returns its number, a nonce, its process, and what can be checked ----------------------------------------


def small(x, seconds):
    time.sleep(seconds)
    return x, uuid.uuid4().hex, os.getpid(), x * x


def making(x, seconds):
    time.sleep(seconds)
    return x, uuid.uuid4().hex, os.getpid(), bytes([x % 256]) * LARGE


def taking(x, value):
    time.sleep(0.02)
    return x, uuid.uuid4().hex, os.getpid(), hashlib.sha256(value).hexdigest()


def following(before):
    time.sleep(0.02)
    return before[0], uuid.uuid4().hex, os.getpid(), before[1]


# ---- jobs ---------------------------------------------------------------------------------------------------------------


class Work:
    """One job, or a few submits.

    Args:
        kind: of it.
        futures: of its items.
        right: what the last part of an item's value has to be.
        job: None where they are submits.
        name: by which it is found later; empty: it isn't looked for.
    """

    def __init__(self, kind, futures, right, job=None, name=""):
        self.kind = kind
        self.futures = futures
        self.right = right
        self.job = job
        self.name = name
        self.first = {}
        """By item: what was seen first."""

    def over(self):
        return all(future.done() for future in self.futures)

    def look(self):
        """All that is there now is right, and what it was."""
        for i, future in enumerate(self.futures):
            if future.done() and future.exception() is None:
                self.see(i, future.result())

    def see(self, i, value):
        if i not in self.first:
            number, _, _, checked = value
            assert number == i, f"item {i} of {self} is {value}"
            assert checked == self.right(i), f"item {i} of {self} is wrong"
        print_ = digest(value)
        assert self.first.setdefault(i, print_) == print_, f"item {i} of {self} has changed: {value!r:.200}"

    def failures(self):
        return {i: error for i, future in enumerate(self.futures) if (error := future.exception()) is not None}

    def __repr__(self):
        done = sum(future.done() for future in self.futures)
        return f"{self.kind} {self.name} {done}/{len(self.futures)} {'' if self.job is None else self.job!r}"


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()


class Load:
    """All of it."""

    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.pick = random.Random(seed)
        self.works = []
        self.retried = 0
        self._kinds = [
            self.map,
            self.map,
            self.submits,
            self.named,
            self.kept,
            self.large,
            self.given,
            self.shared,
            self.chain,
        ]

    def open(self):
        kind = self._kinds[len(self.works) % len(self._kinds)]
        kind()

    def _add(self, kind, job, right, name=""):
        self.works.append(Work(kind, [job[i] for i in range(len(job))], right, job, name))
        return job

    def _small(self, kind, name=""):
        count, seconds = self.pick.randrange(10, 40), self.pick.choice([0.0, 0.01, 0.05])
        job = self.cluster.options(name=name, **CRASHES).map(small, range(count), [seconds] * count)
        return self._add(kind, job, lambda i: i * i, name)

    def map(self):
        self._small("map")

    def submits(self):
        submit = self.cluster.options(**CRASHES).submit if self.pick.random() < 0.5 else self.cluster.submit
        self.works.append(Work("submits", [submit(small, x, 0.01) for x in range(8)], lambda i: i * i))

    def named(self):
        self._small("named", f"named-{len(self.works)}")

    def _making(self, kind, name=""):
        count = self.pick.randrange(4, 12)
        job = self.cluster.options(name=name, **CRASHES).map(making, range(count), [0.05] * count)
        return self._add(kind, job, lambda i: bytes([i % 256]) * LARGE, name)

    def kept(self):
        self._making("kept", f"kept-{len(self.works)}").keep()

    def large(self):
        self._making("large")

    def given(self):
        values = [self.pick.randbytes(LARGE) for _ in range(4)]
        right = [hashlib.sha256(value).hexdigest() for value in values]
        self._add("given", self.cluster.options(**CRASHES).map(taking, range(4), values), right.__getitem__)

    def shared(self):
        value = self.pick.randbytes(2 * LARGE)
        right = hashlib.sha256(value).hexdigest()
        job = self.cluster.options(**CRASHES).map(taking, range(6), [self.cluster.put(value)] * 6)
        self._add("shared", job, lambda i: right)

    def chain(self):
        """Of the items that the second job was given, this program saw the same values."""
        first = self._small("first")
        nonces = functools.partial(self.nonce, first)
        self._add("following", self.cluster.options(**CRASHES).map(following, first), nonces)

    @staticmethod
    def nonce(job, i):
        return job[i].result()[1]

    # ---- until its end --------------------------------------------------------------------------------------------------

    def run(self, jobs, enough, deadline):
        looked = 0
        while not (len(self.works) >= jobs and enough() and all(work.over() for work in self.works)):
            if time.monotonic() > deadline:
                return False
            while len(self.works) < MOST and sum(not work.over() for work in self.works) < OPEN:
                if len(self.works) >= jobs and enough():
                    break
                self.open()
            for work in self.works:
                if not work.over():
                    work.look()
            self.works[looked % len(self.works)].look()
            looked += 1
            time.sleep(0.03)
        return True

    def retry(self, deadline):
        """What was on five workers when they were lost is suspected, with good reason."""
        for work in self.works:
            if failures := work.failures():
                kinds = {type(error) for error in failures.values()}
                assert kinds == {tc.WorkerLost} and work.job is not None, f"{work}: {failures!r:.2000}"
                self.retried += work.job.retry()
                work.futures = [work.job[i] for i in range(len(work.futures))]
                assert work.job.wait(max(0.0, deadline - time.monotonic())), f"tried again: {work}"

    def check(self):
        for work in self.works:
            work.look()
            assert len(work.first) == len(work.futures), f"{work}: {work.failures()!r:.2000}"
        values = [each for work in self.works for each in work.first.values()]
        assert len({*values}) == len(values), "two items have the same nonce"


def hung(cluster, works):
    print("HUNG:", *(f"  {work!r}" for work in works if not work.over()), sep="\n")
    print(repr(cluster), cluster.jobs(), cluster.workers(), cluster.status(), sep="\n")
    sys.exit(1)


def connect(address, seconds):
    """What takes much longer shows where it waits, and ends."""
    faulthandler.dump_traceback_later(seconds + 20.0, exit=True)
    return tc.connect(f"tls://{address}")


def main(address, folder, seed, jobs, seconds):
    deadline, folder = time.monotonic() + float(seconds), pathlib.Path(folder)
    cluster = connect(address, float(seconds))
    cluster.wait_for_workers(3, timeout=30.0)
    (folder / "begun").touch()
    load = Load(cluster, int(seed))
    began = time.monotonic()
    if not load.run(int(jobs), (folder / "enough").exists, deadline):
        hung(cluster, load.works)
    load.retry(deadline)
    load.check()
    had = Counter(work.kind for work in load.works)
    items = sum(len(work.futures) for work in load.works)
    (folder / "seen").write_text(json.dumps({work.name: work.first for work in load.works if work.name}))
    took = round(time.monotonic() - began, 1)
    print("all", json.dumps({"jobs": len(load.works), "items": items, "retried": load.retried, "s": took, **had}))
    cluster.close(wait=False)


def later(address, folder, seconds):
    cluster = connect(address, float(seconds))
    seen = json.loads((pathlib.Path(folder) / "seen").read_text())
    for name, first in seen.items():
        job = cluster.job(name)
        if not job.wait(float(seconds)):
            print("HUNG:", repr(job), cluster.status())
            sys.exit(1)
        now = {str(i): digest(value) for i, value in enumerate(job.results())}
        assert now == first, f"{name} is another: {[i for i in first if first[i] != now.get(i)]}"
    print("all", len(seen))
    cluster.close(wait=False)


if __name__ == "__main__":
    later(*sys.argv[2:]) if sys.argv[1] == "later" else main(*sys.argv[1:])
