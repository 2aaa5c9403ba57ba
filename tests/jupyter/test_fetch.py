"""Fetching full pictures."""

import queue
import threading

from twistcluster.jupyter.fetch import THREADS, Fetcher


def test_a_picture_comes_in_a_thread_of_its_own():
    come = queue.Queue()
    fetcher = Fetcher(lambda index: (threading.current_thread().name, b"%d" % index), come.put)
    fetcher.ask(7)
    index, where, data, error = come.get(timeout=10)
    assert (index, data, error) == (7, b"7", "") and where == "twistcluster full picture"


def test_why_there_is_none_is_told():
    come = queue.Queue()

    def full(index):
        raise (FileNotFoundError("no such file: a.jpg"), KeyboardInterrupt())[index]

    fetcher = Fetcher(full, come.put)
    for index, reason in ((0, "no such file: a.jpg"), (1, "KeyboardInterrupt")):
        fetcher.ask(index)
        assert come.get(timeout=10) == (index, "", b"", reason)


def test_one_that_hangs_keeps_no_other_from_coming_and_the_latest_wish_counts():
    come = queue.Queue()
    begun = queue.Queue()
    go = threading.Event()

    def full(index):
        begun.put(index)
        if index < THREADS:
            go.wait(30)
        return "image/png", b""

    fetcher = Fetcher(full, come.put)
    for index in range(THREADS):
        fetcher.ask(index)
        assert begun.get(timeout=10) == index
    for index in (10, 11, 12):
        fetcher.ask(index)
    go.set()
    came = {come.get(timeout=10)[0] for _ in range(THREADS + 1)}
    assert came == {*range(THREADS), 12}
