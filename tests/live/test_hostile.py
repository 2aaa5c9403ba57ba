"""What strangers may try on a cluster's socket, in both forms: it costs them their connection, and nobody else anything."""

import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.plain import Plain, hello, welcomed
from tests.tools import until
from twistcluster.net.version import VERSION
from twistcluster.wire import limits
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import (
    PROTOCOL,
    Adopt,
    Answer,
    Ask,
    Blob,
    Cancel,
    CloseJob,
    Context,
    Lease,
    OpenJob,
    Page,
    Refused,
    Status,
    Welcome,
)


@pytest.fixture
def friend(cluster, connect):
    """A client that is there all the time and must be served all the time."""
    return connect(cluster.socket)


def still_serves(friend, cluster):
    started = time.monotonic()
    assert friend.status().name == "lab"
    with welcomed(cluster.socket) as newcomer:
        assert newcomer.status().name == "lab"
    assert time.monotonic() - started < 10.0
    return True


def frame(head: bytes, lengths=()):
    return struct.pack(f"<II{len(lengths)}Q", len(head), len(lengths), *lengths) + head


def encoded(message, buffers=()):
    return b"".join(Codec.encode(message, buffers))


BEFORE_HELLO = {
    "a browser": b"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil\r\n\r\n",
    "zeros": bytes(100_000),
    "ones": b"\xff" * 100_000,
    "a huge head": struct.pack("<II", 2**32 - 1, 0),
    "a huge buffer": frame(b"\x91\xa5Hello", [2**63 - 1]),
    "a huge sum of buffers": frame(b"x", [2**62] * 8),
    "too many buffers": struct.pack("<II", 4, 2**32 - 1),
    "deep nesting": frame(b"\x91" * 60_000),
    "deep maps": frame(b"\x81\xa1a" * 20_000),
    "an empty head": frame(b""),
    "another message": encoded(Ask(1, Status())),
    "a pickle": frame(b"cos\nsystem\n(S'true'\ntR."),
    "a role that is none": encoded(hello()).replace(b"client", b"master"),
    "a Hello over the limit": encoded(hello(name="x" * limits.OPENING_FRAME_BYTES)),
}


def test_before_hello(friend, cluster):
    for what, said in BEFORE_HELLO.items():
        with Plain(cluster.socket) as stranger:
            stranger.raw(said)
            heard = stranger.hear_all()
        assert [type(message) for message in heard] == [Refused], what
        assert heard[0].code == "malformed", what
        assert still_serves(friend, cluster), what


NO_CONTEXT = b"c" * 16
AFTER_WELCOME = {
    "Hello again": encoded(hello()),
    "deep nesting": frame(b"\x91" * 1_000_000),
    "a huge head": struct.pack("<II", limits.HEAD_BYTES + 1, 0),
    "a huge buffer": frame(b"\x91\xa5Hello", [limits.FRAME_BYTES]),
    "a worker's message": encoded(Lease(1, 1, 0, 5)),
    "a page of no job": encoded(Page(7, 0, 1, 0), [b"x"]),
    "a job without context": encoded(OpenJob(1, [b"f" * 16], NO_CONTEXT, count=1)),
    "a context without its blobs": encoded(Context(NO_CONTEXT, NO_CONTEXT, "/", steps=[b"s" * 16])),
    "a blob of two buffers": encoded(Blob(b"d" * 16), [b"a", b"b"]),
    "a close of no job": encoded(CloseJob(3, 10)),
    "garbage in a frame": frame(os.urandom(200)),
}


def test_after_welcome(friend, cluster):
    for what, said in AFTER_WELCOME.items():
        with welcomed(cluster.socket) as stranger:
            stranger.raw(said)
            heard = stranger.hear_all()
        assert isinstance(heard[-1], Refused) and heard[-1].code == "malformed", what
        assert still_serves(friend, cluster), what


def test_what_names_unknown_jobs_is_harmless(friend, cluster, connect):
    client = connect(cluster.socket)
    client.say(Cancel(99))
    client.say(Adopt(99, 0, "no such job"))
    assert client.status().name == "lab"
    assert still_serves(friend, cluster)


def test_a_worker_that_says_nonsense_loses_its_link_only(friend, cluster, connect):
    stranger = connect(cluster.socket, role="worker", slots=1, name="stranger")
    until(lambda: len(friend.status().workers) == 2)
    stranger.raw(frame(b"\xc1"))
    until(lambda: len(friend.status().workers) == 1)
    assert still_serves(friend, cluster)


def test_other_versions_are_told_what_to_do(friend, cluster):
    for role in ("client", "worker"):
        with Plain(cluster.socket) as other:
            refused = other.greet(role=role, protocol=PROTOCOL + 1, version="99")
            assert refused.code == "protocol" and VERSION in refused.message and "99" in refused.message
            assert other.hear() is None
        with Plain(cluster.socket) as other:
            refused = other.greet(role=role, python="2.7")
            assert refused.code == "python" and "2.7" in refused.message
            assert other.hear() is None
    assert still_serves(friend, cluster)


def test_half_frames_and_vanishing_peers(friend, cluster):
    data = encoded(hello()) + encoded(Ask(1, Status())) + encoded(Blob(b"d" * 16), [bytes(100_000)])
    cuts = random.Random(7).sample(range(1, len(data)), 30)
    for cut in cuts:
        with Plain(cluster.socket) as stranger:
            stranger.raw(data[:cut])
    assert still_serves(friend, cluster)
    until(lambda: len(friend.status().clients) == 1)


def test_one_byte_at_a_time_is_slow_but_right(friend, cluster):
    with Plain(cluster.socket) as slow:
        for byte in encoded(hello()):
            slow.raw(bytes([byte]))
        assert isinstance(slow.hear(), Welcome)
    assert still_serves(friend, cluster)


def test_those_who_never_say_hello_are_cut_off_and_lock_nobody_out(friend, cluster):
    silent = [Plain(cluster.socket) for _ in range(limits.UNWELCOMED_CONNECTIONS + 20)]
    assert still_serves(friend, cluster)
    started = time.monotonic()
    for peer in silent:
        (refused,) = peer.hear_all()
        assert refused.code == "limit"
        peer.close()
    assert time.monotonic() - started < 4 * limits.OPENING_SECONDS
    assert still_serves(friend, cluster)


def test_a_client_that_never_reads_holds_up_nobody(friend, cluster):
    with welcomed(cluster.socket) as deaf:
        for number in range(3000):
            deaf.say(Ask(number, Status()))
        assert still_serves(friend, cluster)
    until(lambda: len(friend.status().clients) == 1)
    assert isinstance(friend.ask(Status()), Answer)


SOMEBODY_ELSE = """
import os, sys
sys.path[:0] = sys.argv[2:]
from tests.live.plain import Plain
os.setgroups([])
os.setuid(65534)
try:
    with Plain(sys.argv[1]) as stranger:
        print(*stranger.hear_all())
except PermissionError:
    print("no way in")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_users_process(friend, cluster):
    def as_somebody_else():
        arguments = [sys.executable, "-c", SOMEBODY_ELSE, cluster.socket, str(Path(__file__).parents[2])]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=True).stdout

    assert as_somebody_else() == "no way in\n"
    for folder in [*Path(cluster.socket).parents][:-2]:
        folder.chmod(0o755)
    Path(cluster.socket).chmod(0o666)
    said = as_somebody_else()
    assert "Refused(code='access'" in said and "not to id 65534" in said
    assert still_serves(friend, cluster)


def test_random_noise(friend, cluster):
    noise = random.Random(11)
    for _ in range(40):
        with Plain(cluster.socket) as stranger:
            if noise.random() < 0.5:
                stranger.greet()
            try:
                stranger.raw(noise.randbytes(noise.randrange(1, 5000)))
            except ConnectionError:
                continue
    assert still_serves(friend, cluster)
