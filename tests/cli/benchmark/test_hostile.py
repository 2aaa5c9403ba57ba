"""The strangers of the bench: what they say is wrong, and as many of them come as were called."""

import contextlib
import socket
import threading
import time

import pytest

from tests.tools import until
from twistcluster.cli.benchmark.hostile import SAYINGS, Strangers, hostile, p99, trips
from twistcluster.errors import ProtocolError
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import FrameDecoder
from twistcluster.wire.messages import Hello


@pytest.mark.parametrize("said", SAYINGS, ids=range(len(SAYINGS)))
def test_nothing_that_they_say_is_a_hello(said):
    decoder = FrameDecoder()
    with contextlib.suppress(ProtocolError):
        for frame in decoder.feed(said):
            with pytest.raises(ProtocolError):
                Codec(Hello).decode(frame)


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen(100)
        yield made


def test_as_many_come_as_were_called_at_their_pace(listener):
    heard = []

    def listen():
        for _ in range(30):
            with listener.accept()[0] as peer:
                heard.append(peer.recv(200_000))

    thread = threading.Thread(target=listen)
    thread.start()
    with Strangers(listener.getsockname()) as strangers:
        began = time.monotonic()
        for count in (10, 20):
            strangers.come(count)
            deadline = time.monotonic() + 10
            while not strangers.over():
                assert time.monotonic() < deadline
        assert time.monotonic() - began > (9 + 19) / 200
    thread.join(10)  # one says nothing and stays: it goes with the others
    assert not thread.is_alive()
    assert len(heard) == 30 and {said[:5] for said in heard} == {said[:5] for said in SAYINGS}


def test_without_a_socket_they_end_and_say_so(tmp_path, capfd):
    with Strangers(str(tmp_path / "nothing")) as strangers:
        strangers.come(1)
        with pytest.raises(RuntimeError, match="ended"):
            until(strangers.over)
    assert "FileNotFoundError" in capfd.readouterr().err


class Here:
    """An engine in this process."""

    def call(self, function, item):
        return function(item)


def test_trips_are_checked_and_there_is_at_least_one():
    times = []
    trips(Here(), times, lambda: len(times) < 3)
    trips(Here(), times, lambda: False)
    assert len(times) == 4
    with pytest.raises(ValueError, match="results"):
        trips(type("Wrong", (), {"call": lambda *_: 7})(), [], lambda: False)


def test_only_of_this_cluster():
    with pytest.raises(TypeError, match="only of this cluster"):
        hostile(Here(), 10, 1)


def test_p99():
    assert p99([1.0]) == 1.0
    assert p99([*range(200, 0, -1)]) == 199
