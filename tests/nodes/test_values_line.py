"""What is said on a connection for values, and what may not be."""

from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock

from twistcluster.errors import ProtocolError
from twistcluster.nodes.values_line import SLICE_BYTES, Coming, ValuesLine
from twistcluster.storage.values import Held
from twistcluster.wire.messages import Absent, At, Give, Heartbeat, Part, Welcome

NAME = b"n" * 16
PARTS = [b"\x80pickle", bytes(range(256)) * 12 * 1024]
WHOLE = b"".join(PARTS)
SIZES = [len(part) for part in PARTS]
HELD = Held(PARTS, b"v1")


class Link:
    def __init__(self):
        self.sent, self.ended = [], ""
        self.transport = SimpleNamespace(heard=False)

    def send(self, message, buffers=()):
        self.sent.append((message, b"".join(buffers)))

    def flush(self):
        pass

    def close(self, reason):
        self.ended = reason

    abort = close


class Scene:
    def __init__(self, parts=None, taken=True):
        self.clock, self.link = Clock(), Link()
        self.parts, self.said = parts or {}, []
        self.line = ValuesLine(
            self.clock,
            read=self.parts.get,
            elsewhere=lambda line, give: line.say(At(give.id, "box:1")),
            settled=lambda line, coming, outcome: self.said.append(("settled", coming, outcome)),
            lost=lambda line, reason, coming: self.said.append(("lost", reason, coming)),
            lost_after_s=3.0,
        )
        self.line.begin(self.link, taken=taken)

    def hear(self, message, *buffers):
        self.line.on_message(self.link, message, list(buffers))

    def run(self, turns=100):
        for _ in range(turns):
            self.clock.advance(0)


def sent(scene):
    return b"".join(data for _, data in scene.link.sent)


@pytest.mark.parametrize("offset", [0, 1, 7, 8, SLICE_BYTES, len(WHOLE) - 1])
def test_a_value_leaves_in_slices_from_the_byte_that_was_asked_for(offset):
    scene = Scene({NAME: HELD})
    scene.hear(Give(NAME, offset, b"v1"))
    scene.run()
    parts = [message for message, _ in scene.link.sent]
    assert all(part == Part(NAME, part.offset, SIZES, b"v1") for part in parts)
    assert [part.offset for part in parts] == [*range(offset, len(WHOLE), SLICE_BYTES)]
    assert sent(scene) == WHOLE[offset:] and scene.line.idle


def test_more_than_there_is_means_all_of_it_and_what_is_not_here_may_be_elsewhere():
    scene = Scene({NAME: HELD})
    scene.hear(Give(NAME, len(WHOLE), b"v1"))
    scene.run()
    assert sent(scene) == WHOLE
    scene.hear(Give(b"o" * 16))
    assert scene.link.sent[-1] == (At(b"o" * 16, "box:1"), b"")


def test_who_reads_slowly_is_sent_no_more_until_it_has_caught_up():
    scene = Scene({NAME: HELD})
    scene.line.on_paused(scene.link)
    scene.hear(Give(NAME))
    scene.run()
    assert not scene.link.sent
    scene.line.on_resumed(scene.link)
    scene.run()
    assert sent(scene) == WHOLE


def test_what_is_asked_before_the_other_end_is_there_is_asked_then():
    scene = Scene(taken=False)
    coming = Coming(NAME, through=True)
    scene.line.ask(coming)
    assert not scene.link.sent
    scene.hear(Welcome("", "", "", "3.11", "0"))
    assert scene.link.sent == [(Give(NAME, 0, b"", True), b"")]
    scene.hear(Part(NAME, 0, SIZES), WHOLE[:100])
    scene.hear(Part(NAME, 100, SIZES), WHOLE[100:200], WHOLE[200:])
    assert scene.said == [("settled", coming, None)]
    assert b"".join(coming.pieces) == WHOLE and scene.line.idle
    scene.hear(Part(NAME, 0, SIZES), WHOLE)  # nobody wants it any more
    assert len(scene.said) == 1


@pytest.mark.parametrize("answer", [At(NAME, "box:1"), Absent(NAME)])
def test_it_may_be_elsewhere_or_nowhere(answer):
    scene = Scene()
    coming = Coming(NAME)
    scene.line.ask(coming)
    scene.hear(answer)
    scene.hear(answer)
    assert scene.said == [("settled", coming, answer)]


def test_what_came_of_another_version_counts_for_nothing():
    """It was made again meanwhile, of as many bytes, or comes from somebody else."""
    other = Scene({NAME: HELD})
    other.hear(Give(NAME, 100, b"v0"))
    other.run()
    assert sent(other) == WHOLE and other.link.sent[0][0].offset == 0
    scene = Scene()
    coming = Coming(NAME, sizes=SIZES, version=b"v0", pieces=[b"1234"], got=4)
    scene.line.ask(coming)
    assert scene.link.sent == [(Give(NAME, 4, b"v0"), b"")]
    scene.hear(Part(NAME, 0, SIZES, b"v1"), WHOLE)
    assert scene.said == [("settled", coming, None)] and b"".join(coming.pieces) == WHOLE


@pytest.mark.parametrize(
    ("part", "data"),
    [
        (Part(NAME, 3, SIZES), b"x"),
        (Part(NAME, 2, SIZES, b"v1"), b"x"),
        (Part(NAME, 2, [99]), b"x"),
        (Part(NAME, 0, [1]), b"too much"),
        (Part(NAME, 0, SIZES), b""),
        (Part(NAME, 0, []), b""),
    ],
)
def test_what_is_not_the_next_slice_is_refused(part, data):
    coming = Coming(NAME, sizes=SIZES, pieces=[b"1", b"2"], got=2)
    with pytest.raises(ProtocolError, match="of a value of"):
        coming.add(part, [data])


def test_silence_is_a_loss_but_bytes_of_a_slow_slice_are_not():
    scene = Scene()
    coming = Coming(NAME)
    scene.line.ask(coming)
    for _ in range(10):
        scene.link.transport.heard = True
        scene.clock.advance(1)
    assert not scene.link.ended
    for _ in range(4):
        scene.clock.advance(1)
    assert "no byte of a value came for 4 s" in scene.link.ended
    scene.line.on_lost(scene.link, scene.link.ended)
    assert scene.said == [("lost", scene.link.ended, [coming])]
    assert not scene.clock.getDelayedCalls()


def test_other_things_are_not_said_here_and_what_is_closed_early_ends_when_it_is_there():
    scene = Scene()
    scene.hear(Heartbeat())
    assert scene.link.ended
    other = Scene()
    other.line.close("enough")
    assert other.link.ended == "enough"
    other.link.ended = ""
    other.line.begin(other.link, taken=False)
    assert other.link.ended == "enough"
