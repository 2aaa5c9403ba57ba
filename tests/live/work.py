"""What items do.

In a module of its own, which imports little: a slot that runs one of these imports its module, and what the tests' modules
import takes it half a second.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

LARGE = 200_000


def nonce(i):
    time.sleep(0.01)
    return i, uuid.uuid4().hex


def slow(i):
    time.sleep(0.02)
    return i + 1


def double(x):
    return x * 2


def mixed(i):
    time.sleep(0.01)
    if i % 10 == 3:
        raise ValueError(f"{i} ends in three")
    if i % 10 == 5:
        print("item", i)
    if i % 10 == 7:
        return bytes([i]) * LARGE
    return i, os.getpid(), time.monotonic_ns()


def slow_len(x):
    time.sleep(0.5)
    return len(x)


def wait_for(path):
    while not Path(path).exists():
        time.sleep(0.005)
    return path


def spin(started):
    Path(started).touch()
    while True:
        pass


def sleep(started):
    Path(started).touch()
    time.sleep(1000)


def long_call(started):
    import numpy as np

    Path(started).touch()
    while True:  # each call takes half a minute, and looks for no signal
        np.linalg.svd(np.random.default_rng(1).random((3000, 3000)))


def run_child(started):
    code = f"import pathlib, os, time; pathlib.Path({started!r}).write_text(str(os.getpid())); time.sleep(1000)"
    subprocess.run([sys.executable, "-c", code], check=True)


def leave_child(started):
    code = f"import pathlib, os, time; pathlib.Path({started!r}).write_text(str(os.getpid())); time.sleep(1000)"
    subprocess.Popen([sys.executable, "-c", code])
    while True:
        time.sleep(0.01)


def ignores(started):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path(started).touch()
    while True:
        time.sleep(0.01)


def swallows(started):
    while True:
        try:
            Path(started).touch()
            while True:
                time.sleep(0.01)
        except BaseException:
            pass


async def awaits(started):
    Path(started).touch()  # noqa: ASYNC240 (who waits for it isn't in this loop)
    await asyncio.gather(asyncio.sleep(1000), asyncio.sleep(2000))


def prints(started):
    Path(started).touch()
    while True:
        print("on and on")


def deadly(i):
    if i == 7:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(5)
    return i


class Deadly:
    """A batch function of which one item ends the process, with whoever it goes."""

    most_at_once = 64

    def prepare(self, item):
        return item

    def together(self, prepared):
        if 13 in prepared:
            os._exit(3)
        return [-item for item in prepared]

    def __call__(self, item):
        return self.together([item])[0]


class Company:
    """A batch function that says with how many each item went; a call takes a moment."""

    most_at_once = 64

    def prepare(self, item):
        if item == "bad":
            raise ValueError("it can't be opened")
        return item

    def together(self, prepared):
        time.sleep(0.01)
        return [(item, len(prepared)) for item in prepared]

    def __call__(self, item):
        return self.together([self.prepare(item)])[0]
